"""Pruning: letting old records go, by age and when the disk runs full.

Free-standing files go first: in a night of pictures they are what takes the room. Events are what a station
is run for, and are kept longer, with the files that belong to them. Nothing goes that a configured export has
not had confirmed by its receiver (:mod:`meteorpi_db.records.retention` says how that is decided), and
statuses, high water marks, accounts and configurations are not touched.

Each batch is one transaction that looks, decides and deletes; the contents go after its commit. So the work
can be stopped between any two batches, and a process that dies leaves at worst contents without a record,
which `verify` sweeps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore
from meteorpi_db.records import contents, files, retention
from meteorpi_db.records.retention import Candidate, Guard, Window
from meteorpi_db.retention import Protection, PruneReport, RetentionRule, Tally
from meteorpi_db.sql_builder import EVENTS, FILES, Kind
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_model.errors import UnavailableError

logger = logging.getLogger("meteorpi.db.retention")

ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class _Batch:
    """What one transaction found and decided.

    Attributes:
        seen: the candidates, up to the last that was decided upon.
        going: those that go.
        file_ids: contents that go with them.
        is_last: no candidates follow in this window.
        watchers, protected: the configurations, and what each of them protects.
    """

    seen: Sequence[Candidate]
    going: Sequence[Candidate]
    file_ids: Sequence[UUID]
    is_last: bool
    watchers: Sequence[Guard]
    protected: dict[int, set[int]]


class Pruner:
    """One run.

    Args:
        transactions: the database.
        store: the contents.
        rule: what may go.
        now: the time, milliseconds.
        dry_run: only look.
        should_stop: asked before each batch; True ends the run.
    """

    def __init__(
        self,
        transactions: Transactions,
        store: FileStore,
        rule: RetentionRule,
        now: int,
        *,
        dry_run: bool = False,
        should_stop: ShouldStop = lambda: False,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._rule = rule
        self._now = now
        self._should_stop = should_stop
        self._wanted_bytes: int | None = None
        self._report = PruneReport(is_dry_run=dry_run)

    def run(self) -> PruneReport:
        """Delete what is too old, then what has to go for want of room.

        Raises:
            UnavailableError: the database does not answer, or the store cannot tell how much room it has.
        """
        frames_before = self._rule.frames_before(self._now)
        events_before = self._rule.events_before(self._now)
        if frames_before is not None:
            self._prune(FILES, None, frames_before)
        if events_before is not None:
            self._prune(EVENTS, None, events_before)
        if self._rule.keep_free_bytes:
            # What is older was deleted, or is protected and has been counted.
            self._make_room(FILES, frames_before)
            if self._rule.prune_events_for_space:
                self._make_room(EVENTS, events_before)
            self._note_room()
        return self._report

    def _make_room(self, kind: Kind, after: int | None) -> None:
        missing = self._note_room()
        # A file system may give room back late, or never (snapshots, other names of the same content). So a
        # run deletes what was missing when it began, and the next one looks again.
        self._wanted_bytes = missing
        if missing:
            self._prune(kind, after, None)
        self._wanted_bytes = None

    def _note_room(self) -> int:
        """Look how much room there is, and give what is missing."""
        free = self._store.free_bytes()
        if free is None:
            raise UnavailableError(
                "this file store cannot tell how much room it has: set keep_free_bytes to 0"
            )
        if self._report.is_dry_run:
            free += self._report.total.size_bytes
        self._report.free_bytes = free
        self._report.missing_bytes = max(0, self._rule.keep_free_bytes - free)
        return self._report.missing_bytes

    def _prune(self, kind: Kind, after: int | None, before: int | None) -> None:
        with self._transactions.reading() as connection:
            found = retention.windows(connection, kind, after, before)
        for window in found:
            behind: tuple[int, int] | None = None
            while True:
                if self._is_done():
                    return
                batch = self._take_batch(kind, window, behind)
                self._count(kind, batch)
                if batch.is_last:
                    break
                behind = batch.seen[-1].time, batch.seen[-1].pk

    def _is_done(self) -> bool:
        if self._should_stop():
            self._report.is_interrupted = True
        total = self._report.total
        if self._rule.limit and total.files + total.events >= self._rule.limit:
            self._report.is_limited = True
        has_room = self._wanted_bytes is not None and (self._wanted_bytes <= 0 or self._note_room() == 0)
        return has_room or self._report.is_interrupted or self._report.is_limited

    def _take_batch(self, kind: Kind, window: Window, behind: tuple[int, int] | None) -> _Batch:
        with self._transactions.reading() as connection:
            looked = self._decide(connection, kind, window, behind)[0]
        if self._report.is_dry_run or not looked.going:
            return looked  # what waits for a hub that is away is looked at each day, and costs no write

        def delete(connection: Connection) -> _Batch:
            retention.hold_configurations(connection)
            batch, file_pks = self._decide(connection, kind, window, behind)
            retention.delete_files(connection, file_pks)
            if kind is EVENTS:
                retention.delete_events(connection, [candidate.pk for candidate in batch.going])
            return batch

        batch = self._transactions.write(delete)
        self._remove_contents(batch.file_ids)
        return batch

    def _decide(
        self, connection: Connection, kind: Kind, window: Window, behind: tuple[int, int] | None
    ) -> tuple[_Batch, list[int]]:
        """A batch, and the row numbers of the files that go with it."""
        watchers = retention.guards(connection, ignore_disabled=self._rule.ignore_disabled)
        found = retention.candidates(connection, kind, window, behind)
        kept = retention.protected(connection, kind, found, watchers)
        seen, going = self._chosen(found, set().union(*kept.values()))
        is_last = len(found) < retention.BATCH and len(seen) == len(found)
        if kind is FILES:
            file_ids = [candidate.file_id for candidate in going if candidate.file_id is not None]
            return _Batch(seen, going, file_ids, is_last, watchers, kept), [each.pk for each in going]
        going, rows = retention.without_shared_files(connection, going)
        file_ids = [row.file_id for row in rows]
        return _Batch(seen, going, file_ids, is_last, watchers, kept), [row.id for row in rows]

    def _chosen(
        self, found: Sequence[Candidate], held: Container[int]
    ) -> tuple[Sequence[Candidate], list[Candidate]]:
        """Candidates as far as the limit and the missing room ask for them, and those of them that go."""
        going = list[Candidate]()
        total, room = self._report.total, self._wanted_bytes
        entities = total.files + total.events
        for number, candidate in enumerate(found):
            if candidate.pk in held:
                continue
            if (self._rule.limit and entities >= self._rule.limit) or (room is not None and room <= 0):
                return found[:number], going
            going.append(candidate)
            entities += candidate.files + (candidate.file_id is None)
            room = None if room is None else room - candidate.size_bytes
        return found, going

    def _remove_contents(self, file_ids: Sequence[UUID]) -> None:
        """Remove contents without a record; one that is recorded anew in this very moment is made known."""
        held = self._held(file_ids)
        contents.remove_contents(self._store, [file_id for file_id in file_ids if file_id not in held])
        for file_id in self._held(file_ids) - held:
            logger.warning("pruned content was recorded again meanwhile file_id=%s", file_id.hex)
            self._transactions.write(
                lambda c, lost=file_id: contents.mark_corrupt(c, lost, True, self._now)  # type: ignore[misc]
            )

    def _held(self, file_ids: Sequence[UUID]) -> set[UUID]:
        with self._transactions.reading() as connection:
            return files.held_ids(connection, file_ids)

    def _count(self, kind: Kind, batch: _Batch) -> None:
        going = {candidate.pk for candidate in batch.going}
        names = {guard.config_pk: guard for guard in batch.watchers}
        for candidate in batch.going:
            self._report.deleted.setdefault(candidate.camera_id, Tally()).add(kind, candidate)
        for candidate in batch.seen:
            keepers = [pk for pk, kept in batch.protected.items() if candidate.pk in kept]
            if keepers:
                self._report.kept.add(kind, candidate)
            for pk in keepers:
                blank = Protection(names[pk].config_id, names[pk].name, Tally())
                self._report.protections.setdefault(pk, blank).tally.add(kind, candidate)
        freed = sum(candidate.size_bytes for candidate in batch.going)
        if self._wanted_bytes is not None:
            self._wanted_bytes -= freed
        if going and not self._report.is_dry_run:
            logger.info(
                "pruned %ss=%d files=%d size_bytes=%d oldest=%s newest=%s",
                kind.name,
                len(going),
                sum(candidate.files for candidate in batch.going),
                freed,
                milliseconds_to_utc_datetime(batch.going[0].time),
                milliseconds_to_utc_datetime(batch.going[-1].time),
            )
