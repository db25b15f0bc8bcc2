"""Reading on, slowly, where more of an account was read this month than may be.

Source: K-222 of the storage contract.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final
from weakref import WeakValueDictionary

from meteorpi_db.filestore import CHUNK_BYTES
from meteorpi_db.filestore.pacing import Pace
from meteorpi_server.content import Chunks

_CHUNKS_A_SECOND: Final = 4
_LEAST_CHUNK: Final = 4096


class SlowReading:
    """The rate at which an account is read, by all who read it in this process together.

    Args:
        bytes_per_second: the rate; 0 for none.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._paces: WeakValueDictionary[str, Pace] = WeakValueDictionary()

    @property
    def is_offered(self) -> bool:
        """Whether there is such a rate; else reading is refused."""
        return self._rate > 0

    @property
    def chunk_bytes(self) -> int:
        """Largest chunk that keeps a connection alive at this rate."""
        return min(CHUNK_BYTES, max(_LEAST_CHUNK, self._rate // _CHUNKS_A_SECOND))

    def slowed(self, chunks: Chunks, account_id: str) -> Chunks:
        """The same chunks, each held back until the rate allows it."""
        with self._lock:
            pace = self._paces.get(account_id)
            if pace is None:
                pace = self._paces[account_id] = Pace(self._rate)
        return _SlowChunks(chunks, pace)


class _SlowChunks(Iterator[bytes]):
    def __init__(self, chunks: Chunks, pace: Pace) -> None:
        self._chunks = chunks
        self._pace = pace

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._pace.take(len(chunk))
        return chunk

    def close(self) -> None:
        """Give the content back."""
        self._chunks.close()
