"""Contents of zip archives that stand under a password, as nodes make them: AES-256, version AE-2.

Source: AES Encryption Information (winzip.com/en/support/aes-encryption); section 3.16 of the contract of
archives.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipInfo

from meteorpi_model.errors import InvalidDocumentError

METHOD: Final = 99

_SALT_BYTES, _VERIFIER_BYTES, _CODE_BYTES, _KEY_BYTES = 16, 2, 10, 32
_ITERATIONS: Final = 1000
_CHUNK_BYTES: Final = 1 << 20
_LOCAL_BYTES: Final = 30
_FIELD = struct.Struct("<2H")
_AES = struct.Struct("<H2sBH")
_AES_FIELD: Final = 0x9901


class UnreadableEntryError(InvalidDocumentError):
    """An entry cannot be read with the password at hand, or without one; its bytes may be right."""


def decrypted(stream: BinaryIO, info: ZipInfo, password: str | None) -> Iterator[bytes]:
    """The content of the entry `info` of the archive `stream`.

    Args:
        stream: the archive, open for reading; it is moved about in.
        info: of an entry that is encrypted.
        password: of the archive; None for nobody knows it.

    Raises:
        UnreadableEntryError: that is not the password, or the means to use it are missing.
        BadZipFile, zlib.error: what stands there is damaged.
    """
    method = _method(info)
    if password is None:
        raise UnreadableEntryError("it is under a password")
    if find_spec("Crypto") is None:
        raise UnreadableEntryError("reading it needs: pip install 'meteorpi[archive]'")
    chunks = _opened(stream, info, password)
    return _inflated(chunks) if method == ZIP_DEFLATED else chunks


def _method(info: ZipInfo) -> int:
    """How the content stands under its encryption."""
    extra = info.extra
    while len(extra) >= _FIELD.size:
        kind, length = _FIELD.unpack_from(extra)
        if kind == _AES_FIELD and length == _AES.size and len(extra) >= _FIELD.size + length:
            _, vendor, strength, method = _AES.unpack_from(extra, _FIELD.size)
            if (vendor, strength) == (b"AE", 3) and method in (ZIP_STORED, ZIP_DEFLATED):
                return int(method)
        extra = extra[_FIELD.size + length :]
    raise BadZipFile("it is encrypted in a way that nodes do not use, and cannot be checked")


def _opened(stream: BinaryIO, info: ZipInfo, password: str) -> Iterator[bytes]:
    from Crypto.Cipher import AES
    from Crypto.Util import Counter

    _seek_content(stream, info)
    salt, verifier = stream.read(_SALT_BYTES), stream.read(_VERIFIER_BYTES)
    length = 2 * _KEY_BYTES + _VERIFIER_BYTES
    keys = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, _ITERATIONS, length)
    if keys[2 * _KEY_BYTES :] != verifier:
        raise UnreadableEntryError("it is under another password")
    counter = Counter.new(128, initial_value=1, little_endian=True)
    cipher = AES.new(keys[:_KEY_BYTES], AES.MODE_CTR, counter=counter)
    code = hmac.new(keys[_KEY_BYTES : 2 * _KEY_BYTES], digestmod="sha1")
    left = info.compress_size - _SALT_BYTES - _VERIFIER_BYTES - _CODE_BYTES
    while left > 0:
        chunk = stream.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise BadZipFile("the archive ends in its middle")
        left -= len(chunk)
        code.update(chunk)
        yield cipher.decrypt(chunk)
    if not hmac.compare_digest(stream.read(_CODE_BYTES), code.digest()[:_CODE_BYTES]):
        raise BadZipFile("its authentication code is wrong")


def _seek_content(stream: BinaryIO, info: ZipInfo) -> None:
    stream.seek(info.header_offset)
    header = stream.read(_LOCAL_BYTES)
    if len(header) < _LOCAL_BYTES or not header.startswith(b"PK\3\4"):
        raise BadZipFile("there is no entry where it should begin")
    name_length, extra_length = _FIELD.unpack_from(header, _LOCAL_BYTES - _FIELD.size)
    if stream.read(name_length) != info.orig_filename.encode("utf-8", "surrogateescape"):
        raise BadZipFile("it has another name in front of its content")
    stream.seek(extra_length, 1)


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in chunks:
        rest = chunk
        while rest:
            yield inflater.decompress(rest, _CHUNK_BYTES)
            rest = inflater.unconsumed_tail
    while not inflater.eof and (last := inflater.decompress(b"", _CHUNK_BYTES)):
        yield last
    if not inflater.eof or inflater.unused_data:
        raise BadZipFile("its deflated content does not end where it should")
