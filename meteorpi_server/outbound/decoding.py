"""Contents that a source sent coded, although it was asked not to.

A few kilobytes can be made to unfold to gigabytes, so what comes out is bounded by what went in.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from meteorpi_server.outbound.failures import OutboundError, Reason

MAX_RATIO: Final = 100
"""Bytes that one coded byte may unfold to, on the whole. Text reaches about twenty, zlib's limit is 1032."""

FREE_BYTES: Final = 1 << 24
"""Bytes that are decoded whatever their ratio: a frame of nothing but zeros is no attack."""

MIN_MEMBER_BYTES: Final = 256
"""Least length, on the average, of the members of a gzip file; beginning one costs whatever its length."""

_FREE_MEMBERS: Final = 16
_PIECE_BYTES: Final = 1 << 16
_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Decoder:
    """Takes one content coding off, a piece at a time.

    Args:
        coding: the field ``Content-Encoding``: ``gzip``, ``x-gzip`` or ``deflate``.

    Raises:
        OutboundError: it is another coding, or several on top of each other; reason ``coding``.

    Source:
        RFC 9110 section 8.4.1.
    """

    def __init__(self, coding: str) -> None:
        name = coding.strip().lower()
        if name not in _WINDOW_BITS:
            raise _wrong("the source sends its content in a coding that was not asked for")
        self._bits = _WINDOW_BITS[name]
        self._engine = zlib.decompressobj(self._bits)
        self._taken = 0
        self._given = 0
        self._members = 1

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Give what `data` unfolds to, in pieces that are not empty.

        Raises:
            OutboundError: it cannot be decoded, or unfolds to too much; reason ``coding``.
        """
        self._taken += len(data)
        while data:
            if self._engine.eof:  # one member of a gzip file after the other (RFC 1952 section 2.2)
                self._begin_member()
            yield from self._unfolded(data)
            data = self._engine.unused_data

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > _FREE_MEMBERS + self._taken // MIN_MEMBER_BYTES:
            raise _wrong("the coded content of the source is cut up too small")
        self._engine = zlib.decompressobj(self._bits)

    def _unfolded(self, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._engine.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise _wrong("the coded content of the source cannot be read") from error
            self._given += len(piece)
            if self._given > FREE_BYTES and self._given > MAX_RATIO * self._taken:
                raise _wrong("the coded content of the source unfolds to too much")
            if piece:
                yield piece
            data = self._engine.unconsumed_tail
            # A full piece may be followed by what the engine keeps inside.
            if self._engine.eof or (not data and len(piece) < _PIECE_BYTES):
                return

    def finish(self) -> None:
        """Say that nothing more comes.

        Raises:
            OutboundError: the end of the coded content is missing; reason ``cut-off``.
        """
        if not self._engine.eof and self._taken:
            raise OutboundError("the coded content of the source ends early", reason=Reason.CUT_OFF)


def _wrong(detail: str) -> OutboundError:
    return OutboundError(detail, reason=Reason.CODING)
