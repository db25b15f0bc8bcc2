"""The records of a zip file as bytes, one function each; all integers little-endian.

Source:
    Section 4 of the archive contract (layout version 1), which narrows down PKWARE's APPNOTE 6.3.10; what
    stands around encrypted contents: see :mod:`.encryption`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from meteorpi_server.archiving.encryption import OVERHEAD_BYTES
from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.stored_blocks import stored_length
from meteorpi_server.archiving.timestamps import dos_time_and_date, extended_time, has_extended_time

LAYOUT_VERSION: Final = 1
FULL_32: Final = 0xFFFF_FFFF
"""Marks a number that stands in a Zip64 field; so it is itself too large for 32 bits."""
FULL_16: Final = 0xFFFF

LOCAL_BYTES: Final = 30
CENTRAL_BYTES: Final = 46
EXTENDED_BYTES: Final = 9
LOCAL_ZIP64_BYTES: Final = 20
ENCRYPTED_BYTES: Final = 11
ZIP64_END_BYTES: Final = 76
END_BYTES: Final = 22

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_DESCRIPTOR = struct.Struct("<4s3I")
_DESCRIPTOR_64 = struct.Struct("<4sI2Q")
_ZIP64_LOCAL = struct.Struct("<2H2Q")
_ZIP64_END = struct.Struct("<4sQ2H2I4Q4sIQI")
_END = struct.Struct("<4s4H2IH")
_ENCRYPTION = struct.Struct("<3H2sBH")
# Looked up by name, a member of an enumeration costs more than the rest of a function here.
_STORED, _BLOCKS, _DEFLATED, _STREAMED = Form.STORED, Form.BLOCKS, Form.DEFLATED, Form.STREAMED
_ENCRYPTED, _ENCRYPTED_STREAMED = Form.ENCRYPTED, Form.ENCRYPTED_STREAMED
_MADE_BY: Final = 0x032D  # by Unix, as of version 4.5
_UTF_8, _HAS_DESCRIPTOR, _IS_ENCRYPTED = 0x0800, 0x0008, 0x0001
_AES_METHOD: Final = 99
_AES_VERSION: Final = 51
_FILE_ATTRIBUTES: Final = 0o100644 << 16
_DIRECTORY_ATTRIBUTES: Final = 0o040755 << 16 | 0x10


class Written(NamedTuple):
    """What the directory says about an entry once its content has been seen.

    Attributes:
        crc: CRC-32 of the content.
        size: bytes of the content.
        stored: bytes in the archive.
    """

    crc: int
    size: int
    stored: int


def stored_size(entry: Entry) -> int | None:
    """Bytes of the content of `entry` in the archive, None when not known before they are made."""
    form = entry.form
    if form is _STORED:
        return entry.size
    if form is _BLOCKS:
        return None if entry.size is None else stored_length(entry.size)
    if form is _ENCRYPTED:
        return None if entry.size is None else entry.size + OVERHEAD_BYTES
    return entry.stored_size if form is _DEFLATED else None


def has_descriptor(entry: Entry) -> bool:
    """Whether CRC and sizes stand behind the content. Never so for stored content, whose end nobody finds."""
    form = entry.form
    return form is _BLOCKS or form is _STREAMED or form is _ENCRYPTED_STREAMED


def has_local_zip64(entry: Entry, index: int) -> bool:
    """Whether the local header has 64 bits for the sizes.

    Where nobody knows the length it has not, and content of 4 GiB fails: Java's streaming reader refuses a
    descriptor of 64 bits behind small content (JDK-8303866). Nor has the first entry while its length in the
    archive is open: a desktop's unpacking program then keeps only that entry.
    """
    stored = entry.size if entry.form is _STORED else stored_size(entry)
    if stored is None:
        return index > 0 and entry.size is not None and stored_length(entry.size) >= FULL_32
    return stored >= FULL_32 or (entry.size or 0) >= FULL_32


def text_length(entry: Entry) -> int:
    """Bytes of what both headers of `entry` end with: name and extended time."""
    name = entry.name
    length = len(name) if name.isascii() else len(name.encode())
    return length + EXTENDED_BYTES if has_extended_time(entry.mtime) else length


def local_length(entry: Entry, index: int) -> int:
    """Bytes in front of the content: header, name, extra fields."""
    length = LOCAL_BYTES + text_length(entry) + (ENCRYPTED_BYTES if _is_encrypted(entry) else 0)
    return length + LOCAL_ZIP64_BYTES if has_local_zip64(entry, index) else length


def descriptor_length(entry: Entry, index: int) -> int:
    """Bytes behind the content."""
    if not has_descriptor(entry):
        return 0
    return _DESCRIPTOR_64.size if has_local_zip64(entry, index) else _DESCRIPTOR.size


def local_header(entry: Entry, index: int, offset: int) -> bytes:
    """What stands in front of the content of `entry`, number `index` of its archive, at `offset`."""
    name = entry.name.encode()
    is_wide = has_local_zip64(entry, index)
    crc, size, stored = (0, 0, 0) if has_descriptor(entry) else _known(entry)
    extra = extended_time(entry.mtime)
    is_encrypted = entry.form is not _STORED and _is_encrypted(entry)
    if is_encrypted:
        extra += _encryption(entry)
        crc = 0
    if is_wide:
        extra += _ZIP64_LOCAL.pack(1, 16, size, stored)
        size = stored = FULL_32
    header = _LOCAL.pack(
        b"PK\3\4",
        _version(is_wide or offset >= FULL_32, is_encrypted),
        *_flags_and_method(entry),
        *dos_time_and_date(entry.mtime),
        crc,
        stored,
        size,
        len(name),
        len(extra),
    )
    return header + name + extra


def descriptor(entry: Entry, index: int, written: Written) -> bytes:
    """What stands behind the content of `entry`; empty where nothing does."""
    if not has_descriptor(entry):
        return b""
    record = _DESCRIPTOR_64 if has_local_zip64(entry, index) else _DESCRIPTOR
    crc = 0 if _is_encrypted(entry) else written.crc
    return record.pack(b"PK\7\b", crc, written.stored, written.size)


def central_length(entry: Entry, written_sizes: tuple[int, int], offset: int) -> int:
    """Bytes of the directory entry."""
    count = (max(written_sizes) >= FULL_32) * 2 + (offset >= FULL_32)
    length = CENTRAL_BYTES + text_length(entry) + (ENCRYPTED_BYTES if _is_encrypted(entry) else 0)
    return length + (4 + 8 * count if count else 0)


def central_header(entry: Entry, index: int, offset: int, written: Written | None = None) -> bytes:
    """The directory entry of `entry`, whose header is at `offset`; `written` where the plan knows less."""
    name = entry.name.encode()
    crc, size, stored = written or _known(entry)
    extra = extended_time(entry.mtime)
    is_encrypted = entry.form is not _STORED and _is_encrypted(entry)
    if is_encrypted:
        extra += _encryption(entry)
        crc = 0  # the authentication code is more, and the CRC of a short content would give it away
    wide: list[int] = []
    if size >= FULL_32 or stored >= FULL_32:
        wide += (size, stored)
        size = stored = FULL_32
    if offset >= FULL_32:
        wide.append(offset)
    if wide:
        extra += struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide)
    header = _CENTRAL.pack(
        b"PK\1\2",
        _MADE_BY,
        _version(bool(wide) or has_local_zip64(entry, index), is_encrypted),
        *_flags_and_method(entry),
        *dos_time_and_date(entry.mtime),
        crc,
        stored,
        size,
        len(name),
        len(extra),
        *(0, 0, 0),
        _DIRECTORY_ATTRIBUTES if entry.is_directory else _FILE_ATTRIBUTES,
        min(offset, FULL_32),
    )
    return header + name + extra


def has_zip64_end(count: int, directory_bytes: int, offset: int) -> bool:
    """Whether the end of an archive needs 64 bits."""
    return count >= FULL_16 or directory_bytes >= FULL_32 or offset >= FULL_32


def end_records(count: int, directory_bytes: int, offset: int, comment: bytes) -> bytes:
    """What stands behind the directory, which begins at `offset`."""
    wide = b""
    if has_zip64_end(count, directory_bytes, offset):
        sums = (count, count, directory_bytes, offset)
        locator = (b"PK\6\7", 0, offset + directory_bytes, 1)
        wide = _ZIP64_END.pack(b"PK\6\6", 44, _MADE_BY, 45, 0, 0, *sums, *locator)
    entries = min(count, FULL_16)
    end = (entries, entries, min(directory_bytes, FULL_32), min(offset, FULL_32), len(comment))
    return wide + _END.pack(b"PK\5\6", 0, 0, *end) + comment


def _version(is_wide: bool, is_encrypted: bool) -> int:
    if is_encrypted:
        return _AES_VERSION
    return 45 if is_wide else 20


def _flags_and_method(entry: Entry) -> tuple[int, int]:
    if entry.form is _STORED:
        return _UTF_8, 0
    flags = _UTF_8 | (_HAS_DESCRIPTOR if has_descriptor(entry) else 0)
    return (flags | _IS_ENCRYPTED, _AES_METHOD) if _is_encrypted(entry) else (flags, 8)


def _is_encrypted(entry: Entry) -> bool:
    form = entry.form
    return form is _ENCRYPTED or form is _ENCRYPTED_STREAMED


def _encryption(entry: Entry) -> bytes:
    """The extra field of an encrypted entry: AE-2, 256 bits, and the method of what is inside."""
    return _ENCRYPTION.pack(0x9901, 7, 2, b"AE", 3, 8 if entry.form is _ENCRYPTED_STREAMED else 0)


def _known(entry: Entry) -> Written:
    return Written(entry.crc or 0, entry.size or 0, stored_size(entry) or 0)
