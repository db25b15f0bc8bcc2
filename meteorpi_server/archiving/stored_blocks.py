"""Content as DEFLATE that compresses nothing: blocks whose length is known before the content is.

Readers that take a zip from a pipe find the end of such an entry without being told its length, which nobody
can of stored bytes.

Source:
    RFC 1951 section 3.2.4; section 4.4 of the archive contract.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

BLOCK_BYTES: Final = 65_535
"""Content bytes of every block but the last."""

_HEADER = struct.Struct("<BHH")
_HEADER_BYTES: Final = 5
_STEP: Final = BLOCK_BYTES + _HEADER_BYTES


def stored_length(size: int) -> int:
    """Bytes that content of `size` bytes takes up; nothing takes one empty block."""
    return size + _HEADER_BYTES * max(1, -(-size // BLOCK_BYTES))


def content_offset(position: int) -> int:
    """Where in the content the byte at `position` of the blocks, or the next content byte after it, lies."""
    return position // _STEP * BLOCK_BYTES + max(0, position % _STEP - _HEADER_BYTES)


def block_header(length: int, *, is_last: bool) -> bytes:
    """The five bytes in front of a block of `length` bytes, 0 to BLOCK_BYTES."""
    return _HEADER.pack(is_last, length, length ^ 0xFFFF)


def blocks(chunks: Iterable[bytes], size: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from `start` up to, not including, `stop` of the blocks of a content.

    Args:
        chunks: the content from :func:`content_offset` of `start` on; read to their end, whatever is needed.
        size: bytes of the whole content.
        start: first byte, 0 to :func:`stored_length`.
        stop: one past the last.

    Returns:
        Pieces in order; fewer bytes than asked for when `chunks` end early.
    """
    position = start
    # The chunk without bytes at the end is for a header that no content follows in this range.
    for chunk in chain(chunks, (b"",)):
        taken = 0
        while position < stop and (taken < len(chunk) or position % _STEP < _HEADER_BYTES):
            piece, taken = _piece(chunk, taken, size, position, stop)
            position += len(piece)
            yield piece


def _piece(chunk: bytes, taken: int, size: int, position: int, stop: int) -> tuple[bytes, int]:
    """What comes next at `position`, and how much of `chunk` is used then."""
    block, inside = divmod(position, _STEP)
    length = min(BLOCK_BYTES, size - block * BLOCK_BYTES)
    if inside < _HEADER_BYTES:
        is_last = (block + 1) * BLOCK_BYTES >= size
        return block_header(length, is_last=is_last)[inside : inside + stop - position], taken
    count = min(length + _HEADER_BYTES - inside, len(chunk) - taken, stop - position)
    return chunk[taken : taken + count], taken + count


def open_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of a content of unknown length: all but the last, which is empty, say that more follow."""
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK_BYTES):
            block = chunk[start : start + BLOCK_BYTES]
            yield block_header(len(block), is_last=False)
            yield block
    yield block_header(0, is_last=True)
