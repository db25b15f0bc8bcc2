"""Accounts of an accounting server, over real connections: what is asked, remembered, and may fail."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.http import http_date

from meteorpi_db.testing.processes import LOOPBACK, free_port, wait_until
from meteorpi_model import now
from meteorpi_model.errors import (
    AccountingUnavailableError,
    ConfigurationError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    TooManyAttemptsError,
)
from meteorpi_server.block_accounts import Account, Caller
from meteorpi_server.block_accounts.accounting import (
    CONNECT_SECONDS,
    MOST_ANSWER_BYTES,
    TOTAL_SECONDS,
    AccountingServer,
    timeouts,
)
from meteorpi_server.block_accounts.attempts import FREE_FAILURES
from meteorpi_server.block_accounts.caches import MemoryCache
from meteorpi_server.block_accounts.hashing import CacheKeys
from meteorpi_server.block_accounts.remote import RemoteAccounts
from tests.blocks.accounting_server import (
    CONVERSATION,
    SECRET,
    Asked,
    Clock,
    Saying,
    ScriptedAccounting,
    known,
)
from tests.system.certificates import make_certificates

WAIT_SECONDS = 60
TOKEN = "Token 1c3d4ad2f1b84b5a9a2b"
QUESTIONS = [line for line in CONVERSATION if "auth" in line["question"]]


@pytest.fixture
def server() -> Iterator[ScriptedAccounting]:
    with ScriptedAccounting() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(server: ScriptedAccounting, clock: Clock) -> Iterator[Callable[..., RemoteAccounts]]:
    """Makes sources that ask `server`, or the one at `url`."""
    made: list[RemoteAccounts] = []

    def make_source(
        url: str = "",
        *,
        stale: float = 0,
        seconds: float = 30,
        ca_file: Path | None = None,
        secret: str = SECRET,
    ) -> RemoteAccounts:
        asking = AccountingServer(
            url or server.url,
            secret,
            limits=timeouts(connect=seconds / 2, total=seconds),
            ca_file=None if ca_file is None else str(ca_file),
        )
        cache: MemoryCache[Account] = MemoryCache(monotonic=clock)
        source = RemoteAccounts(asking, CacheKeys(secret, url), cache, stale_seconds=stale, monotonic=clock)
        made.append(source)
        return source

    yield make_source
    for source in made:
        source.close()


@pytest.fixture
def accounts(make: Callable[..., RemoteAccounts]) -> RemoteAccounts:
    return make()


@pytest.mark.contract("A.4/auth", "D.1/remote", "K-500/block_accounting_url", "issue-5.3")
@pytest.mark.parametrize("line", QUESTIONS, ids=[line["name"] for line in QUESTIONS])
def test_credentials_mean_what_the_conversation_says(accounts: RemoteAccounts, line: dict[str, Any]) -> None:
    authorization, answer = line["question"]["auth"], line["answer"]
    if line["status"] != 200:
        with pytest.raises(NotAuthenticatedError):
            accounts.look_up(authorization)
        return

    found = accounts.look_up(authorization)

    assert found == Account(
        account_id=str(answer["user_id"]),
        source="remote",
        is_active=answer["active"],
        quota_bytes=answer["block_quota"],
        monthly_traffic_bytes=answer["monthly_traffic_quota"],
    )


@pytest.mark.contract("A.4/user_id")
def test_limits_are_asked_for_by_number(accounts: RemoteAccounts, server: ScriptedAccounting) -> None:
    assert accounts.limits_of("17").quota_bytes == 2 << 30
    with pytest.raises(NotFoundError):
        accounts.limits_of("4711")
    assert [asked.question for asked in server.asked] == [{"user_id": 17}, {"user_id": 4711}]


@pytest.mark.contract("A.4/auth", "K-114")
def test_request_is_that_of_the_protocol(accounts: RemoteAccounts, server: ScriptedAccounting) -> None:
    accounts.look_up(TOKEN, Caller(request_id="0123abcd"))

    (asked,) = server.asked
    assert asked.path == "/api/v0/internal/user/"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["apisecret"] == SECRET
    assert asked.headers["x-request-id"] == "0123abcd"
    assert asked.question == {"auth": TOKEN}


@pytest.mark.contract("K-203", "KD-09")
@pytest.mark.parametrize("authorization", [None, "", "  "])
def test_without_credentials_nobody_is_asked(
    accounts: RemoteAccounts, server: ScriptedAccounting, authorization: str | None
) -> None:
    with pytest.raises(NotAuthenticatedError):
        accounts.identify(authorization)
    assert server.asked == []


def test_credentials_longer_than_any_header_are_not_passed_on(
    accounts: RemoteAccounts, server: ScriptedAccounting
) -> None:
    with pytest.raises(NotAuthenticatedError):
        accounts.identify("Token " + "x" * 100_000)
    assert server.asked == []


@pytest.mark.contract("K-202", "KD-02")
def test_disabled_account_is_refused_and_its_limits_are_known(accounts: RemoteAccounts) -> None:
    with pytest.raises(NotAllowedError):
        accounts.identify("Token 5e0f7c9b6a1d4e3f8c7d")

    assert not accounts.limits_of("18").is_active


@pytest.mark.contract("K-204", "KD-26", "A.11/accounts", "K-500/block_account_cache_seconds")
def test_answer_is_good_for_a_minute(
    accounts: RemoteAccounts, server: ScriptedAccounting, clock: Clock
) -> None:
    accounts.identify(TOKEN)
    clock.seconds += 59
    accounts.identify(TOKEN)
    assert len(server.asked) == 1

    clock.seconds += 2
    accounts.identify(TOKEN)

    assert len(server.asked) == 2
    counted = accounts.figures.counted()
    assert (counted.hits, counted.sets, counted.calls, counted.failures) == (1, 2, 2, 0)
    assert counted.call_buckets[-1] == 2


@pytest.mark.contract("K-204")
def test_what_credentials_told_is_known_of_the_account(
    accounts: RemoteAccounts, server: ScriptedAccounting
) -> None:
    accounts.identify(TOKEN)

    accounts.limits_of("17")

    assert len(server.asked) == 1


@pytest.mark.contract("K-206", "KD-01")
@pytest.mark.parametrize("authorization", ["17", "user-17", "Token 17", "account\x0017", '{"user_id": 17}'])
def test_known_account_lets_nobody_in_who_sends_its_name(
    accounts: RemoteAccounts, server: ScriptedAccounting, authorization: str
) -> None:
    accounts.limits_of("17")

    with pytest.raises(NotAuthenticatedError):
        accounts.identify(authorization)

    assert server.asked[-1].question == {"auth": authorization}


@pytest.mark.contract("K-206", "KD-01")
def test_names_of_cache_entries_tell_nothing(clock: Clock) -> None:
    keys, others = CacheKeys(SECRET, "http://one"), CacheKeys(SECRET, "http://two")

    names = {
        keys.of_credentials("17"),
        keys.of_account("17"),
        others.of_account("17"),
        CacheKeys("another secret", "http://one").of_account("17"),
    }

    assert len(names) == 4
    assert all(len(name) == 64 and int(name, 16) for name in names)


@pytest.mark.contract("K-203", "I-09", "KD-26")
@pytest.mark.parametrize("status", [400, 404, 500])
def test_refusal_and_failure_count_for_five_seconds(
    accounts: RemoteAccounts, server: ScriptedAccounting, clock: Clock, status: int
) -> None:
    server.always(Saying(status, {"error": "no"}))
    expected = AccountingUnavailableError if status == 500 else NotAuthenticatedError
    for _ in range(5):
        with pytest.raises(expected):
            accounts.identify(TOKEN)
    assert len(server.asked) == 1

    clock.seconds += 6
    server.always(Saying(200, known()))

    assert accounts.identify(TOKEN).account_id == "17"


FAILURES = {
    "our secret is wrong": Saying(403, {"error": "Invalid API key"}),
    "error": Saying(500, {"error": "broken"}),
    "out of order": Saying(503, raw=b"<html>"),
    "redirect": Saying(302, headers={"Location": "http://127.0.0.1:1/"}),
    "no content": Saying(204, raw=b""),
    "no JSON": Saying(200, raw=b"<html>hello</html>"),
    "empty": Saying(200, raw=b""),
    "a list": Saying(200, [known()]),
    "deep": Saying(200, raw=b"[" * 50_000),
    "long": Saying(200, raw=b'"' + b"x" * MOST_ANSWER_BYTES),
    "long number": Saying(200, raw=b"9" * 20_000),
    "no number": Saying(200, known(block_quota="2 GB")),
    "not a number": Saying(200, raw=json.dumps(known(block_quota=float("nan"))).encode()),
    "less than nothing": Saying(200, known(monthly_traffic_quota=-1)),
    "no id": Saying(200, known() | {"user_id": True}),
    "perhaps": Saying(200, known(active=None)),
    "cut off": Saying(200, known(), is_cut=True),
}


@pytest.mark.contract("K-203", "KD-09", "J-04/accounting", "A.4/failure")
@pytest.mark.parametrize("saying", FAILURES.values(), ids=FAILURES.keys())
def test_server_that_makes_no_sense_is_unavailable(
    accounts: RemoteAccounts, server: ScriptedAccounting, saying: Saying
) -> None:
    server.always(saying)

    with pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)
    with pytest.raises(AccountingUnavailableError):
        accounts.limits_of("17")
    with pytest.raises(AccountingUnavailableError):
        accounts.check()

    assert accounts.figures.counted().failures == 3


@pytest.mark.contract("A.4/answer")
@pytest.mark.parametrize("missing", sorted(known()))
def test_account_without_one_of_the_four_is_unknown(
    accounts: RemoteAccounts, server: ScriptedAccounting, missing: str
) -> None:
    server.always(Saying(200, {name: value for name, value in known().items() if name != missing}))

    with pytest.raises(NotAuthenticatedError):
        accounts.identify(TOKEN)
    with pytest.raises(NotFoundError):
        accounts.limits_of("17")


@pytest.mark.contract("A.4/answer")
def test_answer_about_another_account_is_none(accounts: RemoteAccounts, server: ScriptedAccounting) -> None:
    server.always(Saying(200, known(18)))

    with pytest.raises(AccountingUnavailableError):
        accounts.limits_of("17")


@pytest.mark.contract("K-203", "K-206")
def test_wrong_secret_is_an_error_in_the_log_without_any_secret(
    accounts: RemoteAccounts, server: ScriptedAccounting, caplog: pytest.LogCaptureFixture
) -> None:
    server.always(Saying(403, {"error": "Invalid API key"}))

    with caplog.at_level(logging.DEBUG), pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)

    assert [record.levelno for record in caplog.records if record.name == "meteorpi.block.accounts"] == [
        logging.ERROR
    ]
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.contract("K-203", "A.4/failure")
def test_server_that_is_not_there_is_unavailable(make: Callable[..., RemoteAccounts]) -> None:
    accounts = make(f"http://{LOOPBACK}:{free_port()}")

    with pytest.raises(AccountingUnavailableError) as caught:
        accounts.identify(TOKEN)

    assert caught.value.context["retry_after_seconds"] == 5


@pytest.mark.contract("K-203", "J-04/accounting")
@pytest.mark.parametrize("is_dripping", [False, True], ids=["silent", "dripping"])
def test_server_that_takes_too_long_is_unavailable(
    make: Callable[..., RemoteAccounts], server: ScriptedAccounting, is_dripping: bool
) -> None:
    """The limit is one for everything: a byte now and then does not prolong it."""
    release = threading.Event()
    silent = Saying(200, known(), before=lambda: release.wait(WAIT_SECONDS))
    server.always(Saying(200, raw=b" ", drip=release) if is_dripping else silent)

    try:
        with pytest.raises(AccountingUnavailableError):
            make(seconds=0.4).identify(TOKEN)
    finally:
        release.set()


@pytest.mark.contract("K-203")
def test_limits_of_time_are_those_of_the_contract() -> None:
    limits = timeouts()

    assert (CONNECT_SECONDS, TOTAL_SECONDS) == (3, 10)
    assert limits.connect == 3
    assert limits.connect + limits.total == 10
    assert limits.first_byte == limits.idle == limits.total


@pytest.mark.contract("K-203")
def test_connection_is_used_again(accounts: RemoteAccounts, server: ScriptedAccounting) -> None:
    for account_id in ("17", "18", "19"):
        server.always(Saying(200, known(int(account_id))))
        accounts.limits_of(account_id)

    assert len(server.asked) == 3
    assert len({asked.peer for asked in server.asked}) == 1


@pytest.mark.contract("K-203")
def test_connection_that_was_closed_meanwhile_is_opened_again(
    accounts: RemoteAccounts, server: ScriptedAccounting
) -> None:
    accounts.check()
    server.say = lambda _asked: Saying(200, known(), is_dropped=len(server.asked) == 2)

    assert accounts.identify(TOKEN).account_id == "17"

    assert len(server.asked) == 3
    assert len({asked.peer for asked in server.asked}) == 2


@pytest.mark.contract("K-203")
def test_many_who_ask_the_same_cause_one_request(
    accounts: RemoteAccounts, server: ScriptedAccounting
) -> None:
    count, release = 8, threading.Event()
    server.always(Saying(200, known(), before=lambda: release.wait(WAIT_SECONDS)))

    with ThreadPoolExecutor(count) as pool:
        asking = [pool.submit(accounts.identify, TOKEN) for _ in range(count)]
        wait_until(lambda: len(server.asked) == 1, WAIT_SECONDS, "a request")
        release.set()
        found = {future.result(WAIT_SECONDS).account_id for future in asking}

    assert found == {"17"}
    assert len(server.asked) == 1


def test_others_do_not_wait_for_who_is_asked_about(
    accounts: RemoteAccounts, server: ScriptedAccounting
) -> None:
    release = threading.Event()

    def say(asked: Asked) -> Saying:
        is_slow = asked.question == {"auth": TOKEN}
        return Saying(200, known(), before=(lambda: release.wait(WAIT_SECONDS)) if is_slow else None)

    server.say = say
    with ThreadPoolExecutor(1) as pool:
        try:
            slow = pool.submit(accounts.identify, TOKEN)
            wait_until(lambda: len(server.asked) == 1, WAIT_SECONDS, "a request")

            assert accounts.identify("Token another").account_id == "17"
        finally:
            release.set()
        slow.result(WAIT_SECONDS)


@pytest.mark.contract("K-203")
@pytest.mark.parametrize("is_date", [False, True], ids=["seconds", "date"])
def test_server_that_wants_to_be_left_alone_is(
    accounts: RemoteAccounts, server: ScriptedAccounting, clock: Clock, is_date: bool
) -> None:
    wish = http_date(now() + timedelta(seconds=120)) if is_date else "120"
    server.always(Saying(503, {"error": "later"}, headers={"Retry-After": wish}))
    with pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)

    clock.seconds += 60
    with pytest.raises(AccountingUnavailableError) as caught:
        accounts.identify(TOKEN)
    with pytest.raises(AccountingUnavailableError):
        accounts.identify("Token of somebody else")
    with pytest.raises(AccountingUnavailableError):
        accounts.check()

    assert len(server.asked) == 1
    wait = caught.value.context["retry_after_seconds"]
    assert isinstance(wait, int)
    assert 0 < wait <= 60
    clock.seconds += 61
    server.always(Saying(200, known()))
    assert accounts.identify(TOKEN).account_id == "17"


@pytest.mark.parametrize("wish", ["999999999999", "soon", "-1", "Tue, 99 Foo 2026 00:00:00 GMT"])
def test_wish_without_end_or_sense_ends(
    accounts: RemoteAccounts, server: ScriptedAccounting, clock: Clock, wish: str
) -> None:
    server.always(Saying(503, {"error": "later"}, headers={"Retry-After": wish}))
    with pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)

    clock.seconds += 301
    server.always(Saying(200, known()))

    assert accounts.identify(TOKEN).account_id == "17"


@pytest.mark.contract("K-204", "K-500/block_account_stale_seconds")
def test_old_answers_help_out_while_the_server_is_out_of_order(
    make: Callable[..., RemoteAccounts], server: ScriptedAccounting, clock: Clock
) -> None:
    accounts = make(stale=600)
    accounts.identify(TOKEN)
    server.always(Saying(500, {"error": "broken"}))

    clock.seconds += 61
    assert accounts.identify(TOKEN).account_id == "17"
    assert accounts.limits_of("17").quota_bytes == 2 << 30
    assert accounts.figures.counted().stale == 2

    clock.seconds += 600
    with pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)


@pytest.mark.contract("K-204")
def test_old_answers_do_not_help_out_unless_that_is_chosen(
    accounts: RemoteAccounts, server: ScriptedAccounting, clock: Clock
) -> None:
    accounts.identify(TOKEN)
    server.always(Saying(500, {"error": "broken"}))
    clock.seconds += 61

    with pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)


@pytest.mark.contract("K-204")
def test_old_answer_does_not_outlive_the_account(
    make: Callable[..., RemoteAccounts], server: ScriptedAccounting, clock: Clock
) -> None:
    accounts = make(stale=600)
    accounts.identify(TOKEN)
    clock.seconds += 61
    server.always(Saying(404, {"error": "unknown token"}))
    with pytest.raises(NotAuthenticatedError):
        accounts.identify(TOKEN)

    clock.seconds += 6
    server.always(Saying(500, {"error": "broken"}))

    with pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)


@pytest.mark.contract("K-204")
def test_old_answer_is_not_used_while_our_secret_is_wrong(
    make: Callable[..., RemoteAccounts], server: ScriptedAccounting, clock: Clock
) -> None:
    accounts = make(stale=600)
    accounts.identify(TOKEN)
    clock.seconds += 61
    server.always(Saying(403, {"error": "Invalid API key"}))

    with pytest.raises(AccountingUnavailableError):
        accounts.identify(TOKEN)


@pytest.mark.contract("K-203")
def test_certificate_is_verified(make: Callable[..., RemoteAccounts], tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with ScriptedAccounting(certificates.server_context()) as server:
        trusting, doubting = make(server.url, ca_file=certificates.authority), make(server.url)

        assert trusting.identify(TOKEN).account_id == "17"
        with pytest.raises(AccountingUnavailableError):
            doubting.identify(TOKEN)

        assert len(server.asked) == 1
        trusting.close()


@pytest.mark.contract("K-208")
def test_who_tries_unknown_credentials_has_to_wait(
    accounts: RemoteAccounts, server: ScriptedAccounting, clock: Clock
) -> None:
    guesser = Caller(address="192.0.2.7")
    accounts.identify(TOKEN, guesser)
    for number in range(FREE_FAILURES):
        with pytest.raises(NotAuthenticatedError):
            accounts.identify(f"Token guess {number}", guesser)
    asked = len(server.asked)

    with pytest.raises(TooManyAttemptsError) as caught:
        accounts.identify("Token another guess", guesser)

    assert caught.value.retry_after_seconds == 1
    assert len(server.asked) == asked
    assert accounts.identify(TOKEN, guesser).account_id == "17"
    with pytest.raises(NotAuthenticatedError):
        accounts.identify("Token another guess", Caller(address="192.0.2.8"))

    clock.seconds += 6
    with pytest.raises(NotAuthenticatedError):
        accounts.identify("Token another guess", guesser)
    with pytest.raises(TooManyAttemptsError) as caught:
        accounts.identify("Token and another", guesser)
    assert caught.value.retry_after_seconds == 2


@pytest.mark.contract("K-208")
def test_the_same_wrong_credentials_are_one_attempt(accounts: RemoteAccounts) -> None:
    caller = Caller(address="192.0.2.7")

    for _ in range(3 * FREE_FAILURES):
        with pytest.raises(NotAuthenticatedError):
            accounts.identify("Token of yesterday", caller)

    assert accounts.identify(TOKEN, caller).account_id == "17"


@pytest.mark.contract("K-208", "K-205")
def test_limits_of_unknown_accounts_are_no_attempts(
    accounts: RemoteAccounts, server: ScriptedAccounting
) -> None:
    caller = Caller(address="192.0.2.7")
    for number in range(2 * FREE_FAILURES):
        with pytest.raises(NotFoundError):
            accounts.limits_of(str(5000 + number), caller)

    assert accounts.identify(TOKEN, caller).account_id == "17"


@pytest.mark.contract("K-502", "KD-20")
@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("http://accounts", ""),
        ("http://accounts", "secret"),
        ("http://accounts", "two\nlines"),
        ("http://accounts", "schlüssel"),
        ("", SECRET),
        ("accounts:8000", SECRET),
        ("ftp://accounts", SECRET),
        ("http://user:word@accounts", SECRET),
        ("http://accounts/?a=b", SECRET),
        ("http://accounts:port", SECRET),
        ("http://[", SECRET),
    ],
)
def test_server_that_cannot_be_meant_stops_the_start(url: str, secret: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AccountingServer(url, secret)

    assert not secret or secret == "secret" or secret not in str(caught.value)
