"""What nobody needs any more: contents without a record or released by blocks, and what dead writers left.

A content without a record may be an upload whose record follows; only old ones are taken for left over.

Source: S-105 and `sweep` in B.6 of the storage contract.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final
from uuid import UUID

from meteorpi_db.blocks.sweeping import READERS_GRACE, oldest_upload, sweep_released, sweep_uploads
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore.base import PARTS_SECONDS
from meteorpi_db.filestore.pacing import Pace, StoppedError
from meteorpi_db.ledgers import LEDGERS
from meteorpi_db.records import announcements
from meteorpi_db.stores import Place
from meteorpi_model import utc_datetime_to_milliseconds

logger = logging.getLogger("meteorpi.db.integrity")

ORPHAN_GRACE: Final = timedelta(hours=24)
_PAGE: Final = 1000
_CLOCKS_APART: Final = timedelta(minutes=10)


@dataclass(kw_only=True)
class SweptReport:
    """What was found, and what was removed.

    Attributes:
        orphaned: ids of contents without a record, older than the grace time.
        waiting: number of younger ones, which may be uploads under way.
        released: contents removed that no object of blocks has any more.
        uploads: uploads to blocks that were forgotten, since their time is over.
        temporary: left-over temporary files and expired resumable writes that were removed.
        freed_bytes: their bytes, and those of the contents that were removed.
        kept: temporary files and resumable writes that are too young, or in use.
        is_dry_run: nothing was removed; temporary files and what blocks left were not looked at.
        is_interrupted: it was ended before its end; repeated, it goes on.
    """

    orphaned: list[UUID] = field(default_factory=list)
    waiting: int = 0
    released: int = 0
    uploads: int = 0
    temporary: int = 0
    freed_bytes: int = 0
    kept: int = 0
    is_dry_run: bool = False
    is_interrupted: bool = False

    def as_dict(self) -> dict[str, object]:
        """For people and scripts; ids as hex."""
        return {
            "orphaned": [content_id.hex for content_id in self.orphaned],
            "waiting": self.waiting,
            "released": self.released,
            "uploads": self.uploads,
            "temporary": self.temporary,
            "freed_bytes": self.freed_bytes,
            "kept": self.kept,
            "dry_run": self.is_dry_run,
            "interrupted": self.is_interrupted,
        }


class Sweeper:
    """One walk over what a store holds.

    Args:
        transactions: the database.
        place: the contents.
        now: the time.
        grace: age from which a content without record is left over.
        dry_run: remove nothing.
        pace: can end the work.
        readers_grace: what blocks have released later than so long ago stays.
    """

    def __init__(
        self,
        transactions: Transactions,
        place: Place,
        now: datetime,
        *,
        grace: timedelta = ORPHAN_GRACE,
        dry_run: bool = False,
        pace: Pace | None = None,
        readers_grace: timedelta = READERS_GRACE,
    ) -> None:
        self._transactions = transactions
        self._store = place.store
        self._now = now
        self._grace = grace
        self._blocks = place.blocks
        self._dry_run = dry_run
        self._pace = pace or Pace()
        self._readers_grace = readers_grace

    def run(self) -> SweptReport:
        """Look at every content, and remove what is left over."""
        report = SweptReport(is_dry_run=self._dry_run)
        if not self._dry_run:
            report.uploads = sweep_uploads(self._transactions, self._blocks, self._now)
            report.released = sweep_released(self._transactions, self._blocks, self._now, self._readers_grace)
        try:
            for content_id in self._unrecorded():
                self._pace.take(0)
                self._look_at(content_id, report)
        except StoppedError:
            report.is_interrupted = True
        else:
            self._sweep_store(report)
        return report

    def _look_at(self, content_id: UUID, report: SweptReport) -> None:
        found = self._store.stat(content_id)
        if found is None or self._held([content_id]):
            return  # deleted, or recorded, while we looked
        if found.stored_at > self._now - self._grace:
            report.waiting += 1
            return
        report.orphaned.append(content_id)
        if not self._dry_run:
            self._remove(content_id)
            report.freed_bytes += found.size

    def _sweep_store(self, report: SweptReport) -> None:
        if not self._dry_run:
            swept = self._store.sweep(now=self._now, parts_older_than_seconds=self._parts_seconds())
            report.temporary, report.kept = swept.removed, swept.kept
            report.freed_bytes += swept.freed_bytes

    def _parts_seconds(self) -> float:
        """Nothing came for so long of what nobody can go on with."""
        oldest = oldest_upload(self._transactions, self._now)
        age = timedelta(0) if oldest is None else self._now - oldest
        return max(PARTS_SECONDS, (age + _CLOCKS_APART).total_seconds())

    def _unrecorded(self) -> Iterator[UUID]:
        listed = self._store.ids()
        while page := list(islice(listed, _PAGE)):
            held = self._held(page)
            yield from (content_id for content_id in page if content_id not in held)

    def _held(self, content_ids: list[UUID]) -> set[UUID]:
        with self._transactions.reading() as connection:
            return set().union(*(ledger.held(connection, content_ids) for ledger in LEDGERS))

    def _remove(self, content_id: UUID) -> None:
        self._transactions.write(lambda connection: announcements.forget_received(connection, content_id))
        self._store.delete(content_id)
        logger.info("content without record removed file_id=%s", content_id.hex)
        if self._held([content_id]):  # registered in this very moment: say so at once
            time = utc_datetime_to_milliseconds(self._now)
            for ledger in LEDGERS:
                self._transactions.write(lambda c, each=ledger: each.mark(c, content_id, True, time))  # type: ignore[misc]
