"""The whole of an archive in one pass, where lengths or checksums show only then."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from typing import Final

from meteorpi_db.filestore.crc import crc32
from meteorpi_server.archiving import zip_format
from meteorpi_server.archiving.checks import ContentCheck, checked, source_errors
from meteorpi_server.archiving.encoders import encoder
from meteorpi_server.archiving.encryption import encrypted
from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.failures import Reason, SourceFailedError
from meteorpi_server.archiving.outbox import NOW
from meteorpi_server.archiving.plan import OnError, Plan
from meteorpi_server.archiving.reports import EntryFailed, EntrySent, Report, failure
from meteorpi_server.archiving.sources import Chunks, Source
from meteorpi_server.archiving.stored_blocks import blocks, open_blocks

REPORT_NAME: Final = "_ERRORS.json"
"""The entry that lists what is missing: the last one, and only where something is."""


def whole_archive(
    plan: Plan, sources: Mapping[str, Source], report: Report, password: str = ""
) -> Generator[bytes]:
    """Pieces of the archive of `plan`; see :func:`.sending.send`.

    Of a sized plan these are the bytes of its layout, so that what a first pass finds out makes it resumable.

    Raises:
        SourceFailedError: with the ``index`` of the entry, before the last block of its content.
    """
    yield from _Writer(plan, sources, report, password).pieces()


class _Tally:
    """Passes content on, and knows size and CRC-32 of what has passed."""

    def __init__(self) -> None:
        self.size = 0
        self.crc = 0

    def of(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.size += len(chunk)
            self.crc = crc32(chunk, self.crc)
            yield chunk


class _Writer:
    """An archive that is being written: where it has come to, and its directory so far."""

    def __init__(self, plan: Plan, sources: Mapping[str, Source], report: Report, password: str) -> None:
        self._plan = plan
        self._sources = sources
        self._report = report
        self._password = password
        self._offset = 0
        self._count = 0
        self._directory = bytearray()
        self._failures: list[EntryFailed] = []
        self._has_content = False

    def pieces(self) -> Iterator[bytes]:
        for index, entry in enumerate(self._plan.entries):
            if entry.is_directory:
                yield from self._framed(entry, iter(()), zip_format.Written(0, 0, 0))
            else:
                yield from self._entry(index, entry)
        if self._failures:
            yield from self._error_report()
        yield bytes(self._directory)
        yield zip_format.end_records(self._count, len(self._directory), self._offset, self._plan.comment)

    def _may_skip(self, entry: Entry) -> bool:
        return self._plan.on_error is not OnError.ABORT and entry.kind == "url"

    def _entry(self, index: int, entry: Entry) -> Iterator[bytes]:
        if entry.kind == "url" and self._has_content:
            yield NOW
        try:
            chunks, first = self._opened(entry)
        except SourceFailedError as error:
            self._fail(index, entry, error, is_fatal=not self._may_skip(entry))
            return
        with closing(chunks):
            try:
                yield from self._content(index, entry, chain(first, chunks))
            except SourceFailedError as error:
                self._fail(index, entry, error, is_fatal=True)
        if not self._has_content and entry.kind != "text":
            self._has_content = True
            yield NOW

    def _opened(self, entry: Entry) -> tuple[Chunks, list[bytes]]:
        """The content of `entry`, and its first chunk: an entry begins when there is something for it."""
        stop = entry.stored_size if entry.form is Form.DEFLATED else entry.size
        chunks = self._sources[entry.kind].open(entry, 0, stop)
        try:
            with source_errors():
                first = next(chunks, None)
        except BaseException:
            chunks.close()
            raise
        return chunks, [] if first is None else [first]

    def _content(self, index: int, entry: Entry, chunks: Iterable[bytes]) -> Iterator[bytes]:
        check = ContentCheck(entry)
        length = entry.stored_size if entry.form is Form.DEFLATED else entry.size
        content = checked(chunks, length, check)
        counted: ContentCheck | _Tally = check
        is_open = self._plan.on_error is OnError.PARTIAL and self._may_skip(entry)
        if is_open and entry.form.is_streamed:
            counted = tally = _Tally()
            content = tally.of(self._ended_early(index, entry, content, tally))
        failures = len(self._failures)
        yield from self._framed(entry, self._sealed(entry, _encoded(entry, content)), counted)
        if len(self._failures) == failures:
            self._report(EntrySent(index, counted.size, counted.crc))

    def _ended_early(
        self, index: int, entry: Entry, content: Iterator[bytes], tally: _Tally
    ) -> Iterator[bytes]:
        """The same content, ending well where it breaks off."""
        try:
            yield from content
        except SourceFailedError as error:
            self._fail(index, entry, error, sent_bytes=tally.size, is_fatal=False)

    def _sealed(self, entry: Entry, data: Iterable[bytes]) -> Iterable[bytes]:
        return encrypted(data, self._password) if entry.form.is_encrypted else data

    def _fail(
        self, index: int, entry: Entry, error: SourceFailedError, *, is_fatal: bool, sent_bytes: int = 0
    ) -> None:
        noted = failure(index, entry, error, sent_bytes=sent_bytes, is_fatal=is_fatal)
        self._report(noted)
        if is_fatal:
            raise error.of_entry(index) from error
        self._failures.append(noted)

    def _framed(
        self, entry: Entry, data: Iterable[bytes], counted: ContentCheck | _Tally | zip_format.Written
    ) -> Iterator[bytes]:
        """`data` with what stands around it; `counted` knows of its content when all of it has passed."""
        offset, number = self._offset, self._count
        header = zip_format.local_header(entry, number, offset)
        yield header
        is_narrow = zip_format.has_descriptor(entry) and not zip_format.has_local_zip64(entry, number)
        stored = 0
        for piece in data:
            stored += len(piece)
            if is_narrow and max(stored, counted.size) >= zip_format.FULL_32:
                raise SourceFailedError("the content has 4 GiB or more", reason=Reason.TOO_LARGE)
            yield piece
        written = zip_format.Written(counted.crc, counted.size, stored)
        behind = zip_format.descriptor(entry, number, written)
        yield behind
        self._directory += zip_format.central_header(entry, number, offset, written)
        self._offset = offset + len(header) + stored + len(behind)
        self._count += 1

    def _error_report(self) -> Iterator[bytes]:
        last = self._failures[-1]
        if not self._has_content:
            detail = f"no source gave anything; the last one: {last.detail}"
            raise SourceFailedError(detail, reason=last.reason, index=last.index)
        document = {"errors": [each.as_dict() for each in self._failures]}
        body = json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "replace")
        name = _free_name({entry.name.casefold() for entry in self._plan.entries})
        crc, mtime = crc32(body, 0), self._plan.newest
        form = Form.ENCRYPTED if self._plan.is_encrypted else Form.STORED
        entry = Entry(name=name, kind="text", size=len(body), crc=crc, mtime=mtime, form=form, body=body)
        written = zip_format.Written(crc, len(body), len(body))
        yield from self._framed(entry, self._sealed(entry, (body,)), written)


def _free_name(taken: set[str]) -> str:
    name, number = REPORT_NAME, 1
    while name.casefold() in taken:
        number += 1
        name = f"_ERRORS ({number}).json"
    return name


def _encoded(entry: Entry, content: Iterator[bytes]) -> Iterator[bytes]:
    """`content` as it stands in the archive."""
    if entry.form is Form.BLOCKS:
        size = entry.size or 0
        return blocks(content, size, 0, zip_format.stored_size(entry) or 0)
    if entry.form.is_streamed:
        match entry.details.get("deflate"):
            case "always":
                return encoder.deflated(content)
            case "probe":
                return encoder.deflated_if_smaller(content)
        return open_blocks(content)
    return content
