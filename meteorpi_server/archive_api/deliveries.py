"""Chunks on the way to one reader: no faster than they may be, and no longer than they should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from meteorpi_model.errors import UnavailableError
from meteorpi_server.archive_api.rates import Rates
from meteorpi_server.archive_api.slots import Slot
from meteorpi_server.content import Chunks

COMPLETE: Final = "complete"
ABORTED: Final = "aborted"
FAILED: Final = "failed"


class Delivery(Iterator[bytes]):
    """The bytes of `chunks` while `slot` may send; whatever happens, `close` gives everything back, once.

    Args:
        chunks: what is sent; its first one is fetched here, for the status is not decided before.
        slot: of the connection, ended at the end.
        rates: how fast.
        reason_of: why an error of `chunks` ends it, in one word.
        note: told the outcome at the end, when nothing is open any more and the slot is free.

    Raises:
        Exception: what the first chunk came to; everything is given back, and noted, by then.
    """

    def __init__(
        self,
        chunks: Chunks,
        slot: Slot,
        rates: Rates,
        *,
        reason_of: Callable[[BaseException], str],
        note: Callable[[str], None],
    ) -> None:
        self._chunks = chunks
        self._slot = slot
        self._rates = rates
        self._reason_of = reason_of
        self._note = note
        self._is_closed = False
        self._first: bytes | None = None
        self._waiting = memoryview(b"")
        try:
            self._first = _first_of(self._chunks)
        except BaseException as error:
            self._close_as(self._slot.stop_reason or reason_of(error))
            raise

    def __next__(self) -> bytes:
        self._slot.handed_at = None
        self._check()
        self._rates.way.pause()
        piece = self._next_piece()
        self._check()
        self._slot.sent_bytes += len(piece)
        self._slot.handed_at = time.monotonic()
        return piece

    def _next_piece(self) -> bytes:
        """The next chunk, or as much of it as may be sent at once, as soon as it may."""
        most = self._rates.piece_bytes(self._slot.claim.flow) if self._rates.are_set else None
        if most is None and not self._waiting:
            return self._next_chunk()
        if not self._waiting:
            self._waiting = memoryview(self._next_chunk())
        piece, self._waiting = bytes(self._waiting[:most]), self._waiting[most or len(self._waiting) :]
        self._rates.take(self._slot.claim.flow, len(piece), lambda: self._slot.is_stopped)
        return piece

    def _next_chunk(self) -> bytes:
        chunk, self._first = self._first, None
        if chunk is not None:
            return chunk
        try:
            return next(self._chunks)
        except StopIteration:
            self._check()
            self._close_as(COMPLETE)
            raise
        except BaseException as error:
            self._close_as(self._slot.stop_reason or self._reason_of(error))
            raise

    def _check(self) -> None:
        """Raises where it has to end: nothing else makes a server break the connection."""
        if (reason := self._slot.stop_reason) is not None:
            self._close_as(reason)
            raise UnavailableError(f"this download had to end: {reason}")

    def close(self) -> None:
        """Close what is open, give the slot back, and note it; harmless when repeated."""
        self._close_as(self._slot.stop_reason or ABORTED)

    def _close_as(self, outcome: str) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._slot.handed_at = None
        try:
            self._chunks.close()
        finally:
            self._slot.end()
        self._note(outcome)


def _first_of(chunks: Chunks) -> bytes | None:
    try:
        return next(chunks)
    except StopIteration:
        return None
