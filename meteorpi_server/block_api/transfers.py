"""How many transfers use the file store at the same time, and that slow clients hold up nobody.

A turn is what it takes to read or write up to one chunk (1 MiB at most), and never includes the waiting for a
client: who receives slowly, or sends slowly, has no turn meanwhile. Turns are given in the order in which
they were asked for. Reading and writing have shares of their own, so neither can keep the other from the
store.

Source: K-411 and K-412 of the storage contract.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from meteorpi_db.filestore import CHUNK_BYTES, ContentReader, FileStore
from meteorpi_model.errors import BusyError
from meteorpi_server.content import Chunks

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TurnFigures:
    """How turns are used.

    Attributes:
        total: that there are.
        in_use: of them, now.
        waiting: threads that wait for one, now.
        waits: how often somebody had to wait, so far.
        waited_seconds: all of that together.
    """

    total: int
    in_use: int
    waiting: int
    waits: int
    waited_seconds: float


class Turns:
    """A number of turns, given in the order in which they are asked for. Safe for threads.

    Args:
        total: how many there are at the same time.
        wait_seconds: longest wait for one.
    """

    def __init__(self, total: int, wait_seconds: float) -> None:
        self._total = total
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._free = total
        self._queue: deque[threading.Event] = deque()
        self._waits = 0
        self._waited_seconds = 0.0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Have a turn until the block ends; raises as :meth:`take`."""
        self.take()
        try:
            yield
        finally:
            self.give()

    def take(self) -> None:
        """Wait for a turn.

        Raises:
            BusyError: none became free in time.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._queue.append(mine)
            self._waits += 1
        begun = time.monotonic()
        has_come = mine.wait(self._wait_seconds)
        with self._lock:
            self._waited_seconds += time.monotonic() - begun
            # It may have been given between the end of the wait and now; then it is ours all the same.
            if not has_come and not mine.is_set():
                self._queue.remove(mine)
                raise BusyError("the file store is busy with other transfers")

    def give(self) -> None:
        """Give a turn back: to who waits longest, if anybody does."""
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._free += 1

    def figures(self) -> TurnFigures:
        """How they are used."""
        with self._lock:
            return TurnFigures(
                total=self._total,
                in_use=self._total - self._free,
                waiting=len(self._queue),
                waits=self._waits,
                waited_seconds=self._waited_seconds,
            )


class Transfers:
    """Turns of one process at the file store.

    Args:
        total: turns, of which half are for reading and half for writing, one of each at least.
        wait_seconds: longest wait for one.

    Attributes:
        reads, writes: the two shares.
    """

    def __init__(self, total: int, wait_seconds: float) -> None:
        self.reads = Turns((total + 1) // 2, wait_seconds)
        self.writes = Turns(max(1, total // 2), wait_seconds)

    def open(
        self,
        store: FileStore,
        content_id: UUID,
        start: int,
        stop: int,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Chunks:
        """Read a content, each chunk in a turn; otherwise as :meth:`FileStore.open`.

        Args:
            chunk_bytes: the largest chunk.

        Raises:
            BusyError: there is no turn; later it ends the reading, and the client sees that it was cut off.
        """
        with self.reads.one():
            reader = store.open(content_id, start, stop)
        reader.chunk_bytes = min(reader.chunk_bytes, chunk_bytes)
        return _TurnedReader(reader, self.reads)

    def write(self, chunks: Iterable[bytes], put: Callable[[Iterable[bytes]], T]) -> T:
        """Call `put` with `chunks` in a turn, which is given away while the next chunk is waited for.

        Raises:
            BusyError: there is no turn.
        """
        turn = _WriteTurn(self.writes)
        turn.take()
        try:
            return put(turn.lent_while(chunks))
        finally:
            turn.give()


class _TurnedReader(Iterator[bytes]):
    def __init__(self, chunks: ContentReader, turns: Turns) -> None:
        self._chunks = chunks
        self._turns = turns

    def __next__(self) -> bytes:
        with self._turns.one():
            return next(self._chunks)

    def close(self) -> None:
        """Give the content back."""
        self._chunks.close()


class _WriteTurn:
    """A turn that may be away when its owner gives up, so that it is never given back twice."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._is_here = False

    def take(self) -> None:
        self._turns.take()
        self._is_here = True

    def give(self) -> None:
        if self._is_here:
            self._is_here = False
            self._turns.give()

    def lent_while(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        source = iter(chunks)
        while True:
            self.give()
            chunk = next(source, None)
            if chunk is None:
                self.take()
                return
            self.take()
            yield chunk
