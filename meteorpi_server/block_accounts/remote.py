"""Accounts of an accounting server: asked once a minute for each, at most once in five seconds.

::

    question -> cache -> refusals of the last seconds -> one request for all who ask the same -> answer
                  |                                                                                |
                  +---- may be older while the server is out of order, where that is allowed <-----+

Source: K-203 to K-206, K-208, KD-01, KD-09, KD-26 and I-09 of the storage contract.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from meteorpi_model.errors import (
    AccountingUnavailableError,
    NotAuthenticatedError,
    NotFoundError,
    UnavailableError,
)
from meteorpi_server.block_accounts.accounting import (
    AccountingServer,
    Failure,
    Outcome,
    Unknown,
    read_reply,
)
from meteorpi_server.block_accounts.attempts import Attempts
from meteorpi_server.block_accounts.base import (
    NO_CREDENTIALS,
    NOBODY,
    UNKNOWN_ACCOUNT,
    WRONG_CREDENTIALS,
    Account,
    AccountSource,
    Caller,
)
from meteorpi_server.block_accounts.caches import AccountCache, MemoryCache
from meteorpi_server.block_accounts.figures import AccountFigures, Counted
from meteorpi_server.block_accounts.flights import Flights
from meteorpi_server.block_accounts.hashing import CacheKeys

FRESH_SECONDS: Final = 60.0
REFUSAL_SECONDS: Final = 5.0
"""How long it counts that credentials are unknown, or that there was no answer."""

MOST_CREDENTIAL_CHARACTERS: Final = 8192
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,18}")
_PROBE: Final = "0"  # an account that every server can say something about, and be it that it is unknown

logger = logging.getLogger("meteorpi.block.accounts")


@dataclass(frozen=True)
class _Question:
    key: str
    document: Mapping[str, object]
    account_id: str | None = None


class RemoteAccounts(AccountSource):
    """Whoever an accounting server knows.

    Args:
        server: it.
        keys: names cache entries.
        cache: keeps what is known.
        fresh_seconds: how long it is good.
        stale_seconds: how much longer it is used as long as the server does not answer; 0 for not at all.
        monotonic: tells the seconds that have passed.

    Attributes:
        figures: what is counted.
    """

    name: ClassVar[str] = "remote"

    def __init__(
        self,
        server: AccountingServer,
        keys: CacheKeys,
        cache: AccountCache,
        *,
        fresh_seconds: float = FRESH_SECONDS,
        stale_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._keys = keys
        self._cache = cache
        self._fresh_seconds = fresh_seconds
        self._stale_seconds = stale_seconds
        self._monotonic = monotonic
        # Of this process, even if the cache is shared: they hold when that is out of order.
        self._refusals: MemoryCache[Unknown | Failure] = MemoryCache(monotonic=monotonic)
        self._flights: Flights[Outcome] = Flights(wait_seconds=server.total_seconds)
        self._attempts = Attempts(monotonic)
        self._mutex = threading.Lock()
        self._silent_until = float("-inf")
        self.figures = AccountFigures()

    def look_up(self, authorization: str | None, caller: Caller = NOBODY) -> Account:
        """Ask who has these credentials; the whole header is passed on."""
        if authorization is None or not authorization.strip():
            raise NotAuthenticatedError(NO_CREDENTIALS)
        if len(authorization) > MOST_CREDENTIAL_CHARACTERS:
            raise NotAuthenticatedError(WRONG_CREDENTIALS)
        question = _Question(self._keys.of_credentials(authorization), {"auth": authorization})
        found = self._answer(question, caller)
        if found is None:
            raise NotAuthenticatedError(WRONG_CREDENTIALS)
        return found

    def limits_of(self, account_id: str, caller: Caller = NOBODY) -> Account:
        """Ask for the limits of an account by its number."""
        found = None
        if _NUMBER.fullmatch(account_id):
            question = _Question(self._keys.of_account(account_id), {"user_id": int(account_id)}, account_id)
            found = self._answer(question, caller)
        if found is None:
            raise NotFoundError(UNKNOWN_ACCOUNT)
        return found

    def check(self) -> None:
        """Ask for an account past the cache, unless the server wants to be left alone."""
        found = self._silence() or self._asked({"user_id": int(_PROBE)}, _PROBE, NOBODY)
        if isinstance(found, Failure):
            raise _unavailable(found)

    def counted(self) -> Counted:
        """See :meth:`AccountSource.counted`."""
        return replace(self.figures.counted(), cache_failures=self._cache.failures)

    def close(self) -> None:
        """Close the connections to the server and the cache."""
        self._server.close()
        self._cache.close()

    def _answer(self, question: _Question, caller: Caller) -> Account | None:
        """The account that is asked for, None when there is none."""
        outcome = self._known(question.key)
        if outcome is None:
            try:
                outcome = self._flights.run(question.key, lambda: self._learn(question, caller))
            except TimeoutError:
                outcome = Failure(reason="another request for the same takes too long")
        match outcome:
            case Account():
                return outcome
            case Unknown():
                return None
            case Failure():
                return self._stale(question.key, outcome)

    def _known(self, key: str) -> Outcome | None:
        """What needs no request."""
        kept = self._cache.get(key)
        if kept is not None and kept.seconds_left > self._stale_seconds:
            self.figures.hit()
            return kept.value
        refusal = self._refusals.get(key)
        return None if refusal is None else refusal.value

    def _stale(self, key: str, failure: Failure) -> Account:
        """What was known before, if that will do."""
        kept = self._cache.get(key) if self._stale_seconds > 0 and not failure.is_ours else None
        if kept is None:
            raise _unavailable(failure)
        self.figures.helped_out()
        return kept.value

    def _learn(self, question: _Question, caller: Caller) -> Outcome:
        """Ask, unless whoever asked just before has the answer; and remember it."""
        known = self._known(question.key)
        if known is not None:
            return known
        silence = self._silence()
        if silence is not None:
            return silence
        address = caller.address if question.account_id is None else None
        self._attempts.check(address)
        outcome = self._asked(question.document, question.account_id, caller)
        if isinstance(outcome, Account):
            self._keep(question.key, outcome)
            return outcome
        if isinstance(outcome, Unknown):
            self._cache.delete(question.key)  # it may lie there as something old
            self._attempts.record_failure(address)
        self._refusals.put(question.key, outcome, REFUSAL_SECONDS)
        return outcome

    def _silence(self) -> Failure | None:
        """A failure as long as the server wants to be left alone."""
        seconds = self._silent_until - self._monotonic()
        if seconds <= 0:
            return None
        return Failure(reason="it wants to be left alone", wait_seconds=math.ceil(seconds))

    def _keep(self, key: str, account: Account) -> None:
        for each in {key, self._keys.of_account(account.account_id)}:
            self._cache.put(each, account, self._fresh_seconds + self._stale_seconds)
        self.figures.kept()

    def _asked(self, document: Mapping[str, object], account_id: str | None, caller: Caller) -> Outcome:
        begun = time.perf_counter()
        try:
            outcome = read_reply(self._server.ask(document, caller.request_id), account_id)
        except UnavailableError as error:
            outcome = Failure(reason=error.detail)
        is_failure = isinstance(outcome, Failure)
        self.figures.called(time.perf_counter() - begun, is_failure=is_failure)
        if isinstance(outcome, Failure):
            self._note(outcome)
        return outcome

    def _note(self, failure: Failure) -> None:
        level = logging.ERROR if failure.is_ours else logging.WARNING
        logger.log(level, "accounting server failed reason=%s", failure.reason)
        if failure.wait_seconds is not None:
            with self._mutex:
                self._silent_until = max(self._silent_until, self._monotonic() + failure.wait_seconds)


def _unavailable(failure: Failure) -> AccountingUnavailableError:
    return AccountingUnavailableError(
        "nobody can say now who you are and what you may use",
        retry_after_seconds=math.ceil(failure.wait_seconds or REFUSAL_SECONDS),
    )
