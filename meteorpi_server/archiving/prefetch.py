"""Sources opened ahead of the one that is being sent: their latency is paid once, not for each.

A few threads open what comes next and read a little of it, then wait to be asked for it; the rest is read by
whoever sends. So no more than that little is held of each, and a slow reader stops the sources.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Self

from meteorpi_server.archiving.entries import Entry
from meteorpi_server.archiving.failures import SourceFailedError
from meteorpi_server.archiving.plan import Plan
from meteorpi_server.archiving.sources import Chunks, Source

PREFETCH: Final = 4
"""Sources that are opened ahead."""

PREFETCH_BYTES: Final = 1 << 20
"""Bytes that are held of each."""


class Wanted(NamedTuple):
    """A content that will be opened: the arguments of :meth:`Source.open`."""

    entry: Entry
    start: int
    stop: int | None


def wanted_of(plan: Plan) -> list[Wanted]:
    """What sending the whole of `plan` opens of other servers, in that order."""
    return [Wanted(entry, 0, entry.size) for entry in plan.entries if entry.kind == "url"]


class Prefetcher(Source):
    """Opens contents of another source before they are asked for; of one download, and closed with it.

    Nothing is opened ahead before the first content that is asked for has given its first chunk.

    Args:
        source: what is opened.
        wanted: what will be asked for, in that order; what is asked for out of order is opened then.
        count: how many are opened ahead.
        held_bytes: how much is read of each.
    """

    def __init__(
        self,
        source: Source,
        wanted: Sequence[Wanted],
        *,
        count: int = PREFETCH,
        held_bytes: int = PREFETCH_BYTES,
    ) -> None:
        self._source = source
        self._wanted = wanted
        self._count = count
        self._held_bytes = held_bytes
        self._next = 0  # of wanted: the first that was not asked for
        self._ahead: dict[int, _Job] = {}
        self._awaited: _Job | None = None
        self._orders: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """See :meth:`Source.open`."""
        index = self._next
        if index >= len(self._wanted) or self._wanted[index] != (entry, start, stop):
            return self._source.open(entry, start, stop)
        self._next = index + 1
        job = self._ahead.pop(index, None)
        if job is None:
            return _Watched(self._source.open(entry, start, stop), self)
        self._awaited = job
        self.go_ahead()
        try:
            return job.taken()
        finally:
            self._awaited = None

    def check(self, entry: Entry) -> None:
        """See :meth:`Source.check`."""
        self._source.check(entry)

    def go_ahead(self) -> None:
        """Have the next contents opened, as far as they are not yet."""
        for index in range(self._next, min(self._next + self._count, len(self._wanted))):
            if index not in self._ahead:
                self._ahead[index] = job = _Job(self._source, self._wanted[index], self._held_bytes)
                self._orders.put(job)
                if len(self._threads) <= self._count:  # the one that is waited for is at work as well
                    self._start_thread()

    def _start_thread(self) -> None:
        # A daemon, for a source may keep it waiting longer than the process has time to end.
        thread = threading.Thread(target=_work, args=(self._orders,), name="prefetch", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Close what was opened ahead, also while another thread waits for it, which is told that it failed.

        Threads that wait for a source end when it answers.
        """
        self._next = len(self._wanted)
        for _ in list(self._threads):
            self._orders.put(None)
        for job in [self._awaited, *self._ahead.values()]:
            if job is not None:
                job.abandon()
        self._ahead.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _work(orders: queue.SimpleQueue[_Job | None]) -> None:
    while (job := orders.get()) is not None:
        job.run()


class _Job:
    """One content that is opened ahead: run by one thread, then taken or abandoned by another."""

    def __init__(self, source: Source, wanted: Wanted, held_bytes: int) -> None:
        self._source = source
        self._wanted = wanted
        self._left = held_bytes
        self._chunks: Chunks | None = None
        self._held: deque[bytes] = deque()
        self._error: SourceFailedError | None = None
        self._is_done = threading.Event()
        self._is_abandoned = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Open the content and read a little of it."""
        try:
            if not self._is_abandoned:
                self._keep(self._source.open(*self._wanted))
                self._read()
        except SourceFailedError as error:
            self._error = error
        finally:
            self._is_done.set()

    def _keep(self, chunks: Chunks) -> None:
        with self._lock:
            self._chunks = chunks
            is_late = self._is_abandoned
        if is_late:
            chunks.close()

    def _read(self) -> None:
        while self._left > 0 and not self._is_abandoned and self._chunks is not None:
            chunk = next(self._chunks, b"")
            if not chunk:
                return
            self._held.append(chunk)
            self._left -= len(chunk)

    def abandon(self) -> None:
        """Close the content, now or when it is there."""
        with self._lock:
            self._is_abandoned = True
            chunks = self._chunks
        self._is_done.set()
        if chunks is not None:
            chunks.close()

    def taken(self) -> Chunks:
        """The content, what is held first; raises what opening it raised."""
        self._is_done.wait()
        if self._chunks is None or self._is_abandoned:
            raise self._error or SourceFailedError("the source was closed")
        return _Continued(self._held, self._chunks, self._error)


class _Continued(Iterator[bytes]):
    """What was held, then the rest, or the error that ended it."""

    def __init__(self, held: deque[bytes], rest: Chunks, error: SourceFailedError | None) -> None:
        self._held = held
        self._rest = rest
        self._error = error

    def __next__(self) -> bytes:
        if self._held:
            return self._held.popleft()
        if self._error is not None:
            raise self._error
        return next(self._rest)

    def close(self) -> None:
        """Close the content."""
        self._held.clear()
        self._rest.close()


class _Watched(Iterator[bytes]):
    """A content that nothing was opened ahead for; its second chunk lets the next ones be opened."""

    def __init__(self, chunks: Chunks, prefetcher: Prefetcher) -> None:
        self._chunks = chunks
        self._prefetcher = prefetcher
        self._has_begun = False

    def __next__(self) -> bytes:
        if self._has_begun:
            self._prefetcher.go_ahead()
        self._has_begun = True
        return next(self._chunks)

    def close(self) -> None:
        """Close the content."""
        self._chunks.close()
