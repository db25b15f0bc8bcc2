"""Any part of an archive of which every byte is fixed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import Final

from meteorpi_model.errors import MeteorError
from meteorpi_server.archiving.checks import ContentCheck, broken_off, checked
from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.failures import SourceFailedError
from meteorpi_server.archiving.outbox import NOW
from meteorpi_server.archiving.plan import Plan
from meteorpi_server.archiving.reports import EntrySent, Report, failure
from meteorpi_server.archiving.sources import Source
from meteorpi_server.archiving.stored_blocks import blocks, content_offset
from meteorpi_server.archiving.zip_format import stored_size
from meteorpi_server.archiving.zip_layout import Slice

SMALL_BYTES: Final = 1 << 16
"""Contents up to this size are read in one piece: 64 KiB."""

_STORED: Final = Form.STORED


def archive_part(
    plan: Plan, sources: Mapping[str, Source], start: int, stop: int, report: Report
) -> Generator[bytes]:
    """Pieces of the archive of `plan`, from `start` up to, not including, `stop`; see :func:`.sending.send`.

    Raises:
        SourceFailedError: with the ``index`` of the entry, before the last block of its content.
    """
    is_first = True
    for piece in plan.layout.pieces(start, stop):
        if isinstance(piece, bytes):
            yield piece
            continue
        entry = plan.entries[piece.index]
        if entry.kind == "url" and not is_first:
            yield NOW
        yield from _content(entry, piece, sources[entry.kind], report)
        if is_first and entry.kind != "text":
            is_first = False
            yield NOW


def _content(entry: Entry, piece: Slice, source: Source, report: Report) -> Iterator[bytes]:
    """Some of the content of `entry`, checked as far as that can be told from a part."""
    is_whole = piece.start == 0 and piece.stop == stored_size(entry)
    check = ContentCheck(entry) if is_whole else None
    try:
        if check is not None and piece.stop <= SMALL_BYTES and entry.form is _STORED:
            yield _small_content(entry, source, check)
        else:
            yield from _read(entry, piece, source, check)
    except SourceFailedError as error:
        report(failure(piece.index, entry, error))
        raise error.of_entry(piece.index) from error
    if check is not None:
        report(EntrySent(piece.index, check.size, check.crc))


def _small_content(entry: Entry, source: Source, check: ContentCheck) -> bytes:
    """A content in one piece: for thousands of small files, generators would cost more than reading."""
    try:
        content = source.read(entry)
    except SourceFailedError:
        raise
    except (MeteorError, OSError) as error:
        raise broken_off() from error
    check.update(content)
    check.finish()
    return content


def _read(entry: Entry, piece: Slice, source: Source, check: ContentCheck | None) -> Iterator[bytes]:
    start, stop = piece.start, piece.stop
    if entry.form is Form.BLOCKS:
        start, stop = content_offset(start), content_offset(stop)
    with closing(source.open(entry, start, stop)) as chunks:
        data = checked(chunks, stop - start, check)
        if entry.form is Form.BLOCKS:
            data = blocks(data, entry.size or 0, piece.start, piece.stop)
        yield from data
