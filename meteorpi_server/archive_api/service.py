"""What the archive routes of one application share: the register, the planner, the sources, the limits."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final, cast
from uuid import UUID

from flask import Flask, current_app, request

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.checksums import FileChecksums
from meteorpi_db.archives.downloads import Downloads
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import QueueRules
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model.errors import ConfigurationError, NotFoundError, UnavailableError
from meteorpi_server.archive_api.figures import ArchiveFigures
from meteorpi_server.archive_api.limits import ActiveDownloads
from meteorpi_server.archive_api.planning import Planner
from meteorpi_server.archive_api.rates import Rates, limits_of
from meteorpi_server.archive_api.remote_items import RemoteItems
from meteorpi_server.archive_api.slots import Claim, Slot, begin_in_queue
from meteorpi_server.archive_api.waiting import WaitingRoom, waiting_threads
from meteorpi_server.archive_api.watching import WITHDRAWN, Patience, Watcher
from meteorpi_server.archiving import Plan
from meteorpi_server.archiving.checksums import Checksums
from meteorpi_server.archiving.sources import PathSource, RecordSource, Source, TextSource
from meteorpi_server.declarations import declarations, suggestion
from meteorpi_server.settings import Settings
from meteorpi_server.stopping import StopRequest

_EXTENSION: Final = "meteorpi_archive"
_PREFIX: Final = "archive_"
_PLANS_KEPT: Final = 3  # one of 200 000 entries takes some 100 MB
_WAITER_GRACE_SECONDS: Final = 10
_SWEEP_INTERVAL: Final = timedelta(minutes=30)
_RESTART_SECONDS: Final = 10


class ArchiveService:
    """One per application and path that archives are offered at. Safe for threads; opens nothing by itself.

    Attributes:
        db, settings: of the node; the settings with the options of `add_routes` on top.
        register: clients and tickets.
        planner: makes plans.
        sources: of contents that are here, by kind of entry.
        remote: what is at other addresses.
        active: what is sent now.
        room: where tickets wait for their turn; None where there is no queue.
        rates: how fast archives are sent.
        watcher: looks after what is sent.
        figures: what is counted.

    Args:
        db, settings: of the node.
        figures: those of the application; None for some of its own.
        stop: whether the process has to end.
    """

    def __init__(
        self,
        db: MeteorDatabase,
        settings: Settings,
        figures: ArchiveFigures | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self.db = db
        self.settings = settings
        self.register = ArchiveRegister(db.transactions, db.clock)
        self.sources: dict[str, Source] = {"record": RecordSource(db.store), "text": TextSource()}
        checksums = None
        if settings.archive_storage_path:
            checksums = Checksums(settings.archive_storage_path, FileChecksums(db.transactions, db.clock))
            self.sources["path"] = PathSource(settings.archive_storage_path)
        self.remote = RemoteItems(
            settings, lambda: [each.target_url for each in db.get_export_configurations()]
        )
        self.planner = Planner(
            db=db, settings=settings, checksums=checksums, remote=self.remote, sources=self.sources
        )
        waiters = waiting_threads(settings.threads)
        self.queue = None if settings.archive_no_queue else _queue(db, settings)
        self._stop = stop or StopRequest()
        self.room = None if self.queue is None else _room(self.queue, waiters, settings, self._stop)
        self.rates = Rates(limits_of(settings))
        self.figures = figures or ArchiveFigures()
        self.watcher = Watcher(
            Downloads(db.transactions, db.clock),
            self.queue,
            self.rates,
            Patience(send=settings.archive_send_timeout, stop=settings.archive_shutdown_grace),
            self._stop,
        )
        self.active = ActiveDownloads(
            most=settings.archive_max_active or max(1, settings.threads - 2),
            most_connections=max(1, settings.threads - 1 - (0 if self.queue is None else waiters)),
        )
        self._plans = lru_cache(_PLANS_KEPT)(self._read_plan)
        self._sweep_lock = threading.Lock()
        self._swept_at: datetime | None = None

    def slot(self, claim: Claim) -> Slot:
        """The right to send an archive over one more connection, to be ended.

        Args:
            claim: who sends what.

        Raises:
            NotAllowedError: the ticket has to wait for its turn.
            UnavailableError, TooManyAttemptsError: too much is being sent already, or the process ends.
        """
        if self.is_stopping:
            raise UnavailableError("this server is about to stop", retry_after_seconds=_RESTART_SECONDS)
        give_back = self.active.begin(claim.link, claim.owner, claim.most_of_owner)
        try:
            slot = Slot(claim, partial(self._end_slot, give_back), self._begin_in_queue(claim))
        except BaseException:
            give_back()
            raise
        self.rates.enter(claim.flow)
        self.watcher.add(slot)
        return slot

    @property
    def is_stopping(self) -> bool:
        """Whether the process has to end."""
        return self._stop.asked_at is not None

    def _begin_in_queue(self, claim: Claim) -> UUID | None:
        if self.queue is None or claim.ticket_id is None:
            return None
        waited = self.queue.waited_seconds(claim.ticket_id)
        download_id = begin_in_queue(self.queue, claim.ticket_id)
        if waited is not None:
            self.figures.waited(waited)
        return download_id

    def _end_slot(self, give_back: Callable[[], None], slot: Slot) -> None:
        try:
            self.watcher.remove(slot)
            if slot.is_queued and self.queue is not None:
                self.queue.end(slot.download_id)
        finally:
            self.rates.leave(slot.claim.flow)
            give_back()

    def end_downloads(self, link: str) -> None:
        """End what this process sends of an archive that was withdrawn; the others find out by themselves."""
        for slot in self.watcher.slots():
            if slot.claim.link == link:
                slot.stop(WITHDRAWN)

    def plan_of(self, ticket_id: UUID, etag: str | None) -> Plan:
        """The plan of a ticket; the last few are kept in memory, for ranges come one after the other.

        Raises:
            NotFoundError: there is none, or the ticket was withdrawn or is used up.
        """
        return self._plans(ticket_id, etag)

    def keep_checksums(self, ticket_id: UUID, plan: Plan, crcs: Mapping[int, int]) -> None:
        """Make a plan resumable by what a whole pass has found; nothing happens when the ticket is gone."""
        known = plan.with_crcs(crcs)
        try:
            self.register.replace_plan(
                ticket_id, known.to_bytes(), etag=known.etag, size_bytes=known.total_bytes
            )
        except NotFoundError:
            return

    def sweep_now_and_then(self) -> None:
        """Remove what has expired, if that was not done for half an hour."""
        now = self.db.clock()
        with self._sweep_lock:
            if self._swept_at is not None and now - self._swept_at < _SWEEP_INTERVAL:
                return
            self._swept_at = now
        self.register.sweep()

    def keep_up(self) -> None:
        """What has to be done every minute though nobody asks for anything: expired links, lapsed turns."""
        self.sweep_now_and_then()
        if self.queue is not None:
            self.queue.settle()

    def _read_plan(self, ticket_id: UUID, _etag: str | None) -> Plan:
        return Plan.from_bytes(self.register.ticket_plan(ticket_id))


def _queue(db: MeteorDatabase, settings: Settings) -> ArchiveQueue:
    rules = QueueRules(
        is_queued=True,
        slots=settings.archive_simultaneous_downloads_limit,
        lease_seconds=settings.archive_slot_lease,
        waiter_seconds=settings.archive_wait_ping + _WAITER_GRACE_SECONDS,
    )
    return ArchiveQueue(db.transactions, rules, db.clock)


def _room(queue: ArchiveQueue, seats: int, settings: Settings, stop: StopRequest) -> WaitingRoom:
    return WaitingRoom(
        queue,
        seats,
        ping_seconds=settings.archive_wait_ping,
        timeout_seconds=settings.archive_wait_timeout,
        stop=stop,
    )


def with_options(settings: Settings, options: Mapping[str, object]) -> Settings:
    """`settings` with the options of `add_routes`, which are named as they are, without ``archive_``.

    Raises:
        ConfigurationError: there is no such option, or the value is none of it.
    """
    declared = declarations(Settings)
    values: dict[str, Any] = {}
    for key, value in options.items():
        name = _PREFIX + key
        if name not in declared:
            known = [each.removeprefix(_PREFIX) for each in declared if each.startswith(_PREFIX)]
            raise ConfigurationError(f"archives have no option {key!r}.{suggestion(key, known)}")
        given = list(value) if isinstance(value, tuple) else value
        try:
            values[name] = declared[name].from_toml(given)
        except ValueError as error:
            raise ConfigurationError(f"option {key} of archives: {error}") from error
    return dataclasses.replace(settings, **values)


def bind(app: Flask, blueprint_name: str, service: ArchiveService) -> None:
    """Make `service` that of the routes attached to `app` under a name."""
    app.extensions.setdefault(_EXTENSION, {})[blueprint_name] = service


def current_service() -> ArchiveService:
    """The service of the route that handles the current request."""
    return cast(ArchiveService, current_app.extensions[_EXTENSION][request.blueprint])
