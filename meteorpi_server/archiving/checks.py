"""Whether contents are what the plan says, looked at while they pass."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from meteorpi_db.filestore.crc import crc32
from meteorpi_model.errors import MeteorError
from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.failures import Reason, SourceFailedError

_INFLATED_BYTES: Final = 1 << 20


class ContentCheck:
    """Counts and digests the whole content of one entry.

    Args:
        entry: what is expected; a size or CRC that is not known is not compared. An MD5 among the details is
            compared where there is no CRC: it costs several times as much.

    Attributes:
        size: bytes of content so far.
        crc: CRC-32 of them.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.size = 0
        self.crc = 0
        expected = None if entry.crc is not None else entry.details.get("md5")
        self._expected_md5 = expected if isinstance(expected, str) else None
        self._md5 = None if self._expected_md5 is None else hashlib.md5(usedforsecurity=False)
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.form is Form.DEFLATED else None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes, which for a DEFLATED entry are deflated.

        Raises:
            SourceFailedError: there are more than expected, or they cannot be inflated.
        """
        if self._inflater is None:
            self._take(chunk)
            return
        try:
            while chunk and not self._inflater.eof:
                self._take(self._inflater.decompress(chunk, _INFLATED_BYTES))
                chunk = self._inflater.unconsumed_tail
        except zlib.error as error:
            raise SourceFailedError("the deflated content is damaged", reason=Reason.WRONG_DIGEST) from error
        if chunk or self._inflater.unused_data:
            raise SourceFailedError("there are bytes behind the deflated content", reason=Reason.LONG)

    def finish(self) -> None:
        """Compare what came with what is expected.

        Raises:
            SourceFailedError: it differs.
        """
        entry = self._entry
        self._finish_inflating()
        if entry.size is not None and self.size < entry.size:
            raise _short(self.size, entry.size)
        has_wrong_md5 = self._md5 is not None and self._md5.hexdigest() != self._expected_md5
        if has_wrong_md5 or (entry.crc is not None and self.crc != entry.crc):
            raise SourceFailedError(
                "the content does not have the digest planned", reason=Reason.WRONG_DIGEST
            )

    def _finish_inflating(self) -> None:
        """Take what the inflater still holds when its last output was cut to size."""
        if self._inflater is None:
            return
        while not self._inflater.eof and (rest := self._inflater.decompress(b"", _INFLATED_BYTES)):
            self._take(rest)
        if not self._inflater.eof:
            raise SourceFailedError("the deflated content has no end", reason=Reason.SHORT)

    def _take(self, content: bytes) -> None:
        self.size += len(content)
        if self._entry.size is not None and self.size > self._entry.size:
            raise _long(self._entry.size)
        self.crc = crc32(content, self.crc)
        if self._md5 is not None:
            self._md5.update(content)


def _short(size: int, expected: int) -> SourceFailedError:
    return SourceFailedError(f"{size} bytes came of {expected}", reason=Reason.SHORT)


def _long(expected: int) -> SourceFailedError:
    return SourceFailedError(f"more than {expected} bytes came", reason=Reason.LONG)


def checked(chunks: Iterable[bytes], length: int | None, check: ContentCheck | None) -> Iterator[bytes]:
    """The same chunks; the last is held back until all of them are found to be right.

    Args:
        chunks: as a source gives them.
        length: bytes that have to come, None when not known.
        check: looks at a whole content; None for a part of one, of which only the length can be told.

    Raises:
        SourceFailedError: the bytes are too few, too many or others, or the source breaks off.
    """
    held = b""
    count = 0
    iterator = iter(chunks)
    while True:
        try:
            chunk = next(iterator, None)
        except SourceFailedError:
            raise
        except (MeteorError, OSError) as error:
            raise broken_off() from error
        if chunk is None:
            break
        count += len(chunk)
        if length is not None and count > length:
            raise _long(length)
        if check is not None:
            check.update(chunk)
        if held:
            yield held
        if length is not None and count < length:
            held = b""
            yield chunk  # at once, while it is in the cache of the processor: 7 % faster than one behind
        else:
            held = chunk
    if length is not None and count < length:
        raise _short(count, length)
    if check is not None:
        check.finish()
    if held:
        yield held


@contextmanager
def source_errors() -> Iterator[None]:
    """Turn whatever goes wrong while a content is read into ``SourceFailedError``."""
    try:
        yield
    except SourceFailedError:
        raise
    except (MeteorError, OSError) as error:
        raise broken_off() from error


def broken_off() -> SourceFailedError:
    """The error for a content that fails in its middle with an error of somebody else's."""
    return SourceFailedError("the content broke off while it was read", retry=True)
