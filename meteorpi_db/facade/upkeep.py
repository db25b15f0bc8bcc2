"""`MeteorDatabase`: figures, verification and starting over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from meteorpi_db import limits, reports
from meteorpi_db.accounts import audit
from meteorpi_db.backup.copying import CopyReport, copy_database, require_no_exporter
from meteorpi_db.backup.making import BackupReport, Node, back_up
from meteorpi_db.backup.repository import Repository
from meteorpi_db.backup.targets import carry_key
from meteorpi_db.blocks.recounting import Difference, recount
from meteorpi_db.blocks.sweeping import READERS_GRACE
from meteorpi_db.connections import open_database
from meteorpi_db.dialects import refresh_statistics
from meteorpi_db.exporting.secrets import SecretBox, default_key_file
from meteorpi_db.facade.base import FacadePart
from meteorpi_db.filestore.pacing import Pace
from meteorpi_db.integrity import Progress, Verifier, VerifyPlan, VerifyReport
from meteorpi_db.ledgers import LEDGERS, LedgerFigures, RecordedContent
from meteorpi_db.mending import ContentSource
from meteorpi_db.migrations.runner import schema_version
from meteorpi_db.pruning import Pruner
from meteorpi_db.records import contents, deletion
from meteorpi_db.reports import DiskUsage, HourlyRate, Interval
from meteorpi_db.retention import PruneReport, RetentionRule
from meteorpi_db.summing import summed
from meteorpi_db.sweeping import ORPHAN_GRACE, Sweeper, SweptReport
from meteorpi_model import milliseconds_to_utc_datetime

BACKUP_MADE: Final = "backup.make"
"""Action in the audit log: a backup that lacks nothing."""

_BACKUPS_LOOKED_FOR_MILLISECONDS: Final = 30 * 24 * 3600 * 1000


class UpkeepMethods(FacadePart):
    """What whoever runs a node wants to know and do."""

    secret_box: SecretBox

    def get_schema_version(self) -> int:
        """Version of the schema in the database; also the shortest way to see whether it answers."""
        with self.transactions.reading() as connection:
            return schema_version(connection)

    def count_entities(self) -> dict[str, int]:
        """Numbers of what is held, and the bytes of all contents."""
        with self.transactions.reading() as connection:
            return reports.count_entities(connection)

    def get_newest_file_times(self) -> dict[str, datetime]:
        """For each camera the time of its newest file, UTC."""
        with self.transactions.reading() as connection:
            newest = reports.newest_file_times(connection)
        return {camera: milliseconds_to_utc_datetime(time) for camera, time in newest.items()}

    def get_disk_usage(
        self, camera_id: str | None = None, after: datetime | None = None, before: datetime | None = None
    ) -> list[DiskUsage]:
        """Size of contents by day and type, latest day first; None: every camera, no limit of time."""
        with self.transactions.reading() as connection:
            return reports.disk_usage(connection, _interval(camera_id, after, before))

    def get_hourly_rates(
        self, camera_id: str | None = None, after: datetime | None = None, before: datetime | None = None
    ) -> list[HourlyRate]:
        """What each hour brought in which there was anything, latest first; None as above."""
        with self.transactions.reading() as connection:
            return reports.hourly_rates(connection, _interval(camera_id, after, before))

    def verify(
        self,
        deep: bool = False,
        repair: bool = False,
        progress: Progress | None = None,
        orphan_grace: timedelta = ORPHAN_GRACE,
    ) -> VerifyReport:
        """Compare records and contents; see :mod:`meteorpi_db.integrity` for what is found and mended.

        Args:
            deep: read every content, in place of looking at sizes.
            repair: mend what can be mended.
            progress: called with the numbers of records looked at so far and in all.
            orphan_grace: age from which a content without record is left over.
        """
        plan = VerifyPlan(deep=deep, repair=repair, sweep=repair, orphan_grace=orphan_grace)
        return self.verify_contents(plan, progress=progress)

    def verify_contents(
        self,
        plan: VerifyPlan,
        *,
        others: Sequence[ContentSource] = (),
        pace: Pace | None = None,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Compare records and contents as far as `plan` says, and do about it what it allows.

        Args:
            plan: what is to be done.
            others: further places where the right bytes of a damaged content may be.
            pace: limits the bytes read, and can end the work.
            progress: called with the numbers of records looked at so far and in all.
        """
        report = VerifyReport(is_deep=plan.deep, is_repaired=plan.repair, is_swept=plan.sweep)
        for place in self.stores.places():
            verifier = Verifier(self.transactions, place, self.clock(), plan, others=others, pace=pace)
            report = summed(report, verifier.run(progress))
            if report.is_interrupted:
                break
        return report

    def sweep_contents(
        self,
        grace: timedelta = ORPHAN_GRACE,
        *,
        dry_run: bool = False,
        pace: Pace | None = None,
        readers_grace: timedelta = READERS_GRACE,
    ) -> SweptReport:
        """Remove contents without a record, and what dead writers left; see :mod:`meteorpi_db.sweeping`.

        Args:
            grace: age from which a content without record is left over.
            dry_run: remove nothing.
            pace: can end the work.
            readers_grace: contents of blocks that were released later than so long ago stay.
        """
        report = SweptReport(is_dry_run=dry_run)
        for place in self.stores.places():
            sweeper = Sweeper(
                self.transactions,
                place,
                self.clock(),
                grace=grace,
                dry_run=dry_run,
                pace=pace,
                readers_grace=readers_grace,
            )
            report = summed(report, sweeper.run())
            if report.is_interrupted:
                break
        return report

    def recorded_contents(self, content_ids: Iterable[UUID]) -> dict[UUID, RecordedContent]:
        """What is recorded of many contents, of files and of blocks; the others are left out."""
        wanted, found = list(content_ids), {}
        with self.transactions.reading() as connection:
            for ledger in LEDGERS:
                found.update(ledger.rows(connection, wanted))
        return found

    def get_content_figures(self) -> dict[str, LedgerFigures]:
        """How many contents there have to be, how large, and when they were verified; by what they are of."""
        with self.transactions.reading() as connection:
            return {ledger.name: ledger.figures(connection) for ledger in LEDGERS}

    def prune(
        self,
        rule: RetentionRule,
        *,
        dry_run: bool = False,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> PruneReport:
        """Delete what `rule` lets go and no export waits for; see :mod:`meteorpi_db.pruning`.

        Args:
            rule: what may go.
            dry_run: only say what would go.
            should_stop: asked between batches; True ends the run.

        Raises:
            UnavailableError: the store cannot tell how much room it has, and `rule` asks for room.
        """
        pruner = Pruner(
            self.transactions, self.store, rule, self._now(), dry_run=dry_run, should_stop=should_stop
        )
        return pruner.run()

    def backup_to(
        self,
        repository: str | Path,
        *,
        with_key: bool = True,
        keep: int | None = None,
        progress: Progress | None = None,
    ) -> BackupReport:
        """Back everything up while the node is at work; see :mod:`meteorpi_db.backup`.

        Args:
            repository: directory of backups, made when the one above it exists.
            with_key: also keep the key that protects the passwords of peers.
            keep: remove all but so many of the newest backups; None removes none.
            progress: called with the bytes of content that are done, and of all.
        """
        node = Node(
            transactions=self.transactions,
            store=self.stores.everything,
            key_file=self.secret_box.key_file,
            installation_id=self.installation_id,
        )
        place = Repository(repository)
        return back_up(node, place, self.clock(), with_key=with_key, keep=keep, progress=progress)

    def get_last_backup_time(self) -> datetime | None:
        """When the last backup was made that lacks nothing; None when there was none in thirty days."""
        since = self._now() - _BACKUPS_LOOKED_FOR_MILLISECONDS
        with self.transactions.reading() as connection:
            time = audit.last_time_of(connection, BACKUP_MADE, since)
        return None if time is None else milliseconds_to_utc_datetime(time)

    def copy_database_to(
        self,
        db_path: str | Path,
        db_user: str = "meteorpi",
        db_password: str = "meteorpi",
        *,
        online: bool = False,
        progress: Progress | None = None,
    ) -> CopyReport:
        """Copy all records to another database that is missing or empty, of any engine; contents stay.

        The key that protects the passwords of peers is put where the other database looks for it.

        Args:
            db_path, db_user, db_password: as for the database itself.
            online: although an exporter is at work; what is recorded from now on is not copied.
            progress: called with the rows that are copied, and all of them.

        Raises:
            ConflictError: the other database is not empty, or an exporter is at work; nothing was changed.
        """
        if not online:
            require_no_exporter(self.transactions, self._now())
        with closing(open_database(db_path, db_user, db_password)) as target:
            carry_key(
                self.secret_box.key_file,
                default_key_file(self.transactions.backend.embedded_path, self.store),
                default_key_file(target.backend.embedded_path, self.store),
            )
            return copy_database(self.transactions, target, progress)

    def refresh_statistics(self) -> None:
        """Let the query planner see what the tables hold; worth its time after taking in a lot."""
        self.transactions.write(refresh_statistics)

    def recount_blocks(self, *, fix: bool = False) -> list[Difference]:
        """Compare what is counted of blocks with their objects; see :mod:`meteorpi_db.blocks.recounting`.

        Args:
            fix: also set right what is wrong.
        """
        return recount(self.transactions, fix=fix)

    def clear_database(self) -> None:
        """Delete every record, mark, user, configuration and task, then every content; the store stays."""
        self.transactions.write(deletion.clear_tables)
        everything = self.stores.everything
        contents.remove_contents(everything, everything.ids())


def _interval(camera_id: str | None, after: datetime | None, before: datetime | None) -> Interval:
    return Interval(
        camera_id=None if camera_id is None else limits.checked_camera_id(camera_id),
        after=None if after is None else limits.checked_time(after, "after"),
        before=None if before is None else limits.checked_time(before, "before"),
    )
