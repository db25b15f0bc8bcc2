"""`MeteorDatabase`: figures, verification and starting over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from meteorpi_db import limits, reports
from meteorpi_db.dialects import refresh_statistics
from meteorpi_db.facade.base import FacadePart
from meteorpi_db.integrity import ORPHAN_GRACE, Progress, Verifier, VerifyReport
from meteorpi_db.migrations.runner import schema_version
from meteorpi_db.pruning import Pruner
from meteorpi_db.records import contents, deletion
from meteorpi_db.reports import DiskUsage, HourlyRate, Interval
from meteorpi_db.retention import PruneReport, RetentionRule


class UpkeepMethods(FacadePart):
    """What whoever runs a node wants to know and do."""

    def get_schema_version(self) -> int:
        """Version of the schema in the database; also the shortest way to see whether it answers."""
        with self.transactions.reading() as connection:
            return schema_version(connection)

    def count_entities(self) -> dict[str, int]:
        """Numbers of what is held, and the bytes of all contents."""
        with self.transactions.reading() as connection:
            return reports.count_entities(connection)

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
        verifier = Verifier(
            self.transactions, self.store, self.clock(), deep=deep, repair=repair, orphan_grace=orphan_grace
        )
        return verifier.run(progress)

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

    def refresh_statistics(self) -> None:
        """Let the query planner see what the tables hold; worth its time after taking in a lot."""
        self.transactions.write(refresh_statistics)

    def clear_database(self) -> None:
        """Delete every record, mark, user, configuration and task, then every content; the store stays."""
        self.transactions.write(deletion.clear_tables)
        contents.remove_contents(self.store, self.store.ids())


def _interval(camera_id: str | None, after: datetime | None, before: datetime | None) -> Interval:
    return Interval(
        camera_id=None if camera_id is None else limits.checked_camera_id(camera_id),
        after=None if after is None else limits.checked_time(after, "after"),
        before=None if before is None else limits.checked_time(before, "before"),
    )
