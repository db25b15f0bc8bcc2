"""Contents of entries that other servers hold, fetched while they are sent.

A source that breaks off is asked again, from where it broke off if it promises that its content is still the
same (a strong entity tag), and from its beginning only as long as nothing of it was given.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from meteorpi_server.archiving.entries import Entry
from meteorpi_server.archiving.failures import Reason, SourceFailedError
from meteorpi_server.archiving.sources import Chunks, Source
from meteorpi_server.outbound import Answer, Outbound, OutboundError, Request
from meteorpi_server.outbound import Reason as OutboundReason
from meteorpi_server.outbound.facts import Facts, ask

FIRST_WAIT_SECONDS: Final = 0.5
"""Before the first repetition; doubled before each further one, and up to half of it left out at random."""

_MISSING: Final = frozenset({404, 410})
_REASONS: Final[Mapping[OutboundReason, Reason]] = {
    OutboundReason.REFUSED_URL: Reason.REFUSED,
    OutboundReason.REFUSED_ADDRESS: Reason.REFUSED,
    OutboundReason.REFUSED_HEADER: Reason.REFUSED,
    OutboundReason.REDIRECTS: Reason.STATUS,
    OutboundReason.STATUS: Reason.STATUS,
    OutboundReason.TIMEOUT: Reason.TIMEOUT,
    OutboundReason.CUT_OFF: Reason.SHORT,
    OutboundReason.CHANGED: Reason.CHANGED,
}


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How hard a source is tried.

    Attributes:
        retries: how often one entry is asked for again.
        total_seconds: time for one entry, repetitions and waits included.
        wait: waits for a number of seconds.
    """

    retries: int = 3
    total_seconds: float = 21600.0
    wait: Callable[[float], None] = time.sleep


class RemoteSource(Source):
    """Contents of ``url`` entries.

    The reference of an entry is its URL. Of its details ``headers`` are sent along, and ``etag``, a strong
    entity tag, is the content that was planned.

    Args:
        outbound: asks the servers.
        patience: how hard each is tried.
    """

    def __init__(self, outbound: Outbound, patience: Patience | None = None) -> None:
        self._outbound = outbound
        self._patience = patience or Patience()

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """See :meth:`Source.open`."""
        chunks = _RemoteChunks(self._outbound, self._patience, entry, start, stop)
        chunks.begin()
        return chunks

    def check(self, entry: Entry) -> None:
        """See :meth:`Source.check`."""
        try:
            facts = ask(self._outbound, Request(url=entry.reference, headers=_headers(entry)))
        except OutboundError as error:
            raise _failure(error) from error
        _compare(facts, entry)


class _RemoteChunks(Iterator[bytes]):
    def __init__(
        self, outbound: Outbound, patience: Patience, entry: Entry, start: int, stop: int | None
    ) -> None:
        self._outbound = outbound
        self._patience = patience
        self._entry = entry
        self._start = start
        # The whole is asked for as such: what is longer than planned shows itself.
        self._stop = None if stop == entry.size else stop
        self._position = start
        self._validator = _etag(entry)
        self._deadline = time.monotonic() + patience.total_seconds
        self._repeated = 0
        self._answer: Answer | None = None
        self._content: Iterator[bytes] = iter(())
        self._reading = threading.Lock()
        self._is_closed = False

    def begin(self) -> None:
        """Ask until an answer is there."""
        while True:
            try:
                return self._ask()
            except OutboundError as error:
                self._wait_after(error)

    def __next__(self) -> bytes:
        with self._reading:
            try:
                return self._next()
            except BaseException:
                self._end()
                raise

    def _next(self) -> bytes:
        while not self._is_closed and self._position != self._stop:
            try:
                chunk = next(self._content)
            except StopIteration:
                if self._position < self._expected:
                    self._resume(OutboundError("the source ends early", reason=OutboundReason.CUT_OFF))
                    continue
                break
            except OutboundError as error:
                self._resume(error)
                continue
            if self._stop is not None:
                chunk = chunk[: self._stop - self._position]
            self._position += len(chunk)
            return chunk
        raise StopIteration

    @property
    def _expected(self) -> int:
        """Where the content ends at the earliest."""
        return self._stop or self._entry.size or 0

    def _resume(self, error: OutboundError) -> None:
        """Ask again after `error`; raises it as a SourceFailedError where that cannot help."""
        while True:
            self._end()
            if self._is_closed:
                raise StopIteration
            if self._position > self._start and self._validator is None:
                raise _failure(error) from error
            self._wait_after(error)
            try:
                return self._ask()
            except OutboundError as again:
                error = again

    def _wait_after(self, error: OutboundError) -> None:
        wait = FIRST_WAIT_SECONDS * 2**self._repeated * random.uniform(0.5, 1.0)
        is_over = time.monotonic() + wait > self._deadline
        if not error.is_worth_retrying or self._repeated >= self._patience.retries or is_over:
            raise _failure(error) from error
        self._repeated += 1
        self._patience.wait(wait)

    def _ask(self) -> None:
        request = Request(
            url=self._entry.reference,
            headers=_headers(self._entry),
            start=self._position,
            stop=self._stop,
            validator=self._validator,
        )
        if request.start and request.validator is None:
            raise SourceFailedError("the source does not say whether it is unchanged", reason=Reason.CHANGED)
        answer = self._outbound.get(request, self._deadline)
        try:
            self._compare(answer)
        except BaseException:
            answer.close()
            raise
        self._answer, self._content = answer, iter(answer)

    def _compare(self, answer: Answer) -> None:
        if answer.start != self._position:
            raise SourceFailedError("the source is not what it was before", reason=Reason.CHANGED)
        if self._validator is not None and answer.validator != self._validator:
            # A part need not repeat the tag: the condition of the request has checked it.
            if answer.validator is not None or answer.status != 206:
                raise SourceFailedError("the source is not what it was before", reason=Reason.CHANGED)
        elif not answer.is_coded:
            self._validator = answer.validator
        _compare_sizes(answer.size, self._entry)

    def _end(self) -> None:
        answer, self._answer = self._answer, None
        self._content = iter(())
        if answer is not None:
            answer.close()

    def close(self) -> None:
        """Drop the connection, even while another thread waits for it."""
        self._is_closed = True
        while not self._reading.acquire(timeout=0.05):
            if (answer := self._answer) is not None:
                answer.interrupt()
            else:
                return  # it is asking or waiting, and will see that it is closed
        try:
            self._end()
        finally:
            self._reading.release()


def _headers(entry: Entry) -> dict[str, str]:
    found = entry.details.get("headers")
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


def _etag(entry: Entry) -> str | None:
    found = entry.details.get("etag")
    return found if isinstance(found, str) else None


def _compare(facts: Facts, entry: Entry) -> None:
    if _etag(entry) is not None and facts.validator != _etag(entry):
        raise SourceFailedError("the source is not what it was before", reason=Reason.CHANGED)
    _compare_sizes(facts.size, entry)


def _compare_sizes(size: int | None, entry: Entry) -> None:
    if size is not None and entry.size is not None and size != entry.size:
        reason = Reason.SHORT if size < entry.size else Reason.LONG
        raise SourceFailedError(f"the source has {size} bytes, not the {entry.size} planned", reason=reason)


def _failure(error: OutboundError) -> SourceFailedError:
    """What `error` means for an entry; it has been retried as often as it is worth."""
    missing = error.status in _MISSING
    reason = Reason.MISSING if missing else _REASONS.get(error.reason, Reason.UNREADABLE)
    return SourceFailedError(error.detail, reason=reason)
