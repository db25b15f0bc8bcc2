"""The export queue: one task for each entity and configuration."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from sqlalchemy import Connection, Row, Select, insert, literal, select, update

from meteorpi_db import limits, tables
from meteorpi_db.exporting import exports, marking_progress
from meteorpi_db.exporting.exports import ACTIVE
from meteorpi_db.exporting.marking_progress import MarkingProgress
from meteorpi_db.searching import plan_search
from meteorpi_db.sql_builder import EVENTS, FILES, Kind
from meteorpi_model import Event, ExportConfiguration, FileRecord, FileRecordSearch
from meteorpi_model.errors import InvalidDocumentError, NotFoundError
from meteorpi_model.values import JsonObject

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

COMPLETE = 0

_CONFIG = tables.export_config
_TASK = tables.export_task
_LATEST_STATE = 2**15 - 1
_LONGEST_DEFERRAL_SECONDS = 100 * 366 * 24 * 3600


class _ExportTask:
    """What both kinds of task have in common.

    Attributes:
        db: the database it belongs to.
        config_id, config_internal_id: the configuration, by UUID and by row number.
        timestamp: when it is due, milliseconds.
        status: 1 while active, 0 when complete.
        target_url, target_user: where to push to, and as whom.
        target_ca_file: certificates to trust in place of the usual ones, or None.
    """

    def __init__(self, db: MeteorDatabase, row: Row[Any]) -> None:
        self.db = db
        self.task_internal_id: int = row.id
        self.config_id: UUID = row.config_id
        self.config_internal_id: int = row.config_pk
        self.timestamp: int = row.due_at
        self.status: int = row.state
        self.target_url: str = row.target_url
        self.target_user: str = row.target_user
        self.target_ca_file: str | None = row.ca_file
        self._sealed_password: str = row.target_secret

    @property
    def target_password(self) -> str:
        """Password of `target_user` at the receiver.

        Raises:
            ConfigurationError: the key that it was encrypted with is not at hand.
        """
        return self.db.secret_box.open(self._sealed_password)

    def get_export_config(self) -> ExportConfiguration:
        """The configuration; `NotFoundError` when it has been deleted."""
        config = self.db.get_export_configuration(self.config_id)
        if config is None:
            raise NotFoundError("no such export configuration", entity_id=self.config_id)
        return config

    def set_status(self, status: int) -> None:
        """Store that the task is complete (0) or active (anything else); a task that is gone stays so."""
        self.db.set_task_status(self.task_internal_id, status)
        self.status = status

    def record_failure(self) -> None:
        """Put the task behind those due at the same time, so that one bad entity cannot hold up the rest."""
        self.db.record_task_failure(self.task_internal_id)


class FileExportTask(_ExportTask):
    """A file record that is to be pushed."""

    def __init__(self, db: MeteorDatabase, row: Row[Any]) -> None:
        super().__init__(db, row)
        self.file_id: UUID = row.entity_id
        self.file_internal_id: int = row.file_pk

    def get_file(self) -> FileRecord:
        """The record; `NotFoundError` when it has been deleted."""
        record = self.db.get_file(self.file_id)
        if record is None:
            raise NotFoundError("no such file", entity_id=self.file_id)
        return record

    def get_entity_id(self) -> UUID:
        """Id of the record."""
        return self.file_id

    def as_dict(self) -> JsonObject:
        """What starts the conversation with the receiver."""
        return {"type": "file", "file": self.get_file().as_dict()}


class EventExportTask(_ExportTask):
    """An event that is to be pushed, with its files."""

    def __init__(self, db: MeteorDatabase, row: Row[Any]) -> None:
        super().__init__(db, row)
        self.event_id: UUID = row.entity_id
        self.event_internal_id: int = row.event_pk

    def get_event(self) -> Event:
        """The event; `NotFoundError` when it has been deleted."""
        event = self.db.get_event(self.event_id)
        if event is None:
            raise NotFoundError("no such event", entity_id=self.event_id)
        return event

    def get_entity_id(self) -> UUID:
        """Id of the event."""
        return self.event_id

    def as_dict(self) -> JsonObject:
        """What starts the conversation with the receiver."""
        return {"type": "event", "event": self.get_event().as_dict()}


ExportTask: TypeAlias = FileExportTask | EventExportTask


def mark(connection: Connection, config: ExportConfiguration, now: int) -> int:
    """Make a task for everything that matches and has none; gives the number of new tasks.

    One statement however many they are, in order of registration. Limit, skip and order of the search play no
    part; files that belong to an event travel with it and get no task of their own.

    Raises:
        UnknownEntityError: the configuration is not stored (a ``ValueError``).
    """
    config_pk = exports.require_pk(connection, config.config_id)
    if not config.enabled:
        return 0
    # Holds off another marking of the same configuration until this one has been committed.
    connection.execute(update(_CONFIG).where(_CONFIG.c.id == config_pk).values(failures=_CONFIG.c.failures))
    progress = marking_progress.progress_of(connection, config_pk)
    count = _insert_tasks(connection, config, progress, now)
    if _is_stored_search(config, progress) and progress.can_advance(now):
        marking_progress.advance(connection, progress, _kind_of(config), now)
    return count


def needs_marking(connection: Connection, config: ExportConfiguration, now: int) -> bool:
    """Whether `mark` would do anything; a look that holds up nobody.

    Raises:
        UnknownEntityError: the configuration is not stored (a ``ValueError``).
    """
    progress = marking_progress.progress_of(connection, exports.require_pk(connection, config.config_id))
    if not config.enabled:
        return False
    if progress.can_advance(now):
        return True
    return connection.execute(_unmarked(connection, config, progress).limit(1)).first() is not None


def _kind_of(config: ExportConfiguration) -> Kind:
    return FILES if isinstance(config.search, FileRecordSearch) else EVENTS


def _is_stored_search(config: ExportConfiguration, progress: MarkingProgress) -> bool:
    return exports.search_text(config.search) == progress.search


def _unmarked(connection: Connection, config: ExportConfiguration, progress: MarkingProgress) -> Select[Any]:
    """A statement for the row numbers of what matches and has no task."""
    search = config.search.page(limit=0)
    if config.config_id is not None:
        search = search.not_yet_exported_to(config.config_id)
    if isinstance(search, FileRecordSearch):
        search = search.without_event_files()
    newer_than = progress.marked_pk if _is_stored_search(config, progress) else None
    return plan_search(connection, search, newer_than).matching_pks()


def _insert_tasks(
    connection: Connection, config: ExportConfiguration, progress: MarkingProgress, now: int
) -> int:
    pks, config_pk = _unmarked(connection, config, progress), progress.config_pk
    values = {"config_pk": config_pk, "due_at": now, "state": ACTIVE, "failures": 0, "created_at": now}
    constants = [literal(value, _TASK.c[name].type).label(name) for name, value in values.items()]
    chosen = pks.add_columns(*constants).order_by(pks.selected_columns.id)
    names = [_kind_of(config).task_column, *values]
    marking = insert(_TASK).from_select(names, chosen, include_defaults=False)
    return connection.execute(marking, execution_options={"preserve_rowcount": True}).rowcount


def defer(connection: Connection, config_id: UUID, seconds: float, now: int) -> None:
    """Make every task of a configuration that is due before now + `seconds` due exactly then.

    Raises:
        UnknownEntityError: the configuration is not stored (a ``ValueError``).
    """
    config_pk = exports.require_pk(connection, config_id)
    limits.checked_number(seconds, "seconds")
    until = now + int(1000 * max(0, min(seconds, _LONGEST_DEFERRAL_SECONDS)))
    statement = update(_TASK).where(
        _TASK.c.config_pk == config_pk, _TASK.c.state == ACTIVE, _TASK.c.due_at < until
    )
    connection.execute(statement.values(due_at=until))


def next_task(
    connection: Connection,
    db: MeteorDatabase,
    now: int,
    not_tasks: Collection[int] = (),
    not_configurations: Collection[int] = (),
) -> ExportTask | None:
    """The task that has been due longest among those of enabled configurations.

    Of tasks due at one instant the one that failed least comes first, then the one marked first. Tasks and
    configurations named by row number are passed over: they are being worked on.
    """
    enabled = connection.execute(select(_CONFIG.c.id).where(_CONFIG.c.is_enabled.is_(True))).scalars().all()
    free = [pk for pk in enabled if pk not in not_configurations]
    heads = [head for pk in free if (head := _head_of_queue(connection, pk, now, not_tasks))]
    if not heads:
        return None
    head = min(heads, key=lambda row: (row.due_at, row.failures, row.id))
    return _task_from(connection, db, head)


def _head_of_queue(
    connection: Connection, config_pk: int, now: int, not_tasks: Collection[int]
) -> Row[Any] | None:
    queue = (_TASK.c.config_pk, _TASK.c.state, _TASK.c.due_at, _TASK.c.failures, _TASK.c.id)
    statement = (
        select(_TASK)
        .where(_TASK.c.config_pk == config_pk, _TASK.c.state == ACTIVE, _TASK.c.due_at <= now)
        .order_by(*queue)  # the leading constants let engines see that the index has this order
        .limit(1)
    )
    if not_tasks:
        statement = statement.where(_TASK.c.id.not_in(not_tasks))
    return connection.execute(statement).first()


def _task_from(connection: Connection, db: MeteorDatabase, head: Row[Any]) -> ExportTask:
    kind = EVENTS if head.file_pk is None else FILES
    statement = select(
        _TASK,
        _CONFIG.c.config_id,
        _CONFIG.c.target_url,
        _CONFIG.c.target_user,
        _CONFIG.c.target_secret,
        _CONFIG.c.ca_file,
        kind.entity_id.label("entity_id"),
    )
    statement = statement.join(_CONFIG, _CONFIG.c.id == _TASK.c.config_pk).join(
        kind.table, kind.pk == kind.task_pk
    )
    statement = statement.where(_TASK.c.id == head.id)
    row = connection.execute(statement).one()
    return EventExportTask(db, row) if kind is EVENTS else FileExportTask(db, row)


def set_status(connection: Connection, task_pk: int, status: int, now: int) -> None:
    """Store that a task is complete (0) or active."""
    if isinstance(status, bool) or not isinstance(status, int) or not 0 <= status <= _LATEST_STATE:
        raise InvalidDocumentError(f"a task status is a small whole number, not {status!r}")
    state = COMPLETE if status == COMPLETE else ACTIVE
    completed_at = now if state == COMPLETE else None
    statement = update(_TASK).where(_TASK.c.id == task_pk)
    connection.execute(statement.values(state=state, completed_at=completed_at))


def record_failure(connection: Connection, task_pk: int) -> None:
    """Count a failure of one task."""
    connection.execute(update(_TASK).where(_TASK.c.id == task_pk).values(failures=_TASK.c.failures + 1))
