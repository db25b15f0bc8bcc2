"""The next chunks made while the last one is being sent, where that is worth a thread.

A reader on a slow line gives all the time that is needed to read and check what comes next. Where making a
chunk and sending it take about as long, because the line is fast or the disk is slow, the two go on side by
side.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from meteorpi_server.archiving.sources import Chunks

AHEAD_CHUNKS: Final = 4
"""The most that is held ready."""

TRIAL_CHUNKS: Final = 16
"""Chunks sent before the times are compared, each time anew."""

SLOWEST_LINE: Final = 4.0
"""A thread is worth it where sending takes at most this many times as long as making."""

SLOWEST_SOURCE: Final = 1.25
"""And making at most this many times as long as sending: of two at a time the shorter is what is saved."""


class ReadAhead(Iterator[bytes]):
    """The same chunks in the same order; what they raise comes behind those before it.

    Args:
        chunks: made in a thread of their own from some point on; closed with this.
        clock: seconds, by which it is told whether that is worth it.
    """

    def __init__(self, chunks: Chunks, clock: Callable[[], float] = time.perf_counter) -> None:
        self._chunks = chunks
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._ready: deque[Future[bytes]] = deque()
        self._restart_trial()

    @property
    def is_ahead(self) -> bool:
        """Whether the thread is at work."""
        return self._thread is not None

    def _restart_trial(self) -> None:
        self._count, self._making, self._sending, self._given_at = 0, 0.0, 0.0, 0.0

    def __next__(self) -> bytes:
        if self._thread is None:
            return self._made_here()
        chunk = self._ready[0].result()  # whoever asks again behind the end gets the same answer
        self._ready.popleft()
        self._order(self._thread)
        return chunk

    def _made_here(self) -> bytes:
        begun = self._clock()
        chunk = next(self._chunks)
        made = self._clock()
        if self._given_at:
            self._count += 1
            self._making += made - begun
            self._sending += begun - self._given_at
        if self._count == TRIAL_CHUNKS:
            if self._making / SLOWEST_SOURCE <= self._sending <= self._making * SLOWEST_LINE:
                self._go_ahead()
            self._restart_trial()
        self._given_at = self._clock()
        return chunk

    def _go_ahead(self) -> None:
        self._thread = ThreadPoolExecutor(1, "archive-read-ahead")
        for _ in range(AHEAD_CHUNKS):
            self._order(self._thread)

    def _order(self, thread: ThreadPoolExecutor) -> None:
        self._ready.append(thread.submit(next, self._chunks))

    def close(self) -> None:
        """End the thread, which makes the chunk it is at, and close what it takes from; may be repeated."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None
        self._chunks.close()
