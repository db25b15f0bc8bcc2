"""Cheap tests for damaged files: cut off, empty, or something else than their name promises.

They look at the structure of a file, never decode a picture: most are done after a few reads, none needs
more than one pass. What passes may still show noise; what is refused is certainly not whole.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from meteorpi_model.errors import InvalidDocumentError

FITS_BLOCK_BYTES = 2880
_CARD_CHARACTERS = 80
_MOST_HEADER_BLOCKS = 1000  # 36,000 cards: more is no header
_HEAD_BYTES = 512
_CHUNK_BYTES = 1 << 20
_MOST_JSON_BYTES = 16 << 20  # larger documents are not read into memory just to be tried

FitsHeader = dict[str, str]


def find_damage(path: Path, mime_type: str) -> str | None:
    """Why the file cannot be whole, as one sentence; None when nothing speaks against it.

    Args:
        path: a regular file.
        mime_type: what it should be; types without a test are only tried for emptiness.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            return "the file is empty"
        if not any(stream.read(_HEAD_BYTES)):
            return "the file begins with nothing but zero bytes, as after a power cut"
        test = _TESTS.get(mime_type)
        if test is None:
            return None
        stream.seek(0)
        try:
            return test(stream, size)
        except (struct.error, EOFError):
            return "the file ends early"


def read_fits_header(stream: BinaryIO) -> FitsHeader | None:
    """The cards of the header that begins here, values as text; leaves the stream behind it.

    Returns None at the end of the file.

    Raises:
        InvalidDocumentError: what is here is no FITS header.

    Source:
        FITS standard 4.0, sections 3.3 and 4.1.
    """
    cards: FitsHeader = {}
    for count in range(_MOST_HEADER_BLOCKS):
        block = stream.read(FITS_BLOCK_BYTES)
        if not block and count == 0:
            return None
        if count == 0 and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            raise InvalidDocumentError("there is no FITS header where one must be")
        if len(block) < FITS_BLOCK_BYTES:
            raise InvalidDocumentError("the file ends within a FITS header")
        for start in range(0, FITS_BLOCK_BYTES, _CARD_CHARACTERS):
            card = block[start : start + _CARD_CHARACTERS].decode("ascii", "replace")
            name = card[:8].rstrip()
            if name == "END":
                return cards
            if card[8:10] == "= ":
                cards[name] = _card_value(card[10:])
    raise InvalidDocumentError("the FITS header has no end")


def _card_value(text: str) -> str:
    text = text.strip()
    if text.startswith("'"):
        return text[1:].replace("''", "\0").partition("'")[0].replace("\0", "'").rstrip()
    return text.partition("/")[0].strip()


def _test_fits(stream: BinaryIO, size: int) -> str | None:
    units = has_data = 0
    try:
        while (header := read_fits_header(stream)) is not None:
            units += 1
            data_bytes = _fits_data_bytes(header)
            has_data |= data_bytes > 0
            end = stream.tell() + data_bytes
            if end > size:
                return f"the file ends {end - size} bytes before its FITS data do"
            stream.seek(end + -data_bytes % FITS_BLOCK_BYTES)
    except InvalidDocumentError as error:
        # Bytes behind a complete primary unit may be anything by the standard ("special records").
        if units == 0 or "ends" in error.detail:
            return error.detail
    return None if has_data else "the FITS file holds no data"


def _fits_data_bytes(header: FitsHeader) -> int:
    try:
        axes = [int(header[f"NAXIS{axis}"]) for axis in range(1, int(header["NAXIS"]) + 1)]
        groups, parameters = int(header.get("GCOUNT", "1")), int(header.get("PCOUNT", "0"))
        return abs(int(header["BITPIX"])) // 8 * groups * (parameters + math.prod(axes)) if axes else 0
    except (KeyError, ValueError) as error:
        raise InvalidDocumentError("the FITS header does not say how large its data are") from error


def _test_jpeg(stream: BinaryIO, size: int) -> str | None:
    if stream.read(2) != b"\xff\xd8":
        return "the file is not a JPEG picture"
    while True:
        marker = _next_jpeg_marker(stream)
        if marker == 0xDA:
            break
        if marker == 0xD9:
            return "the JPEG picture ends before its image data"
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        (length,) = struct.unpack(">H", stream.read(2))
        stream.seek(length - 2, os.SEEK_CUR)
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # Cameras append data of their own, so the end marker need not be the very end.
        return None if content.rfind(b"\xff\xd9", stream.tell()) >= 0 else "the JPEG picture is cut off"


