"""Taking records away, and saying what went with them.

Deleting by time cuts through events: files not later than the limit survive the deletion of their event as
files of their own, and an event not later than the limit loses its later files. Reports count both (B-40).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, delete, distinct, exists, func, not_, or_, select

from meteorpi_db import tables
from meteorpi_db.exporting import marking_progress

_FILE = tables.file_record
_EVENT = tables.event
_LINK = tables.event_file
_STATUS = tables.camera_status


@dataclass(frozen=True)
class DeletionReport:
    """What a deletion took, or would take.

    Attributes:
        files, events, statuses: numbers of deleted records.
        size_bytes: content of the deleted files.
        freed_files: files that stay although an event they belonged to was deleted.
        shortened_events: events that stay but lost files.
        kept_statuses: statuses later than the limit that stay because earlier records refer to them.
        file_ids: contents to be removed, once the records are gone.
    """

    files: int = 0
    events: int = 0
    statuses: int = 0
    size_bytes: int = 0
    freed_files: int = 0
    shortened_events: int = 0
    kept_statuses: int = 0
    file_ids: Sequence[UUID] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        """Whether anything was deleted."""
        return bool(self.files or self.events or self.statuses)

    def as_dict(self) -> dict[str, int]:
        """The counts."""
        return {name: value for name, value in vars(self).items() if name != "file_ids"}


@dataclass(frozen=True, eq=False)
class Scope:
    """What is to be deleted: conditions on file records and on events."""

    files: ColumnElement[bool]
    events: ColumnElement[bool]


def between(camera_id: str | None, after: int | None, before: int | None) -> Scope:
    """Files and events of a camera (None: of all) strictly between `after` and `before` (None: no limit)."""

    def condition(camera: ColumnElement[str], time: ColumnElement[int]) -> ColumnElement[bool]:
        return and_(
            time.is_not(None),
            *([camera == camera_id] if camera_id is not None else []),
            *([time > after] if after is not None else []),
            *([time < before] if before is not None else []),
        )

    return Scope(
        condition(_FILE.c.camera_id, _FILE.c.file_time), condition(_EVENT.c.camera_id, _EVENT.c.event_time)
    )


def one_file(pk: int) -> Scope:
    """One file record."""
    return Scope(_FILE.c.id == pk, _EVENT.c.id.is_(None))


def one_event(pk: int, with_files: bool) -> Scope:
    """One event; with its files, but for those that belong to another event too."""
    if not with_files:
        return Scope(_FILE.c.id.is_(None), _EVENT.c.id == pk)
    own, other = _LINK.alias(), _LINK.alias()
    is_own = exists().where(own.c.file_pk == _FILE.c.id, own.c.event_pk == pk)
    is_shared = exists().where(other.c.file_pk == _FILE.c.id, other.c.event_pk != pk)
    return Scope(and_(is_own, ~is_shared), _EVENT.c.id == pk)


def count_scope(connection: Connection, scope: Scope) -> DeletionReport:
    """What `delete_scope` would take, without doing it."""
    rows = connection.execute(select(func.count(), func.sum(_FILE.c.file_size)).where(scope.files)).one()
    events = connection.execute(select(func.count()).select_from(_EVENT).where(scope.events)).scalar_one()
    return DeletionReport(
        files=rows[0],
        events=events,
        size_bytes=int(rows[1] or 0),
        freed_files=_cut_links(connection, _LINK.c.file_pk, and_(scope.events, not_(scope.files))),
        shortened_events=_cut_links(connection, _LINK.c.event_pk, and_(scope.files, not_(scope.events))),
    )


def _cut_links(connection: Connection, counted: ColumnElement[int], condition: ColumnElement[bool]) -> int:
    joined = _LINK.join(_FILE, _FILE.c.id == _LINK.c.file_pk).join(_EVENT, _EVENT.c.id == _LINK.c.event_pk)
    statement = select(func.count(distinct(counted))).select_from(joined).where(condition)
    return int(connection.execute(statement).scalar_one())


def delete_scope(connection: Connection, scope: Scope) -> DeletionReport:
    """Delete records with their metadata, links and tasks; their contents are the caller's to remove."""
    report = count_scope(connection, scope)
    file_ids = connection.execute(select(_FILE.c.file_id).where(scope.files)).scalars().all()
    # Files first: the scope of an event with its files looks at the links, which go with the event.
    connection.execute(delete(_FILE).where(scope.files))
    connection.execute(delete(_EVENT).where(scope.events))
    if report:
        marking_progress.forget(connection)
    return _with(report, file_ids=tuple(file_ids))


def delete_later(connection: Connection, camera_id: str, time: int) -> DeletionReport:
    """Delete everything of a camera that is strictly later than `time`, statuses included.

    A status that earlier records refer to (they can, when they came from another node) stays.
    """
    report = delete_scope(connection, between(camera_id, time, None))
    is_later = and_(_STATUS.c.camera_id == camera_id, _STATUS.c.valid_from > time)
    is_used = or_(
        exists().where(_FILE.c.status_pk == _STATUS.c.id), exists().where(_EVENT.c.status_pk == _STATUS.c.id)
    )
    kept = connection.execute(
        select(func.count()).select_from(_STATUS).where(and_(is_later, is_used))
    ).scalar_one()
    gone = connection.execute(delete(_STATUS).where(and_(is_later, not_(is_used)))).rowcount
    return _with(report, statuses=gone, kept_statuses=kept)


def _with(report: DeletionReport, **changes: Any) -> DeletionReport:
    return DeletionReport(**(vars(report) | changes))


def clear_tables(connection: Connection) -> None:
    """Delete every row of every table but the schema's own."""
    for table in reversed(tables.metadata.sorted_tables):
        connection.execute(delete(table))
