"""Events of blocks, from the change to whoever listens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import prefixes
from meteorpi_db.blocks.event_log import KEPT, EventLog
from meteorpi_db.blocks.events import BlockEvent, record
from meteorpi_db.testing.processes import wait_until
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_model.errors import PreconditionFailedError, UnavailableError
from meteorpi_server.block_events import EventHub, HubLimits, Listener, LocalBroker, Resync
from meteorpi_server.block_events.publishing import Publisher
from meteorpi_server.stopping import StopRequest
from tests.blocks.making import NOW, PREFIX, Blocks
from tests.conftest import ENGINE_NAMES

pytestmark = pytest.mark.engines("sqlite")
EVERY_ENGINE = pytest.mark.engines(*ENGINE_NAMES)
SECONDS = 60.0
TIME = milliseconds_to_utc_datetime(NOW)


@pytest.fixture
def log(db: MeteorDatabase) -> EventLog:
    return EventLog(db.transactions, lambda: TIME)


@pytest.fixture
def hubs(log: EventLog) -> Iterator[Any]:
    """Call it for a hub with these limits."""
    with ExitStack() as stack:

        def make(stop: StopRequest | None = None, **limits: int) -> EventHub:
            hub = EventHub(log, LocalBroker(), HubLimits(in_threads=100, **limits), stop)
            stack.callback(hub.close)
            return hub

        yield make


@pytest.fixture
def hub(hubs: Any) -> EventHub:
    made = hubs()
    assert isinstance(made, EventHub)
    return made


class Ear:
    """A listener that leaves at the end."""

    def __init__(
        self, hub: EventHub, path: str | None = None, since: int | None = None, who: str = "a"
    ) -> None:
        self.hub = hub
        self.listener: Listener = hub.join(PREFIX, path, who, since)

    def heard(self) -> BlockEvent | Resync:
        """What is told next."""
        found = self.listener.take(SECONDS)
        assert found is not None, self.listener.has_ended
        return found

    def number(self) -> int:
        return self.heard().number

    def close(self) -> None:
        self.hub.leave(self.listener)


@EVERY_ENGINE
@pytest.mark.contract("A.9/messages", "K-151", "K-152")
def test_listeners_are_told_in_order_what_happens(hub: EventHub, blocks: Blocks) -> None:
    blocks.store("before", b"0")
    with closing(Ear(hub)) as all_of_it, closing(Ear(hub, "a/b")) as one:
        told = [blocks.store("a/b", b"1").event, blocks.store("a", b"2").event, blocks.remove("a/b")]
        hub.announce(PREFIX)

        assert [all_of_it.heard() for _ in told] == told
        assert [one.heard(), one.heard()] == [told[0], told[2]]


@EVERY_ENGINE
@pytest.mark.contract("K-151")
def test_what_was_missed_is_told_first(hub: EventHub, blocks: Blocks) -> None:
    for number in range(6):
        blocks.store(f"p{number % 2}", bytes([number]))

    with closing(Ear(hub, since=2)) as whole, closing(Ear(hub, "p0", since=1)) as one:
        blocks.store("p0", b"x")
        hub.announce(PREFIX)

        assert [whole.number() for _ in range(5)] == [3, 4, 5, 6, 7]
        assert [one.number() for _ in range(3)] == [3, 5, 7]


@pytest.mark.contract("K-151")
def test_more_than_a_page_is_caught_up_with(hub: EventHub, blocks: Blocks) -> None:
    blocks.transactions.write(lambda c: [record(c, PREFIX, "a", "DELETE", NOW) for _ in range(600)])

    with closing(Ear(hub, since=0)) as ear, closing(Ear(hub, "b", since=0)) as other:
        blocks.store("b", b"x")
        hub.announce(PREFIX)

        assert [ear.number() for _ in range(601)] == list(range(1, 602))
        assert other.number() == 601


@pytest.mark.contract("K-151")
def test_who_was_away_too_long_looks_at_everything_again(
    log: EventLog, hub: EventHub, blocks: Blocks
) -> None:
    blocks.store("a", b"0")
    blocks.now += KEPT // timedelta(milliseconds=1) + 1
    later = EventLog(blocks.transactions, lambda: milliseconds_to_utc_datetime(blocks.now))
    blocks.store("a", b"1")
    assert later.forget_old() == 1

    with closing(Ear(hub, since=0)) as late, closing(Ear(hub, since=1)) as early:
        blocks.store("a", b"2")
        hub.announce(PREFIX)

        assert late.heard() == Resync(PREFIX, 2)
        assert late.number() == 3
        assert [early.number(), early.number()] == [2, 3]


@pytest.mark.contract("K-151")
@pytest.mark.parametrize("since", [7, 2**63 - 1])
def test_numbers_that_were_never_given_are_not_believed(hub: EventHub, blocks: Blocks, since: int) -> None:
    """As those of a prefix that was removed, when there is another of its name."""
    blocks.store("a", b"0")

    with closing(Ear(hub, since=since)) as ear:
        assert ear.heard() == Resync(PREFIX, 1)
        blocks.store("a", b"1")
        hub.announce(PREFIX)
        assert ear.number() == 2


def test_a_prefix_that_comes_again_is_listened_to(log: EventLog, blocks: Blocks) -> None:
    class Eager(LocalBroker):
        poll_seconds = 0.0

    blocks.store("a", b"0")
    blocks.store("a", b"1")
    with closing(EventHub(log, Eager(), HubLimits())) as hub, closing(Ear(hub)) as ear:
        blocks.remove("a")
        assert ear.number() == 3
        blocks.transactions.write(lambda c: prefixes.delete_prefix(c, PREFIX))
        assert ear.heard() == Resync(PREFIX, 0)
        blocks.transactions.write(lambda c: prefixes.create_prefix(c, "local:anna", NOW, PREFIX))

        blocks.store("a", b"2")
        assert ear.number() == 1


@pytest.mark.contract("K-154")
def test_the_slow_are_dropped_and_the_others_told(hubs: Any, blocks: Blocks) -> None:
    hub = hubs(waiting=3)
    with closing(Ear(hub, "slow")) as slow, closing(Ear(hub, "quick")) as quick:
        for _ in range(4):
            blocks.store("slow", b"x")
        blocks.store("quick", b"x")
        hub.announce(PREFIX)

        assert quick.number() == 5
        assert slow.listener.take(SECONDS) is None
        assert slow.listener.has_ended is not None
        assert slow.listener.has_ended.code == 1013
    assert hub.figures.counted().dropped == 1


@pytest.mark.contract("K-154", "K-155")
@pytest.mark.parametrize("limits", [{"all": 2}, {"each": 2}])
def test_so_many_may_listen(hubs: Any, blocks: Blocks, limits: dict[str, int]) -> None:
    hub = hubs(**limits)
    with closing(Ear(hub)), closing(Ear(hub)):
        with pytest.raises(UnavailableError):
            hub.join(PREFIX, None, "a")
        if "each" in limits:
            hub.leave(hub.join(PREFIX, None, "b"))
    hub.leave(hub.join(PREFIX, None, "a"))


@pytest.mark.contract("K-154", "KD-17")
def test_who_listens_holds_no_connection(db: MeteorDatabase, hub: EventHub, blocks: Blocks) -> None:
    with ExitStack() as stack:
        ears = [stack.enter_context(closing(Ear(hub, who=str(n)))) for n in range(100)]
        blocks.store("a", b"x")
        hub.announce(PREFIX)

        assert {ear.number() for ear in ears} == {1}
        pool: Any = db.transactions.engine.pool
        wait_until(lambda: pool.checkedout() == 0, SECONDS, "connections that are given back")


@pytest.mark.contract("K-506")
def test_everybody_is_sent_away_when_the_process_must_end(hubs: Any, blocks: Blocks) -> None:
    stop = StopRequest()
    hub = hubs(stop)
    with closing(Ear(hub)) as ear:
        stop.ask()

        assert ear.listener.take(SECONDS) is None
        assert ear.listener.has_ended is not None
        assert ear.listener.has_ended.code == 1001
        with pytest.raises(UnavailableError):
            hub.join(PREFIX, None, "b")


def test_the_thread_ends_with_the_last_listener(hub: EventHub, blocks: Blocks) -> None:
    def is_there() -> bool:
        return any(thread.name == "block events" for thread in threading.enumerate())

    with closing(Ear(hub)):
        assert is_there()

    wait_until(lambda: not is_there(), SECONDS, "end of the thread")


def test_a_database_that_fails_makes_events_late(
    log: EventLog, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = threading.Event()
    read = EventLog.after

    def after(self: EventLog, prefix: str, number: int, limit: int) -> list[BlockEvent]:
        if failing.is_set():
            failing.clear()
            raise UnavailableError("not now")
        return read(self, prefix, number, limit)

    monkeypatch.setattr(EventLog, "after", after)
    with closing(EventHub(log, LocalBroker())) as hub, closing(Ear(hub)) as ear:
        failing.set()
        blocks.store("a", b"x")
        hub.announce(PREFIX)

        assert ear.number() == 1


def test_events_are_kept_for_a_day(log: EventLog, blocks: Blocks) -> None:
    blocks.store("a", b"x")

    def kept_at(time: datetime) -> bool:
        EventLog(blocks.transactions, lambda: time).forget_old()
        return bool(log.after(PREFIX, 0, 1))

    assert [kept_at(TIME + KEPT), kept_at(TIME + KEPT + timedelta(seconds=1))] == [True, False]


@EVERY_ENGINE
@pytest.mark.contract("K-151", "K-152", "A.9/messages")
def test_who_comes_while_much_happens_misses_nothing(
    db: MeteorDatabase, log: EventLog, blocks: Blocks
) -> None:
    """Two processes write, and each listener begins in between, with what it knows."""
    total = 2 * 30
    with ExitStack() as stack:
        hubs = [EventHub(log, LocalBroker(), HubLimits(in_threads=99)) for _ in range(2)]
        for hub in hubs:
            stack.callback(hub.close)

        def write() -> None:
            for number in range(total // 2):
                Blocks(db.transactions).store("a", bytes([number]))
                for each in hubs:
                    each.announce(PREFIX)

        writers = [threading.Thread(target=write) for _ in hubs]
        for writer in writers:
            writer.start()
        ears: list[Ear] = []
        found: list[list[int]] = []
        for hub in (*hubs, *hubs):  # each begins when those before have heard ten
            ears.append(stack.enter_context(closing(Ear(hub, since=len(ears)))))
            found.append([ears[-1].number() for _ in range(10)])
        for ear, numbers in zip(ears, found, strict=True):
            numbers += [ear.number() for _ in range(total - numbers[-1])]
        for writer in writers:
            writer.join(SECONDS)

    assert found == [list(range(since + 1, total + 1)) for since in range(4)]


@EVERY_ENGINE
@pytest.mark.contract("K-152", "K-127", "K-140", "F.1/block_event", "A.9/messages")
def test_every_change_is_an_event_and_nothing_else_is(log: EventLog, blocks: Blocks) -> None:
    blocks.store("a", b"x")
    with pytest.raises(PreconditionFailedError):
        blocks.store("a", b"y", if_none_match="*")
    with pytest.raises(PreconditionFailedError):
        blocks.remove("a", if_match='"other"')
    blocks.remove("b")
    blocks.store("a", b"x")
    blocks.remove("a")

    told = [(event.number, event.operation, event.path) for event in log.after(PREFIX, 0, 9)]

    assert told == [(1, "POST", "a"), (2, "POST", "a"), (3, "DELETE", "a")]


class _Telling(LocalBroker):
    """A broker with somebody to tell."""

    def __init__(self) -> None:
        self._publisher = Publisher(lambda _prefixes: None)

    def announce(self, prefix: str) -> None:
        self._publisher.add(prefix)


@pytest.mark.contract("K-152", "K-155", "KD-16")
def test_a_change_is_announced_where_no_thread_can_be_begun(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with closing(EventHub(log, _Telling())) as hub:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        hub.announce(PREFIX)
        with pytest.raises(RuntimeError):
            hub.join(PREFIX, None, "a")
        monkeypatch.undo()

        assert hub.figures.counted().published == 1
        assert not hub.is_listened_to
