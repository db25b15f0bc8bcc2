"""Which records may be pruned: candidates by age, and the export configurations that protect them.

Everything is asked for in sets: one statement for the candidates of a batch, one for each configuration, and
two for tasks that are under way. A configuration protects an entity when

* a task of it for the entity is not complete, whether or not the entity still matches the search, or
* the entity matches the search and no task of it is complete: it was not marked yet, or the search is new.

An event protects its files, since they travel with it, and a task for one of its files (made while the file
belonged to no event) protects the event.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from meteorpi_db import tables
from meteorpi_db.dialects import ConstraintError, TransactionConflictError, in_chunks
from meteorpi_db.dialects.hints import unindexed
from meteorpi_db.exporting import marking_progress
from meteorpi_db.exporting.tasks import COMPLETE
from meteorpi_db.sql_builder import EVENTS, FILES, Condition, Kind, builder_for, status_in_region
from meteorpi_model import EventSearch, FileRecordSearch

BATCH: Final = 500
"""Candidates looked at, and deleted, in one transaction; twice as many fit into the lists of any engine."""

_DAY_MILLISECONDS: Final = "86400000"
"""As text, so that GROUP BY repeats the expression and not a parameter."""

_FILE = tables.file_record
_EVENT = tables.event
_LINK = tables.event_file
_TASK = tables.export_task
_CONFIG = tables.export_config


@dataclass(frozen=True, eq=False)
class Guard:
    """An export configuration that protects what it has not delivered.

    Attributes:
        config_pk, config_id, name: the configuration.
        kind: what it exports.
        matches: what an entity of that kind must meet to be exported.
    """

    config_pk: int
    config_id: UUID
    name: str
    kind: Kind
    matches: Condition


class Candidate(NamedTuple):
    """An entity that may go unless something protects it; in order of time, oldest first.

    Attributes:
        time: milliseconds.
        pk: row number.
        camera_id: producer.
        files: how many files go with it: itself, or those of an event.
        size_bytes: of their contents.
        file_id: of a file; None for an event.
    """

    time: int
    pk: int
    camera_id: str
    files: int
    size_bytes: int
    file_id: UUID | None


class Window(NamedTuple):
    """An interval of times, both ends included, in milliseconds."""

    first: int
    last: int


def guards(connection: Connection, *, ignore_disabled: bool = False) -> list[Guard]:
    """The export configurations that protect.

    Args:
        connection: to read with.
        ignore_disabled: leave out those that a person disabled; suspended ones count all the same.

    Raises:
        InvalidDocumentError: a stored search cannot be read, so nobody knows what it protects.
    """
    statement = select(_CONFIG).order_by(_CONFIG.c.id)
    if ignore_disabled:
        statement = statement.where(or_(_CONFIG.c.is_enabled.is_(True), _CONFIG.c.suspended_at.is_not(None)))
    return [_guard_from(row) for row in connection.execute(statement).all()]


def _guard_from(row: Row[Any]) -> Guard:
    document = json.loads(row.search)
    document.pop("exclude_export_to", None)  # marking puts the configuration's own id there
    is_file = row.export_type == "file"
    search = FileRecordSearch.from_dict(document) if is_file else EventSearch.from_dict(document)
    kind = FILES if is_file else EVENTS
    builder = builder_for(search)
    conditions = [criterion.condition for criterion in builder.criteria]
    conditions += builder.time_bounds(unindexed(kind.time))
    region = status_in_region(search)
    if region is not None:
        in_region = select(tables.camera_status.c.id).where(region)
        conditions.append(unindexed(kind.table.c.status_pk).in_(in_region))
    return Guard(row.id, row.config_id, row.name, kind, and_(kind.pk.is_not(None), *conditions))


def hold_configurations(connection: Connection) -> None:
    """Hold off marking, and changes of configurations, until this transaction has ended."""
    connection.execute(update(_CONFIG).values(failures=_CONFIG.c.failures))


def windows(connection: Connection, kind: Kind, after: int | None, before: int | None) -> list[Window]:
    """Intervals, oldest first, that hold all entities from `after` on and earlier than `before`.

    Each holds about a batch. Within one, engines that keep their indices newest first (Firebird) sort a
    little in place of the whole table for each batch.
    """
    day = (kind.time // literal_column(_DAY_MILLISECONDS, kind.time.type)).label("day")
    statement = select(
        day,
        func.min(kind.time).label("first_time"),
        func.max(kind.time).label("last_time"),
        func.count().label("entities"),
    ).where(*_bounds(kind.time, after, before))
    rows = sorted(connection.execute(statement.group_by(day)), key=lambda row: int(row.first_time))
    found: list[Window] = []
    room = 0
    for row in rows:
        if row.entities <= room:
            found[-1] = Window(found[-1].first, row.last_time)
            room -= row.entities
        else:
            found.append(Window(row.first_time, row.last_time))
            room = BATCH - row.entities
    return found


def _bounds(time: ColumnElement[int], after: int | None, before: int | None) -> list[Condition]:
    return [
        time.is_not(None),
        *([time >= after] if after is not None else []),
        *([time < before] if before is not None else []),
    ]


def candidates(
    connection: Connection, kind: Kind, window: Window, behind: tuple[int, int] | None
) -> list[Candidate]:
    """The oldest entities of a window: files that belong to no event, or events with their sizes.

    Args:
        connection: to read with.
        kind: which of both.
        window: their times.
        behind: time and row number to go on behind; None begins with the window.
    """
    columns = [kind.time.label("entity_time"), kind.pk.label("id"), kind.table.c.camera_id]
    if kind is FILES:
        columns += [_FILE.c.file_id, _FILE.c.file_size]
    statement: Select[Any] = select(*columns).where(kind.time >= window.first, kind.time <= window.last)
    if behind is not None:
        time, pk = behind
        is_behind = or_(unindexed(kind.time) > time, unindexed(kind.pk) > pk)
        statement = statement.where(kind.time >= time, is_behind)
    if kind is FILES:
        statement = statement.where(~exists().where(_LINK.c.file_pk == _FILE.c.id))
    rows = connection.execute(statement.order_by(kind.time, kind.pk).limit(BATCH)).all()
    if kind is FILES:
        return [
            Candidate(row.entity_time, row.id, row.camera_id, 1, row.file_size, row.file_id) for row in rows
        ]
    sizes = _sizes_of_events(connection, [row.id for row in rows])
    return [Candidate(row.entity_time, row.id, row.camera_id, *sizes[row.id], None) for row in rows]


def _sizes_of_events(connection: Connection, pks: Sequence[int]) -> Mapping[int, tuple[int, int]]:
    """Number and bytes of the files of each event."""
    sizes: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    statement = (
        select(_LINK.c.event_pk, func.count().label("files"), func.sum(_FILE.c.file_size).label("size"))
        .join(_FILE, _FILE.c.id == _LINK.c.file_pk)
        .where(_LINK.c.event_pk.in_(pks))
        .group_by(_LINK.c.event_pk)
    )
    if pks:
        sizes.update({row.event_pk: (row.files, int(row.size)) for row in connection.execute(statement)})
    return sizes


def protected(
    connection: Connection, kind: Kind, found: Sequence[Candidate], watchers: Sequence[Guard]
) -> dict[int, set[int]]:
    """Row numbers of candidates that may not go, by the row number of the configuration that says so."""
    kept: defaultdict[int, set[int]] = defaultdict(set)
    if not found or not watchers:
        return kept
    # By their times in place of a list of 500 numbers, which Firebird takes longer to read than to answer.
    span = and_(kind.time >= found[0].time, kind.time <= found[-1].time)
    for guard in watchers:
        if guard.kind is kind:
            kept[guard.config_pk].update(connection.execute(_undelivered(guard, span)).scalars())
    counted = {guard.config_pk for guard in watchers}
    for pk, config_pk in _open_tasks(connection, kind, span):
        if config_pk in counted:
            kept[config_pk].add(pk)
    pks = {candidate.pk for candidate in found}
    return {config_pk: held & pks for config_pk, held in kept.items()}


def _undelivered(guard: Guard, span: Condition) -> Select[Any]:
    kind = guard.kind
    is_delivered = exists().where(
        kind.task_pk == kind.pk,
        unindexed(_TASK.c.config_pk) == guard.config_pk,
        unindexed(_TASK.c.state) == COMPLETE,
    )
    return select(kind.pk).where(span, guard.matches, ~is_delivered)


def _open_tasks(connection: Connection, kind: Kind, span: Condition) -> Iterator[tuple[int, int]]:
    """Row numbers of entities with a task that is not complete, and of the configuration of the task."""
    is_open = unindexed(_TASK.c.state) != COMPLETE
    own = select(kind.pk.label("entity_pk"), _TASK.c.config_pk).join(_TASK, kind.task_pk == kind.pk)
    statements = [own]
    if kind is EVENTS:
        of_files = select(_EVENT.c.id.label("entity_pk"), _TASK.c.config_pk)
        of_files = of_files.join(_LINK, _LINK.c.event_pk == _EVENT.c.id)
        statements.append(of_files.join(_TASK, _TASK.c.file_pk == _LINK.c.file_pk))
    for statement in statements:
        for row in connection.execute(statement.where(span, is_open)):
            yield row.entity_pk, row.config_pk


def without_shared_files(
    connection: Connection, going: Sequence[Candidate]
) -> tuple[list[Candidate], Sequence[Row[Any]]]:
    """What really goes with events: files that belong to an event which stays do not.

    Returns:
        The events with the numbers and sizes of the files that go, a file of several of them counted once;
        and these files (`id`, `file_id`).
    """
    pks = [candidate.pk for candidate in going]
    if not pks:
        return [], []
    other = _LINK.alias()
    owned = select(_LINK.c.file_pk, func.min(_LINK.c.event_pk).label("event_pk"))
    first = owned.where(_LINK.c.event_pk.in_(pks)).group_by(_LINK.c.file_pk).subquery()
    is_shared = exists().where(other.c.file_pk == first.c.file_pk, other.c.event_pk.not_in(pks))
    statement: Select[Any] = select(_FILE.c.id, _FILE.c.file_id, _FILE.c.file_size, first.c.event_pk)
    statement = statement.join(first, first.c.file_pk == _FILE.c.id).where(~is_shared)
    rows = connection.execute(statement).all()
    sizes: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        sizes[row.event_pk].append(row.file_size)
    counted = [each._replace(files=len(sizes[each.pk]), size_bytes=sum(sizes[each.pk])) for each in going]
    return counted, rows


def delete_files(connection: Connection, pks: Collection[int]) -> None:
    """Delete file records with their metadata, links and tasks."""
    _delete(connection, _FILE, pks)


def delete_events(connection: Connection, pks: Collection[int]) -> None:
    """Delete events with their metadata, links and tasks."""
    _delete(connection, _EVENT, pks)


def _delete(connection: Connection, table: Table, pks: Collection[int]) -> None:
    if not pks:
        return
    try:
        for chunk in in_chunks(connection, pks):
            connection.execute(delete(table).where(table.c.id.in_(chunk)))
    except ConstraintError as error:
        # Firebird says so when somebody has made one of the files part of an event since our snapshot.
        raise TransactionConflictError("a record to be pruned has just been put to use") from error
    marking_progress.forget(connection)
