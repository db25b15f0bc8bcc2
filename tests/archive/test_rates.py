"""Rates of archives: bytes a second for one, for a client, for all, and fair among the active.

Time goes by only where somebody waits for it, so the figures are exact and nothing is waited for.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteorpi_server.archive_api.rate_schedule import (
    BURST_SECONDS,
    PIECES_A_SECOND,
    Flow,
    RateLimits,
    RateSchedule,
    Shares,
    shares_of,
)
from meteorpi_server.archive_api.rates import Rates, limits_of
from meteorpi_server.settings import Settings

pytestmark = pytest.mark.engines("sqlite")

SECONDS = 100.0
DEADLINE = 60.0
NEAR = 0.02

Readers = Sequence[tuple[Flow, float]]
"""What each connection belongs to, and how many bytes a second its reader takes; 0 for any number."""


def sent_in(schedule: RateSchedule, readers: Readers, seconds: float = SECONDS) -> list[float]:
    """Bytes a second that each reader gets."""
    for flow, _ in readers:
        schedule.enter(flow)
    sent: Counter[int] = Counter()
    free_at = [0.0] * len(readers)
    waiting: dict[int, int] = {}
    now = 0.0
    while now < seconds:
        for number, (flow, _) in enumerate(readers):
            if number not in waiting.values() and free_at[number] <= now:
                asked = schedule.ask(flow, schedule.piece_bytes(flow) or 100_000)
                waiting[id(asked)] = number
        found, wait = schedule.next(now)
        if found is None:
            coming = [time for time in free_at if time > now]
            now = min([*coming, now + wait] if waiting else coming)
            continue
        schedule.grant(found, now)
        number = waiting.pop(id(found))
        sent[number] += found.count
        speed = readers[number][1]
        free_at[number] = now + (found.count / speed if speed else 0.0)
    return [sent[number] / seconds for number in range(len(readers))]


def rates_of(limits: RateLimits, *readers: tuple[Flow, float]) -> list[float]:
    return sent_in(RateSchedule(limits), readers)


A, B, C = Flow("a", "client:1"), Flow("b", "client:1"), Flow("c", "client:2")
NOBODYS = Flow("d", "")


@pytest.mark.contract("archive-3.9/rates")
def test_one_archive_has_its_rate_over_however_many_connections() -> None:
    one, *parts = rates_of(RateLimits(download=100_000), (A, 0), (C, 0), (C, 0), (C, 0))

    assert one == pytest.approx(100_000, rel=NEAR)
    assert sum(parts) == pytest.approx(100_000, rel=NEAR)
    assert max(parts) == pytest.approx(min(parts), rel=0.1)


@pytest.mark.contract("archive-3.9/rates")
def test_archives_of_a_client_share_its_rate() -> None:
    first, second, other, nobodys = rates_of(
        RateLimits(client=100_000), (A, 0), (B, 0), (C, 0), (NOBODYS, 3e6)
    )

    assert [first, second, other] == pytest.approx([50_000, 50_000, 100_000], rel=NEAR)
    assert nobodys == pytest.approx(3e6, rel=0.1), "who is no client has no limit as one"


@pytest.mark.contract("archive-3.9/rates")
def test_all_archives_share_what_there_is_however_they_are_fetched() -> None:
    """Four connections for one of them get no more than one connection for another."""
    rates = rates_of(RateLimits(total=300_000), (A, 0), (C, 0), (NOBODYS, 0), (NOBODYS, 0), (NOBODYS, 0))

    assert [*rates[:2], sum(rates[2:])] == pytest.approx([100_000] * 3, rel=NEAR)


@pytest.mark.contract("archive-3.9/rates")
def test_what_a_slow_reader_leaves_the_others_have() -> None:
    rates = rates_of(RateLimits(total=300_000), (A, 30_000), (B, 0), (C, 0))

    assert rates == pytest.approx([30_000, 135_000, 135_000], rel=0.1)


@pytest.mark.contract("archive-3.9/rates")
def test_narrowest_limit_counts_and_leaves_the_rest_to_others() -> None:
    limits = RateLimits(download=120_000, client=150_000, total=250_000)

    rates = rates_of(limits, (A, 0), (B, 0), (C, 0))

    assert rates == pytest.approx([75_000, 75_000, 100_000], rel=0.05)


def test_who_was_silent_does_not_catch_up() -> None:
    """The one that comes back has its turn as soon as the other, and not more of them."""
    schedule = RateSchedule(RateLimits(total=100_000))
    schedule.enter(A)
    schedule.grant(schedule.ask(A, 1), 0.0)
    schedule.enter(B)
    for second in range(50):
        schedule.grant(schedule.ask(B, 100_000), float(second))

    order = []
    asked = {schedule.ask(flow, 100_000): flow for flow in (A, B)}
    for second in range(100, 120, 2):
        found, _ = schedule.next(float(second))
        assert found is not None
        schedule.grant(found, float(second))
        order.append(asked[found].link)
        asked[schedule.ask(asked[found], 100_000)] = asked[found]

    assert "".join(order) in ("ababababab", "baabababab", "abbabababa", "bababababa")


def test_what_nobody_took_is_kept_for_half_a_second_only() -> None:
    schedule = RateSchedule(RateLimits(total=100_000))
    schedule.grant(schedule.ask(A, 1), 0.0)

    let_through = 0
    while True:
        asked = schedule.ask(A, 1000)
        if schedule.next(1000.0)[0] is not asked:
            break
        schedule.grant(asked, 1000.0)
        let_through += 1000

    # The last one is let through as long as anything is there.
    assert let_through == pytest.approx(100_000 * BURST_SECONDS, abs=1000)


@given(
    st.lists(st.sampled_from([A, B, C, NOBODYS]), min_size=1, max_size=6),
    st.tuples(*[st.sampled_from([0, 10_000, 70_000, 1_000_000])] * 3),
)
@settings(deadline=None, max_examples=40)
@pytest.mark.contract("archive-3.9/rates")
def test_no_limit_is_ever_passed_and_nobody_starves(flows: list[Flow], rates: tuple[float, ...]) -> None:
    limits = RateLimits(download=rates[0], client=rates[1], total=rates[2])
    if not limits.are_set:
        return

    found = sent_in(RateSchedule(limits), [(flow, 2e6) for flow in flows], 30.0)

    sums: Counter[tuple[str, str]] = Counter()
    for flow, rate in zip(flows, found, strict=True):
        assert rate > 0
        sums.update({("download", flow.link): rate, ("client", flow.owner): rate, ("total", ""): rate})
    for (kind, name), rate in sums.items():
        limit = getattr(limits, kind) if (kind, name) != ("client", "") else 0
        ahead = BURST_SECONDS + 1 / PIECES_A_SECOND
        assert not limit or rate <= limit * (1 + ahead / 30.0) + 1024


@pytest.mark.contract("archive-3.9/rates")
def test_processes_have_their_part_of_every_limit() -> None:
    active = [("here", A), ("here", A), ("there", A), ("there", C), ("elsewhere", NOBODYS)]

    shares = {name: shares_of(name, active) for name in ("here", "there", "elsewhere")}

    assert sum(each.total for each in shares.values()) == pytest.approx(1)
    assert shares["here"].total == pytest.approx(2 / 9)
    assert [shares[name].owners["client:1"] for name in ("here", "there")] == pytest.approx([2 / 3, 1 / 3])
    assert [shares[name].links["a"] for name in ("here", "there")] == pytest.approx([2 / 3, 1 / 3])
    assert shares["there"].owners["client:2"] == 1
    assert shares_of("new", active).total == 1, "who is not counted yet"
    schedule = RateSchedule(RateLimits(download=90_000, total=900_000))
    schedule.shares = Shares(total=1 / 9, links={"a": 0.5})
    assert sum(sent_in(schedule, [(A, 0), (B, 0)])) == pytest.approx(100_000, rel=NEAR)


def test_pieces_are_small_enough_to_see_that_a_reader_has_left() -> None:
    schedule = RateSchedule(RateLimits(total=80_000))
    schedule.enter(A)
    alone = schedule.piece_bytes(A)
    schedule.enter(C)

    assert (alone, schedule.piece_bytes(A)) == (20_000, 10_000)
    assert RateSchedule(RateLimits()).piece_bytes(A) is None


def test_debts_outlive_the_connection() -> None:
    """Asking for one part after the other is no way around a limit."""
    schedule = RateSchedule(RateLimits(download=1000))
    now, sent = 0.0, 0
    while now < 100:
        schedule.enter(A)
        asked = schedule.ask(A, 10_000)
        found, wait = schedule.next(now)
        if found is asked:
            schedule.grant(asked, now)
            sent += 10_000
        else:
            schedule.withdraw(asked)
            now += wait
        schedule.leave(A, now)

    assert sent <= 100 * 1000 + 10_000
    schedule.leave(A, now + 100)
    assert schedule._buckets == {}


@pytest.mark.contract("archive-3.9/rates", "archive-defect-23")
def test_delay_of_the_directory_service_is_a_rate_and_none_unless_asked_for() -> None:
    assert not limits_of(Settings()).are_set
    assert limits_of(Settings(archive_chunk_size=100_000, archive_delay=0.5)) == RateLimits(download=200_000)
    both = Settings(archive_chunk_size=100_000, archive_delay=0.5, archive_rate_download=50_000)
    assert limits_of(both).download == 50_000


def test_threads_are_let_through_in_turn_and_let_go_at_once() -> None:
    rates = Rates(RateLimits(total=2_000_000))
    left = threading.Event()
    counts: Counter[str] = Counter()

    def send(flow: Flow) -> None:
        rates.enter(flow)
        for _ in range(20):
            rates.take(flow, 10_000, left.is_set)
            counts[flow.link] += 1
        rates.leave(flow)

    threads = [threading.Thread(target=send, args=(flow,), daemon=True) for flow in (A, B, C, NOBODYS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert set(counts.values()) == {20}

    slow = Rates(RateLimits(total=1))
    slow.take(A, 1_000_000, left.is_set)
    stuck = threading.Thread(target=slow.take, args=(B, 1, left.is_set), daemon=True)
    stuck.start()
    left.set()
    stuck.join(DEADLINE)
    assert not stuck.is_alive()
