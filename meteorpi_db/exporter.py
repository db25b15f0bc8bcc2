"""Pushing entities to peers at intervals, by the export configurations of a database.

One exporter works on a database at a time (see :mod:`meteorpi_db.exporting.exporter_lease`); what one
entity's push consists of is in :mod:`meteorpi_db.exporting.push`. Failures are counted per configuration in
the database, so that they survive a restart and an administrator can see them. After too many in a row the
exporter disables the configuration and marks it as suspended by itself: it then asks the peer at growing
intervals whether it answers again, and takes the configuration up again when it does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.base import BaseScheduler

from meteorpi_db.exporting.exporter_lease import ExporterLease
from meteorpi_db.exporting.exports import ExportState
from meteorpi_db.exporting.lanes import Check, ExportLanes
from meteorpi_db.exporting.peer import Peer, PeerPool, Timeouts
from meteorpi_db.exporting.push import FAILED, Conversation
from meteorpi_db.exporting.push import ExportStateCache as PushState
from meteorpi_db.exporting.rule import FailureRule
from meteorpi_db.exporting.schedule import ExportScheduler
from meteorpi_db.exporting.tasks import EventExportTask, ExportTask, FileExportTask
from meteorpi_model.errors import MeteorError, UnavailableError, WorkStoppedError
from meteorpi_model.export import ExportConfiguration

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

__all__ = ["EventExportTask", "FileExportTask", "MeteorExporter", "Timeouts"]

logger = logging.getLogger("meteorpi.db.export")

JOB_ID: Final = "meteorpi_export"
DEFAULT_LEASE_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 2.0
_LOOKS: Final = 16  # at the lease, in the time that it lasts


class MeteorExporter:
    """Marks what matches the enabled export configurations and pushes it; constructing starts nothing.

    Attributes:
        db: the database to export from.
        scheduler: start it for periodic rounds; it has one interval job, `meteorpi_export`.
        mark_interval_seconds: from the end of one round to the next.
        max_failures_before_disable: consecutive failures after which a configuration is disabled.
        defer_on_failure_seconds: how long all tasks of a configuration wait after a failure.

    Args:
        scheduler: an APScheduler scheduler to use instead of an own one; its owner stops it.
        lease_seconds: when a process is killed at work, its lease runs out within this time. Others whose own
            scheduler runs notice that within a sixteenth of it and take over, before their round is due.
        timeouts: how long peers may keep the exporter waiting.
        on_progress: called whenever the own scheduler finds no round under way, and in a round at every step
            of a push; from several threads. Silent longer than peers may keep it waiting, the exporter hangs.
    """

    ExportStateCache: TypeAlias = PushState

    def __init__(
        self,
        db: MeteorDatabase,
        mark_interval_seconds: float = 300,
        max_failures_before_disable: int = 4,
        defer_on_failure_seconds: int = 1800,
        scheduler: BaseScheduler | None = None,
        *,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        timeouts: Timeouts | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.db = db
        self.mark_interval_seconds = mark_interval_seconds
        self.max_failures_before_disable = max_failures_before_disable
        self.defer_on_failure_seconds = defer_on_failure_seconds
        self.scheduler: BaseScheduler = scheduler or ExportScheduler(
            on_exit=self.close, on_turn=self._look_around, turn_seconds=lease_seconds / _LOOKS
        )
        self._timeouts = timeouts or Timeouts()
        self._on_progress = on_progress
        self._lease = ExporterLease(db, lease_seconds)
        self._peers = PeerPool(self._timeouts)
        self._idle = threading.Event()
        self._idle.set()
        self._looking = threading.Lock()
        self.scheduler.add_job(
            self._scheduled_round,
            "interval",
            seconds=mark_interval_seconds,
            id=JOB_ID,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    def handle_next_export(self) -> PushState | None:
        """Take the next task that is due and drive it to an end, with all that the receiver asks for.

        Failures are neither counted nor do they defer anything: a failing task stays first in the queue.

        Returns:
            What became of it; None when nothing is due, or another exporter is at work on this database.

        Raises:
            WorkStoppedError: the lease was lost meanwhile, or the exporter is being closed; it stays due.
        """
        with self._lease.held() as is_held:
            task = self.db.get_next_entity_to_export() if is_held else None
            return None if task is None else self._handle(task, self._lease.check)

    def run_round(self) -> int:
        """Work until nothing is left to do now: probe suspended peers, mark, send, and mark again.

        Returns:
            Number of tasks handled, successfully or not; 0 also when another exporter is at work.

        Raises:
            UnavailableError: the database cannot be used now; what was sent stays sent.
        """
        handled = 0
        with self._lease.held() as is_held:
            if is_held:
                try:
                    self._probe_suspended()
                    while sent := self._mark_and_send():
                        handled += sent
                except WorkStoppedError as error:
                    level = logging.INFO if self._lease.is_stopped else logging.WARNING
                    logger.log(level, "export round stopped reason=%s", error.detail)
        return handled

    def stop(self) -> None:
        """Stop the work in progress at its next step; nothing starts again. Harmless in a signal handler."""
        self._lease.stop()

    def close(self) -> None:
        """Stop the work in progress within seconds and close all connections; nothing starts again."""
        self.stop()
        self._idle.wait(_CLOSE_SECONDS)
        if self._looking.acquire(timeout=_CLOSE_SECONDS):  # nobody looks at the database any more
            self._looking.release()
        self._peers.close()

    def _scheduled_round(self) -> None:
        self._idle.clear()
        try:
            self._switch_job("pause_job")
            handled = self.run_round()
            logger.debug("export round done tasks=%d", handled)
        except Exception:  # whatever it is, the next round must come
            logger.exception("export round failed")
        finally:
            self._switch_job("resume_job")
            self._idle.set()

    def _look_around(self) -> None:
        """Between rounds: do at once what a process that was killed in the middle of a round left undone."""
        with self._looking:
            if not self._idle.is_set() or self._lease.is_stopped:
                return
            try:
                if self._lease.is_abandoned():
                    logger.warning("export taken over: an exporter ended without giving its lease back")
                    self.scheduler.modify_job(JOB_ID, next_run_time=datetime.now(UTC))
            except (MeteorError, JobLookupError) as error:  # the database is gone, or the scheduler
                logger.debug("nothing taken over reason=%s", error)
            self._on_progress()

    def _switch_job(self, method: str) -> None:
        try:
            getattr(self.scheduler, method)(JOB_ID)
        except JobLookupError:
            logger.debug("the export job is gone: its scheduler was shut down")

    def _mark_and_send(self) -> int:
        for configuration in self.db.get_export_configurations():
            if configuration.enabled:
                self._step(self._lease.check)
                self._mark(configuration)
        return ExportLanes(self.db, self._handle, self._rule(), self._lease.check).run()

    def _step(self, check: Check) -> None:
        check()
        self._on_progress()

    def _rule(self) -> FailureRule:
        return FailureRule(self.db, self.max_failures_before_disable, self.defer_on_failure_seconds)

    def _mark(self, configuration: ExportConfiguration) -> None:
        try:
            self.db.mark_entities_to_export(configuration)
        except UnavailableError:
            raise
        except MeteorError as error:  # deleted meanwhile, or a search stored by another version
            logger.warning("not marked config_id=%s reason=%s", configuration.config_id, error.detail)

    def _handle(self, task: ExportTask, check: Check) -> PushState:
        """Drive one task to its end; every exception counts as its failure (B-25)."""
        try:
            with self._peer_of(task) as peer:
                return Conversation(self.db, task, peer, lambda: self._step(check)).run()
        except WorkStoppedError:
            raise
        except MeteorError as error:
            return _failed(task, error.detail)
        except Exception as error:
            logger.exception("export task failed entity_id=%s", task.get_entity_id().hex)
            return _failed(task, f"unexpected {type(error).__name__}; see the log")

    def _peer_of(self, task: ExportTask) -> AbstractContextManager[Peer]:
        return self._peers.lent(task.target_url, task.target_user, task.target_password, task.target_ca_file)

    def _probe_suspended(self) -> None:
        """Ask the peers of configurations that the exporter itself disabled whether they answer again."""
        for state in self.db.get_due_probes():
            self._step(self._lease.check)
            try:
                self._probe(state)
            except WorkStoppedError:
                raise
            except MeteorError as error:
                logger.info("probe failed config_id=%s reason=%s", state.config_id.hex, error.detail)
                self._rule().suspend(state.config_id, state.probe_count)
            else:
                self.db.resume_export(state.config_id)
                logger.warning("export resumed config_id=%s", state.config_id.hex)

    def _probe(self, state: ExportState) -> None:
        found = self.db.get_export_configuration(state.config_id)
        if found is not None:
            account = (found.target_url, found.user_id, found.password or "")
            with self._peers.lent(*account, state.ca_file) as peer:
                peer.probe()


def _failed(task: ExportTask, reason: str) -> PushState:
    result = PushState(task)
    result.finish(FAILED, reason)
    return result
