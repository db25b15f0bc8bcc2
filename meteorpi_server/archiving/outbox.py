"""Small pieces gathered into chunks that are worth a system call, large ones passed on as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

CHUNK_BYTES: Final = 1 << 18
"""Largest chunk handed to a server by default: 256 KiB."""


class _Now(bytes):
    """No bytes, but told apart from any other piece without bytes."""


NOW: Final = _Now()
"""Among the pieces: what is gathered leaves now, for the next piece may be long in coming."""

_LARGE_BYTES: Final = 1 << 16


def gathered(pieces: Iterable[bytes], chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of `pieces` in chunks that are not empty.

    Args:
        pieces: of any size; :data:`NOW` sends what came before it.
        chunk_bytes: the largest chunk.
    """
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        is_large = len(piece) >= min(_LARGE_BYTES, chunk_bytes)
        if waiting and (is_large or piece is NOW or size + len(piece) > chunk_bytes):
            yield b"".join(waiting)
            waiting, size = [], 0
        if is_large:
            yield from _cut(piece, chunk_bytes)
        elif piece:
            waiting.append(piece)
            size += len(piece)
    if waiting:
        yield b"".join(waiting)


def _cut(piece: bytes, chunk_bytes: int) -> Iterator[bytes]:
    if len(piece) <= chunk_bytes:
        yield piece
        return
    for start in range(0, len(piece), chunk_bytes):
        yield piece[start : start + chunk_bytes]
