"""What success and failure of a push mean for its configuration: counting, deferring, suspending, probing."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from meteorpi_db.exporting.push import COMPLETE, ExportStateCache
from meteorpi_db.exporting.tasks import ExportTask

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

logger = logging.getLogger("meteorpi.db.export")

FIRST_PROBE_SECONDS: Final = 60
LONGEST_PROBE_SECONDS: Final = 3600
_DOUBLINGS: Final = 16


class FailureRule:
    """Applies the rule of section 5 of the contract, with counts and reasons in the database (B-24).

    Args:
        db: the database.
        max_failures: consecutive failures after which a configuration is disabled.
        defer_seconds: how long all tasks of a configuration wait after a failure.
    """

    def __init__(self, db: MeteorDatabase, max_failures: int, defer_seconds: float) -> None:
        self._db = db
        self._max_failures = max_failures
        self._defer_seconds = defer_seconds
        self._successful: set[UUID] = set()

    def settle(self, task: ExportTask, result: ExportStateCache, is_counted: bool = True) -> None:
        """Draw the consequences of one task.

        Args:
            task: the task.
            result: what became of it.
            is_counted: False for a failure beside one that was counted already: tasks that were under way
                together tell of one failure of their peer, not of several.
        """
        if result.state == COMPLETE:
            self._succeed(result.config_id)
        else:
            self._fail(task, result, is_counted)

    def finish(self) -> None:
        """Note the time of the last success of each configuration."""
        while self._successful:
            self._db.record_export_success(self._successful.pop())

    def suspend(self, config_id: UUID, probes: int) -> None:
        """Plan the next probe of a peer after so many of them were in vain."""
        seconds = min(FIRST_PROBE_SECONDS << min(probes, _DOUBLINGS), LONGEST_PROBE_SECONDS)
        self._db.suspend_export(config_id, self._db.clock() + timedelta(seconds=seconds))
        logger.warning("export suspended config_id=%s next_probe_seconds=%d", config_id.hex, seconds)

    def _succeed(self, config_id: UUID) -> None:
        """The first success resets the count at once; later ones are noted together."""
        if config_id not in self._successful:
            self._db.record_export_success(config_id)
            self._successful.add(config_id)

    def _fail(self, task: ExportTask, result: ExportStateCache, is_counted: bool) -> None:
        reason = result.reason or result.state
        logger.warning(
            "export failed config_id=%s entity_id=%s state=%s reason=%s",
            result.config_id.hex,
            result.entity_id,
            result.state,
            reason,
        )
        task.record_failure()
        if is_counted:
            self._count(result.config_id, reason)

    def _count(self, config_id: UUID, reason: str) -> None:
        self._successful.discard(config_id)
        state = self._db.record_export_failure(config_id, reason, self._max_failures)
        if state is None:
            return  # the configuration was deleted meanwhile
        if state.suspended:
            self.suspend(config_id, state.probe_count)
        else:
            self._db.defer_export_tasks(config_id, self._defer_seconds)
