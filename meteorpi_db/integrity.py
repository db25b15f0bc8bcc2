"""Do records and contents agree? What does not is named, and mended where that loses nothing.

========== ========================================= ====================================================
finding    what it is                                repaired by
========== ========================================= ====================================================
missing    a record whose content is gone            copying an equal content, see
                                                     :mod:`meteorpi_db.mending`, else marking it: reads
                                                     say so until it is back
torn       a content that is not the recorded one    as above
unreadable a content that the store cannot give,     nobody: reads say so
           while it gives others
recovered  a marked record whose content is right    clearing the mark
           again
orphaned   a content without a record                removing it, see :mod:`meteorpi_db.sweeping`
temporary  left over from writers that died          removing it, once it is older than an hour
========== ========================================= ====================================================

Records are never deleted: their content may come back, from a backup or from the camera. Contents are read
beginning with what was not read for the longest time, and when that was is noted as it goes on, so a run that
was interrupted is continued by the next.

Source: `verify` in B.6, and S-140 of the storage contract.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

from meteorpi_db.connections import Transactions
from meteorpi_db.filestore.pacing import Pace, StoppedError
from meteorpi_db.integrity_report import VerifyPlan, VerifyReport
from meteorpi_db.ledgers import Ledger, RecordedContent
from meteorpi_db.mending import ContentSource, Mender
from meteorpi_db.stores import Place
from meteorpi_db.sweeping import ORPHAN_GRACE, Sweeper
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import UnavailableError

__all__ = ["ORPHAN_GRACE", "Progress", "Verifier", "VerifyPlan", "VerifyReport"]

_PAGE: Final = 500
_NOTED_CONTENTS: Final = 100
_NOTED_BYTES: Final = 64 << 20
"""That contents are right is noted after so many of them, or so many bytes: a commit has its price."""

Progress = Callable[[int, int], object]
"""Called with the numbers of records looked at so far and in all."""


class _Turns:
    """Contents of one ledger in the order in which they are looked at: 24 bytes of memory each."""

    def __init__(self, ledger: Ledger, order: Iterator[tuple[int, UUID]]) -> None:
        self.ledger = ledger
        self._times = array("q")
        self._ids = bytearray()
        for time, content_id in order:
            self._times.append(time)
            self._ids += content_id.bytes

    def __len__(self) -> int:
        return len(self._times)

    def of(self, rank: int) -> Iterator[tuple[int, int, int, UUID]]:
        """Time, `rank`, position and id of each; no two are equal, so they can be merged."""
        for position, time in enumerate(self._times):
            yield time, rank, position, UUID(bytes=bytes(self._ids[16 * position : 16 * position + 16]))


class Verifier:
    """One run over records and contents.

    Args:
        transactions: the database.
        place: the contents, and what is recorded of them.
        now: the time.
        plan: what is to be done.
        others: further places where the right bytes may be.
        pace: limits the bytes read, and can end the work.
    """

    def __init__(
        self,
        transactions: Transactions,
        place: Place,
        now: datetime,
        plan: VerifyPlan | None = None,
        *,
        others: Sequence[ContentSource] = (),
        pace: Pace | None = None,
    ) -> None:
        self._transactions = transactions
        self._place = place
        self._store = place.seen_from
        self._now = now
        self._now_milliseconds = utc_datetime_to_milliseconds(now)
        self._plan = plan or VerifyPlan()
        self._ledgers = place.ledgers
        self._pace = pace or Pace()
        self._mender = Mender(transactions, self._store, self._ledgers, others, self._pace)
        self._sound: dict[Ledger, list[UUID]] = {ledger: [] for ledger in self._ledgers}
        self._sound_bytes = 0

    def run(self, progress: Progress | None = None) -> VerifyReport:
        """Look at everything that the plan asks for.

        Raises:
            UnavailableError: the database or the store does not answer; what was found so far is noted.
        """
        plan = self._plan
        report = VerifyReport(is_deep=plan.deep, is_repaired=plan.repair, is_swept=plan.sweep)
        try:
            self._check_records(report, progress)
        except StoppedError:
            report.is_interrupted = True
        finally:
            self._note_sound()
        if not report.is_interrupted:
            self._check_orphans(report)
        return report

    def _check_records(self, report: VerifyReport, progress: Progress | None) -> None:
        turns = self._turns()
        total = sum(map(len, turns))
        if self._plan.most is not None:
            total = min(total, self._plan.most)
        for ledger, content in self._contents(turns, total):
            self._pace.take(0)
            self._check_record(ledger, content, report)
            report.records += 1
            if progress is not None:
                progress(report.records, max(total, report.records))

    def _turns(self) -> list[_Turns]:
        plan, since = self._plan, None
        if plan.since is not None:
            since = utc_datetime_to_milliseconds(plan.since)
        with self._transactions.reading() as connection:
            return [
                _Turns(
                    ledger,
                    ledger.oldest_first(connection, since, plan.most)
                    if plan.deep
                    else ledger.in_order(connection),
                )
                for ledger in self._ledgers
            ]

    def _contents(self, turns: Sequence[_Turns], total: int) -> Iterator[tuple[Ledger, RecordedContent]]:
        order = islice(heapq.merge(*(each.of(rank) for rank, each in enumerate(turns))), total)
        while page := list(islice(order, _PAGE)):
            with self._transactions.reading() as connection:
                recorded = [
                    each.ledger.rows(
                        connection, [content_id for _, its, _, content_id in page if its == rank]
                    )
                    for rank, each in enumerate(turns)
                ]
            for _, rank, _, content_id in page:
                if content_id in recorded[rank]:  # else it was deleted
                    yield turns[rank].ledger, recorded[rank][content_id]

    def _check_record(self, ledger: Ledger, content: RecordedContent, report: VerifyReport) -> None:
        try:
            finding = self._finding(content)
        except UnavailableError:
            self._store.check()  # raises when it is not only this content
            finding = "unreadable"
        if finding == "unreadable":
            report.unreadable.append(content.content_id)
        elif finding is not None:
            self._treat(ledger, content, report.missing if finding == "missing" else report.torn, report)
        elif content.is_corrupt:
            if self._plan.deep or self._is_right(content):
                self._note(ledger, content, report.recovered, is_corrupt=False)
        elif self._plan.deep:
            self._add_sound(ledger, content)
        if self._plan.deep and finding is None:
            report.read_bytes += content.facts.size

    def _finding(self, content: RecordedContent) -> str | None:
        stat, facts = self._store.stat(content.content_id), content.facts
        if stat is None:
            return "missing"
        if stat.size != facts.size or (stat.sha256 or facts.sha256) != facts.sha256:
            return "torn"
        return "torn" if self._plan.deep and not self._is_right(content) else None

    def _treat(
        self, ledger: Ledger, content: RecordedContent, findings: list[UUID], report: VerifyReport
    ) -> None:
        if not self._still_held(ledger, content):
            return  # a record that was deleted while we looked has no content rightly
        self._note(ledger, content, findings, is_corrupt=True)
        if self._plan.repair and self._mender.mend(content):
            findings.remove(content.content_id)
            self._note(ledger, content, report.mended, is_corrupt=False)

    def _is_right(self, content: RecordedContent) -> bool:
        return self._mender.is_right(self._store, content.content_id, content.facts.sha256)

    def _still_held(self, ledger: Ledger, content: RecordedContent) -> bool:
        with self._transactions.reading() as connection:
            return bool(ledger.rows(connection, [content.content_id]))

    def _note(
        self, ledger: Ledger, content: RecordedContent, findings: list[UUID], *, is_corrupt: bool
    ) -> None:
        findings.append(content.content_id)
        if self._plan.repair:
            self._transactions.write(
                lambda c: ledger.mark(c, content.content_id, is_corrupt, self._now_milliseconds)
            )

    def _add_sound(self, ledger: Ledger, content: RecordedContent) -> None:
        noted = self._sound[ledger]
        noted.append(content.content_id)
        self._sound_bytes += content.facts.size
        if len(noted) >= _NOTED_CONTENTS or self._sound_bytes >= _NOTED_BYTES:
            self._note_sound()

    def _note_sound(self) -> None:
        sound = {ledger: ids for ledger, ids in self._sound.items() if ids}
        self._sound, self._sound_bytes = {ledger: [] for ledger in self._ledgers}, 0
        if not self._plan.repair:
            return
        for ledger, ids in sound.items():
            self._transactions.write(
                lambda c, each=ledger, its=ids: each.note_sound(c, its, self._now_milliseconds)  # type: ignore[misc]
            )

    def _check_orphans(self, report: VerifyReport) -> None:
        sweeper = Sweeper(
            self._transactions,
            self._place,
            self._now,
            grace=self._plan.orphan_grace,
            dry_run=not self._plan.sweep,
            pace=self._pace,
        )
        swept = sweeper.run()
        report.orphaned, report.waiting, report.temporary = swept.orphaned, swept.waiting, swept.temporary
        report.is_interrupted = swept.is_interrupted