def _next_jpeg_marker(stream: BinaryIO) -> int:
    byte = stream.read(1)
    if byte != b"\xff":
        raise EOFError
    while byte == b"\xff":
        byte = stream.read(1)
    if not byte:
        raise EOFError
    return byte[0]


def _test_png(stream: BinaryIO, size: int) -> str | None:
    if stream.read(8) != b"\x89PNG\r\n\x1a\n":
        return "the file is not a PNG picture"
    while True:
        length, name = struct.unpack(">I4s", stream.read(8))
        if length > size:
            return "the PNG picture is cut off"
        checksum = zlib.crc32(name)
        for chunk in _pieces(stream, length):
            checksum = zlib.crc32(chunk, checksum)
        if struct.unpack(">I", stream.read(4))[0] != checksum:
            return "the PNG picture fails its checksum"
        if name == b"IEND":
            return None


def _pieces(stream: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        chunk = stream.read(min(length, _CHUNK_BYTES))
        if not chunk:
            raise EOFError
        length -= len(chunk)
        yield chunk


def _test_bmp(stream: BinaryIO, size: int) -> str | None:
    header = stream.read(54)
    if header[:2] != b"BM":
        return "the file is not a BMP picture"
    offset, _, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", header, 10)
    needed = offset + (width * bits + 31) // 32 * 4 * abs(height) if compression == 0 else offset
    return "the BMP picture is cut off" if needed > size else None


def _test_gif(stream: BinaryIO, size: int) -> str | None:
    if stream.read(6) not in (b"GIF87a", b"GIF89a"):
        return "the file is not a GIF picture"
    stream.seek(max(size - 64, 0))
    return None if b";" in stream.read() else "the GIF picture is cut off"


def _test_tiff(stream: BinaryIO, size: int) -> str | None:
    orders = {b"II*\0": "<I", b"MM\0*": ">I"}
    order = orders.get(stream.read(4))
    if order is None:
        return "the file is not a TIFF picture"
    (directory,) = struct.unpack(order, stream.read(4))
    return "the TIFF picture is cut off" if directory >= size else None


def _test_riff(stream: BinaryIO, size: int) -> str | None:
    """AVI and WebP. An AVI of more than a gigabyte is a row of RIFF chunks (OpenDML)."""
    while True:
        head = stream.read(8)
        if stream.tell() > 8 and not head.startswith(b"RIFF"):
            return None
        name, length = struct.unpack("<4sI", head)
        if name != b"RIFF":
            return "the file is not an AVI video or WebP picture"
        if length == 0:
            return "the recording was never finished"
        if stream.tell() + length > size:
            return "the file ends before its RIFF data do"
        stream.seek(length + length % 2, os.SEEK_CUR)


def _test_iso_media(stream: BinaryIO, size: int) -> str | None:
    """MP4 and QuickTime: boxes that fill the file, one of them the index ``moov``."""
    names: set[bytes] = set()
    while stream.tell() < size:
        start = stream.tell()
        length, name = struct.unpack(">I4s", stream.read(8))
        if not names and name not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            return "the file is not an MP4 or QuickTime video"
        if length == 1:
            (length,) = struct.unpack(">Q", stream.read(8))
        end = size if length == 0 else start + length
        if end > size or end <= start:
            return "the video is cut off"
        names.add(name)
        stream.seek(end)
    return None if b"moov" in names else "the recording was never finished: the video has no index"


def _test_json(stream: BinaryIO, size: int) -> str | None:
    if size > _MOST_JSON_BYTES:
        return None
    try:
        json.load(stream)
    except (ValueError, RecursionError):
        return "the file is not JSON"
    return None


_TESTS: dict[str, Callable[[BinaryIO, int], str | None]] = {
    "image/fits": _test_fits,
    "image/jpeg": _test_jpeg,
    "image/png": _test_png,
    "image/bmp": _test_bmp,
    "image/gif": _test_gif,
    "image/tiff": _test_tiff,
    "image/webp": _test_riff,
    "video/x-msvideo": _test_riff,
    "video/mp4": _test_iso_media,
    "video/quicktime": _test_iso_media,
    "application/json": _test_json,
}
