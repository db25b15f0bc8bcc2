"""Where every byte of an archive is, without opening a source.

Source:
    Section 4.5 of the archive contract.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.archiving import zip_format
from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.zip_format import FULL_32

_MAX_NAME_BYTES: Final = zip_format.FULL_16
_STORED: Final = Form.STORED
_BLOCKS: Final = Form.BLOCKS


@dataclass(frozen=True, slots=True)
class Slice:
    """Some bytes of the content of an entry, as they stand in the archive: with block headers, or deflated.

    Attributes:
        index: number of the entry, from 0.
        start: first byte, counted from the first of that content.
        stop: one past the last. Content without bytes is one slice without any: it is still looked at.
    """

    index: int
    start: int
    stop: int


class ZipLayout:
    """The running sums of an archive whose entries all have a known length.

    Args:
        entries: in order; names and comment are taken as they are.
        comment: of the archive, at most 65,535 bytes.

    Attributes:
        starts: where the local header of each entry begins, and as the last where the directory begins.
        directory_starts: where each directory entry begins, counted from the first; the last is their sum.
        total: bytes of the archive.

    Raises:
        InvalidDocumentError: the length of an entry is not known, or something is too long for a zip.
    """

    def __init__(self, entries: Sequence[Entry], comment: bytes = b"") -> None:
        self._entries = entries
        self._comment = comment
        self.starts = array("Q", [0])
        self.directory_starts = array("Q", [0])
        if len(comment) > zip_format.FULL_16:
            raise InvalidDocumentError("the comment of an archive has at most 65535 bytes")
        offset = directory = 0
        for index, entry in enumerate(entries):
            stored = _checked_size(entry)
            if entry.form is _STORED and stored < FULL_32 and offset < FULL_32:  # nearly every entry there is
                length = zip_format.text_length(entry)
                directory += zip_format.CENTRAL_BYTES + length
                offset += zip_format.LOCAL_BYTES + length + stored
            else:
                directory += zip_format.central_length(entry, (entry.size or 0, stored), offset)
                offset += zip_format.local_length(entry, index) + stored
                offset += zip_format.descriptor_length(entry, index)
            self.starts.append(offset)
            self.directory_starts.append(directory)
        wide = zip_format.has_zip64_end(len(entries), directory, offset)
        end = zip_format.END_BYTES + len(comment) + (zip_format.ZIP64_END_BYTES if wide else 0)
        self.total = offset + directory + end

    @property
    def directory_start(self) -> int:
        """Where the central directory begins."""
        return self.starts[-1]

    @property
    def directory_bytes(self) -> int:
        """Bytes of the central directory."""
        return self.directory_starts[-1]

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | Slice]:
        """What makes up the archive from `start` up to, not including, `stop`; None is its end.

        Returns:
            Bytes as they are, and slices of the content of entries, in order. Only the entries that the range
            touches cost time.

        Raises:
            InvalidDocumentError: the range is not within the archive; the CRC of an entry is not known.
        """
        stop = self.total if stop is None else stop
        if not 0 <= start <= stop <= self.total:
            raise InvalidDocumentError(f"an archive of {self.total} bytes has no bytes {start} to {stop}")
        if start < min(stop, self.directory_start):
            yield from self._local_pieces(start, min(stop, self.directory_start))
        base = self.directory_start
        if stop > base:
            yield from self._directory_pieces(max(start - base, 0), stop - base)

    def _local_pieces(self, start: int, stop: int) -> Iterator[bytes | Slice]:
        index = bisect_right(self.starts, start, hi=len(self._entries)) - 1
        while index < len(self._entries) and self.starts[index] < stop:
            begin = self.starts[index]
            yield from self._entry_pieces(index, max(start - begin, 0), stop - begin)
            index += 1

    def _entry_pieces(self, index: int, start: int, stop: int) -> Iterator[bytes | Slice]:
        """Pieces of one entry; `start` and `stop` are counted from its header."""
        entry = self._entries[index]
        stored = _checked_size(entry)
        data = zip_format.local_length(entry, index)
        if start < data:
            yield zip_format.local_header(entry, index, self.starts[index])[start:stop]
        if stored and start < data + stored and stop > data:
            yield Slice(index, max(start - data, 0), min(stop - data, stored))
        elif not stored and not entry.is_directory and start < data <= stop:
            yield Slice(index, 0, 0)
        if zip_format.has_descriptor(entry) and stop > data + stored:
            behind = data + stored
            record = zip_format.descriptor(entry, index, _facts(entry, stored))
            yield record[max(start - behind, 0) : stop - behind]

    def _directory_pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Pieces of directory and end; `start` and `stop` are counted from the directory's first byte."""
        count = len(self._entries)
        index = bisect_right(self.directory_starts, start) - 1
        while index < count and self.directory_starts[index] < stop:
            begin = self.directory_starts[index]
            yield self._directory_entry(index)[max(start - begin, 0) : stop - begin]
            index += 1
        if stop > self.directory_bytes:
            sums = (count, self.directory_bytes, self.directory_start)
            end = zip_format.end_records(*sums, self._comment)
            yield end[max(start - self.directory_bytes, 0) : stop - self.directory_bytes]

    def _directory_entry(self, index: int) -> bytes:
        entry = self._entries[index]
        written = _facts(entry, _checked_size(entry))
        return zip_format.central_header(entry, index, self.starts[index], written)


def _checked_size(entry: Entry) -> int:
    """Bytes that the content of `entry` takes up."""
    stored = zip_format.stored_size(entry)
    if entry.size is None or stored is None:
        raise InvalidDocumentError(f"the length of {entry.name!r} is not known beforehand")
    if entry.crc is None and entry.form is not _BLOCKS and not entry.form.is_encrypted:
        raise InvalidDocumentError(f"the CRC-32 of {entry.name!r} has to be known in this form")
    if len(entry.name) * 4 > _MAX_NAME_BYTES and len(entry.name.encode()) > _MAX_NAME_BYTES:
        raise InvalidDocumentError("a name in an archive has at most 65535 bytes")
    return stored


def _facts(entry: Entry, stored: int) -> zip_format.Written:
    if entry.crc is None or entry.size is None:
        raise InvalidDocumentError(f"the CRC-32 of {entry.name!r} is not known yet")
    return zip_format.Written(entry.crc, entry.size, stored)
