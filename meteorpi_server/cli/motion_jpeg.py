"""Writing films: JPEG pictures one after the other in an AVI file, which any player shows.

Source:
    Microsoft, "AVI RIFF File Reference"; the compression code is ``MJPG``.
"""

from __future__ import annotations

import struct
from types import TracebackType
from typing import BinaryIO, Final, Self

from meteorpi_model.errors import TooLargeError

MAX_BYTES: Final = 2**31 - 2**24
"""Players read the sizes in an AVI file as signed 32 bit numbers; the index comes on top."""

_FRAME: Final = b"00dc"
_HAS_INDEX: Final = 0x10
_KEY_FRAME: Final = 0x10


class MotionJpegWriter:
    """A film that is being written; it is complete when the `with` ends.

    Args:
        stream: open for writing and seeking; stays open.
        width, height: of every picture, in pixels.
        fps: pictures shown in a second.
    """

    def __init__(self, stream: BinaryIO, width: int, height: int, fps: float) -> None:
        self._stream = stream
        self._size = (width, height)
        self._fps = fps
        self._frames: list[tuple[int, int]] = []
        self._largest = 0
        self._position = 4  # of the next picture, from the word "movi" on
        stream.write(self._head())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()

    def add(self, jpeg: bytes) -> None:
        """Append a picture.

        Raises:
            TooLargeError: the file would become larger than players take.
        """
        padded = jpeg + b"\0" * (len(jpeg) % 2)
        if self._position + len(padded) > MAX_BYTES:
            raise TooLargeError(
                "the film would be larger than 2 GB; choose a shorter range, or a larger stride"
            )
        self._stream.write(_FRAME + struct.pack("<I", len(jpeg)) + padded)
        self._frames.append((self._position, len(jpeg)))
        self._position += 8 + len(padded)
        self._largest = max(self._largest, len(jpeg))

    def _finish(self) -> None:
        entries = (struct.pack("<4sIII", _FRAME, _KEY_FRAME, *frame) for frame in self._frames)
        self._stream.write(_chunk(b"idx1", b"".join(entries)))
        end = self._stream.tell()
        self._stream.seek(0)
        self._stream.write(self._head())
        self._stream.seek(4)
        self._stream.write(struct.pack("<I", end - 8))
        self._stream.seek(end)

    def _head(self) -> bytes:
        """Everything before the first picture; its length does not depend on their number."""
        lists = _list(b"hdrl", self._main_header() + _list(b"strl", self._stream_header()))
        movie = b"LIST" + struct.pack("<I", self._position) + b"movi"
        return b"RIFF" + struct.pack("<I", 0) + b"AVI " + lists + movie

    def _main_header(self) -> bytes:
        microseconds = round(1_000_000 / self._fps)
        rate = round(self._largest * self._fps)
        numbers = (microseconds, rate, 0, _HAS_INDEX, len(self._frames), 0, 1, self._largest, *self._size)
        return _chunk(b"avih", struct.pack("<10I16x", *numbers))

    def _stream_header(self) -> bytes:
        width, height = self._size
        scale = (1000, round(1000 * self._fps))
        header = struct.pack(
            "<4s4sIHHIIIIIIIIhhhh",
            *(b"vids", b"MJPG", 0, 0, 0, 0, *scale, 0, len(self._frames), self._largest, 2**32 - 1, 0),
            *(0, 0, width, height),
        )
        bitmap = struct.pack(
            "<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", 3 * width * height, 0, 0, 0, 0
        )
        return _chunk(b"strh", header) + _chunk(b"strf", bitmap)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def _list(name: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", name + content)
