"""Contents that another thread can cut off, when there is nobody left to send them to."""

from __future__ import annotations

import threading
from collections.abc import Callable

from meteorpi_server.archiving.entries import Entry
from meteorpi_server.archiving.failures import SourceFailedError
from meteorpi_server.archiving.sources import Chunks, Source


class Cutter:
    """Cuts what is open just now. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Chunks | None = None
        self._closers: list[Callable[[], None]] = []
        self._is_cut = False

    def add(self, close: Callable[[], None]) -> None:
        """Have `close` called as well; it has to bear that from another thread."""
        self._closers.append(close)

    def watch(self, chunks: Chunks) -> None:
        """From now on this is what is open.

        Raises:
            SourceFailedError: it has been cut already; `chunks` are closed.
        """
        with self._lock:
            self._open, is_cut = chunks, self._is_cut
        if is_cut:
            chunks.close()
            raise SourceFailedError("this download has ended")

    def cut(self) -> None:
        """Close what is open, even while another thread waits for its next chunk, and all that comes."""
        with self._lock:
            self._is_cut, chunks = True, self._open
        for close in self._closers:
            close()
        if chunks is not None:
            chunks.close()


class CuttableSource(Source):
    """Another source whose contents can be cut off; they have to bear being closed by another thread.

    Args:
        source: of the contents, one of which is open at a time.
        cutter: cuts them.
    """

    def __init__(self, source: Source, cutter: Cutter) -> None:
        self._source = source
        self._cutter = cutter

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """See :meth:`Source.open`."""
        chunks = self._source.open(entry, start, stop)
        self._cutter.watch(chunks)
        return chunks

    def check(self, entry: Entry) -> None:
        """See :meth:`Source.check`."""
        self._source.check(entry)
