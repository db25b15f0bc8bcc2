"""What the archive routes of one application share: the register, the planner, the sources, the limits."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, cast
from uuid import UUID

from flask import Flask, current_app, request

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model.errors import ConfigurationError, NotFoundError
from meteorpi_server.archive_api.limits import ActiveDownloads
from meteorpi_server.archive_api.planning import Planner
from meteorpi_server.archiving import Plan
from meteorpi_server.archiving.checksums import Checksums
from meteorpi_server.archiving.sources import PathSource, RecordSource, Source, TextSource
from meteorpi_server.declarations import declarations, suggestion
from meteorpi_server.settings import Settings

_EXTENSION: Final = "meteorpi_archive"
_PREFIX: Final = "archive_"
_PLANS_KEPT: Final = 8
_SWEEP_INTERVAL: Final = timedelta(minutes=30)


class ArchiveService:
    """One per application and path that archives are offered at. Safe for threads; opens nothing by itself.

    Attributes:
        db, settings: of the node; the settings with the options of `add_routes` on top.
        register: clients and tickets.
        planner: makes plans.
        sources: of contents, by kind of entry.
        active: what is sent now.
    """

    def __init__(self, db: MeteorDatabase, settings: Settings) -> None:
        self.db = db
        self.settings = settings
        self.register = ArchiveRegister(db.transactions, db.clock)
        self.sources: dict[str, Source] = {"record": RecordSource(db.store), "text": TextSource()}
        checksums = None
        if settings.archive_storage_path:
            checksums = Checksums(settings.archive_storage_path)
            self.sources["path"] = PathSource(settings.archive_storage_path)
        self.planner = Planner(db=db, settings=settings, checksums=checksums)
        self.active = ActiveDownloads(
            most=settings.archive_max_active or max(1, settings.threads - 2),
            most_connections=max(1, settings.threads - 1),
        )
        self._plans = lru_cache(_PLANS_KEPT)(self._read_plan)
        self._sweep_lock = threading.Lock()
        self._swept_at: datetime | None = None

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

    def _read_plan(self, ticket_id: UUID, _etag: str | None) -> Plan:
        return Plan.from_bytes(self.register.ticket_plan(ticket_id))


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
