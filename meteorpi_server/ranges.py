"""Byte ranges of content, as pure functions.

Positions are counted from 0; in :class:`ByteRange` the last one is not included, on the wire it is.

Source:
    RFC 9110 section 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from werkzeug.exceptions import RequestedRangeNotSatisfiable

MAX_RANGES: Final = 32
"""More ranges than this in one request are an attack or a mistake; the whole content answers them."""

_RANGE = re.compile(r"(\d*)-(\d*)", re.ASCII)
_MAX_DIGITS: Final = 18


class ByteRange(NamedTuple):
    """Bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """The value of ``Content-Range`` for content of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_ranges(
    header: str | None, size: int, *, most: int = MAX_RANGES, is_merged: bool = False
) -> list[ByteRange]:
    """The ranges that `header` asks for, cut to content of `size` bytes.

    Args:
        header: value of ``Range``, or None.
        size: bytes that the content has.
        most: with more ranges than this the whole content is the answer.
        is_merged: give them sorted, those that overlap made one.

    Returns:
        The ranges, in the order asked for unless merged; none when the whole content is to be sent, which is
        also the answer to a header that is malformed, in another unit, or asks for more bytes than there are.

    Raises:
        RequestedRangeNotSatisfiable: the header is fine and none of its ranges holds a byte (416).
    """
    unit, equals, text = (header or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return []
    items = [item.strip(" \t") for item in text.split(",")]
    specs = [_RANGE.fullmatch(item) for item in items if item]
    if not specs or len(specs) > most:
        return []
    found: list[ByteRange] = []
    for spec in specs:
        if spec is None or not _is_valid(spec[1], spec[2]):
            return []
        found += _resolve(spec[1], spec[2], size)
    if not found and size == 0:
        return []  # nothing can be named in empty content; sending all of it is true and shorter
    if not found:
        raise RequestedRangeNotSatisfiable(
            length=size, description=f"the content has {size} bytes, and the range begins after them"
        )
    if is_merged:
        return list(_merged(found))
    if len(found) > 1 and sum(each.length for each in found) >= size:
        return []
    return found


def _is_valid(first: str, last: str) -> bool:
    if not first:
        return bool(last)
    return not last or _bounded(last) >= _bounded(first)


def _resolve(first: str, last: str, size: int) -> Iterator[ByteRange]:
    """Zero or one range: those without any byte of the content are left out."""
    if not first:
        start, stop = size - min(_bounded(last), size), size
    else:
        start = _bounded(first)
        stop = min(_bounded(last) + 1, size) if last else size
    if start < stop:
        yield ByteRange(start, stop)


def _merged(ranges: Iterable[ByteRange]) -> Iterator[ByteRange]:
    """The same bytes in the order in which they stand, each once."""
    last: ByteRange | None = None
    for each in sorted(ranges):
        if last is not None and each.start < last.stop:
            last = ByteRange(last.start, max(last.stop, each.stop))
            continue
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last


def _bounded(digits: str) -> int:
    """The number, or one beyond any content when it has too many digits to be worth reading."""
    significant = digits.lstrip("0")
    return int(significant or 0) if len(significant) <= _MAX_DIGITS else 10**_MAX_DIGITS


class MultipartRanges:
    """The body of an answer with several ranges.

    Args:
        ranges: the ranges, in order.
        size: bytes that the content has.
        content_type: of the content.
        boundary: a text that the content does not contain.

    Attributes:
        content_type: of the answer.
        length: bytes of the answer.
    """

    def __init__(self, ranges: Sequence[ByteRange], size: int, content_type: str, boundary: str) -> None:
        self._ranges = ranges
        self._heads = [
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {each.content_range(size)}\r\n\r\n".encode("latin-1")
            for each in ranges
        ]
        self._tail = f"\r\n--{boundary}--\r\n".encode("latin-1")
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        self.length = sum(map(len, self._heads)) + sum(each.length for each in ranges) + len(self._tail)

    def parts(self) -> Iterator[tuple[bytes, ByteRange]]:
        """What to send before each range, and the range."""
        yield from zip(self._heads, self._ranges, strict=True)

    @property
    def tail(self) -> bytes:
        """What to send at the end."""
        return self._tail
