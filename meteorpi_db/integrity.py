"""Do records and contents agree? What does not is named, and mended where that loses nothing.

========== ========================================= ====================================================
finding    what it is                                repaired by
========== ========================================= ====================================================
missing    a record whose content is gone            copying an equal content of another record, else
                                                     marking it: reads say so until it is back
torn       a content that is not the recorded one    as above
recovered  a marked record whose content is right    clearing the mark
           again
orphaned   a content without a record                removing it, once it is older than a grace time
temporary  left over from writers that died          removing it, once it is older than an hour
========== ========================================= ====================================================

An orphan may be an upload whose record follows, therefore the grace time. Records are never deleted: their
content may come back, from a backup or from the camera.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore
from meteorpi_db.records import announcements, contents, files
from meteorpi_db.records.files import ContentRow
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import NotFoundError

logger = logging.getLogger("meteorpi.db.integrity")

ORPHAN_GRACE = timedelta(hours=24)
_PAGE = 1000

Progress = Callable[[int, int], object]
"""Called with the numbers of records looked at so far and in all."""


@dataclass(kw_only=True)
class VerifyReport:
    """What was found, and what was done about it.

    Attributes:
        records: number of records looked at.
        is_deep: every content was read, not only looked at.
        missing, torn: ids of records; the mended ones are not among them.
        mended, recovered: ids of records whose content was copied from an equal one, or was right again.
        orphaned: ids of contents without a record, older than the grace time.
        waiting: number of younger ones, which may be uploads under way.
        temporary: number of left-over temporary files; without repair they are not counted.
        is_repaired: whether what can be mended was mended.
    """

    records: int = 0
    is_deep: bool = False
    missing: list[UUID] = field(default_factory=list)
    torn: list[UUID] = field(default_factory=list)
    mended: list[UUID] = field(default_factory=list)
    recovered: list[UUID] = field(default_factory=list)
    orphaned: list[UUID] = field(default_factory=list)
    waiting: int = 0
    temporary: int = 0
    is_repaired: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong now: records without their content stay wrong also after a repair."""
        return (
            not self.missing and not self.torn and (self.is_repaired or not (self.orphaned or self.recovered))
        )

    def as_dict(self) -> dict[str, object]:
        """For people and scripts; ids as hex."""
        listed = {
            name: [entity_id.hex for entity_id in getattr(self, name)]
            for name in ("missing", "torn", "mended", "recovered", "orphaned")
        }
        return {
            "records": self.records,
            "deep": self.is_deep,
            **listed,
            "waiting": self.waiting,
            "temporary": self.temporary,
            "repaired": self.is_repaired,
            "clean": self.is_clean,
        }


class Verifier:
    """One run over all records and contents.

    Args:
        transactions: the database.
        store: the contents.
        now: the time.
        deep: read every content and compare its SHA-256, in place of sizes only.
        repair: mend what can be mended.
        orphan_grace: age from which a content without record is left over.
    """

    def __init__(
        self,
        transactions: Transactions,
        store: FileStore,
        now: datetime,
        *,
        deep: bool = False,
        repair: bool = False,
        orphan_grace: timedelta = ORPHAN_GRACE,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._now = now
        self._now_milliseconds = utc_datetime_to_milliseconds(now)
        self._deep = deep
        self._repair = repair
        self._grace = orphan_grace

    def run(self, progress: Progress | None = None) -> VerifyReport:
        """Look at everything."""
        report = VerifyReport(is_deep=self._deep, is_repaired=self._repair)
        with self._transactions.reading() as connection:
            total = files.count(connection)
        for row in self._content_rows():
            self._check_record(row, report)
            report.records += 1
            if progress is not None:
                progress(report.records, max(total, report.records))
        self._check_orphans(report)
        if self._repair:
            report.temporary = self._store.sweep(now=self._now).removed
        return report

    def _content_rows(self) -> Iterator[ContentRow]:
        last = 0
        while True:
            with self._transactions.reading() as connection:
                rows = files.content_rows_from(connection, last, _PAGE)
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1].pk

    def _check_record(self, row: ContentRow, report: VerifyReport) -> None:
        finding = self._finding(row)
        if finding is None:
            if row.is_corrupt and self._is_right(row):
                self._note(row, report.recovered, is_corrupt=False)
        elif self._still_held(row):
            self._note(row, report.missing if finding == "missing" else report.torn, is_corrupt=True)
            if self._repair and self._mend(row):
                (report.missing if finding == "missing" else report.torn).remove(row.file_id)
                self._note(row, report.mended, is_corrupt=False)

    def _finding(self, row: ContentRow) -> str | None:
        stat = self._store.stat(row.file_id)
        if stat is None:
            return "missing"
        if stat.size != row.facts.size or (stat.sha256 or row.facts.sha256) != row.facts.sha256:
            return "torn"
        return "torn" if self._deep and not self._is_right(row) else None

    def _is_right(self, row: ContentRow) -> bool:
        try:
            return self._store.digests_of(row.file_id).sha256 == row.facts.sha256
        except NotFoundError:
            return False

    def _mend(self, row: ContentRow) -> bool:
        """Copy the content from another record that was registered with the same bytes (S-140)."""
        with self._transactions.reading() as connection:
            twins = files.contents_equal_to(connection, row)
        for twin in twins:
            if self._is_right(twin):
                with self._store.open(twin.file_id) as chunks:
                    contents.bring_back(self._store, row, chunks)
                logger.info("content mended file_id=%s from=%s", row.file_id.hex, twin.file_id.hex)
                return True
        return False

    def _still_held(self, row: ContentRow) -> bool:
        """A record that was deleted while we looked has no content rightly."""
        with self._transactions.reading() as connection:
            return files.pk_of(connection, row.file_id) is not None

    def _note(self, row: ContentRow, findings: list[UUID], *, is_corrupt: bool) -> None:
        findings.append(row.file_id)
        if self._repair:
            self._transactions.write(
                lambda c: contents.mark_corrupt(c, row.file_id, is_corrupt, self._now_milliseconds)
            )

    def _check_orphans(self, report: VerifyReport) -> None:
        for file_id in self._unrecorded_contents():
            stat = self._store.stat(file_id)
            if stat is None or self._is_recorded(file_id):
                continue  # deleted, or registered, while we looked
            if stat.stored_at > self._now - self._grace:
                report.waiting += 1
            else:
                report.orphaned.append(file_id)
                self._remove_orphan(file_id)

    def _unrecorded_contents(self) -> Iterator[UUID]:
        contents_held = self._store.ids()
        while page := list(islice(contents_held, _PAGE)):
            with self._transactions.reading() as connection:
                recorded = files.held_ids(connection, page)
            yield from (file_id for file_id in page if file_id not in recorded)

    def _is_recorded(self, file_id: UUID) -> bool:
        with self._transactions.reading() as connection:
            return files.pk_of(connection, file_id) is not None

    def _remove_orphan(self, file_id: UUID) -> None:
        if not self._repair:
            return
        self._transactions.write(lambda connection: announcements.forget_received(connection, file_id))
        self._store.delete(file_id)
        logger.info("content without record removed file_id=%s", file_id.hex)
        if self._is_recorded(file_id):  # registered in this very moment: say so at once
            self._transactions.write(
                lambda c: contents.mark_corrupt(c, file_id, True, self._now_milliseconds)
            )
