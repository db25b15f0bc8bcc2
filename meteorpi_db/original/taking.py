"""Recording what was read from an original: a page of records in one transaction, repeatable at any point.

Identities are kept, so what is held already is recognised and left as it is, and replication with other nodes
goes on as if nothing had happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, insert, select, update

from meteorpi_db import tables
from meteorpi_db.dialects import in_chunks
from meteorpi_db.exporting.exports import ACTIVE
from meteorpi_db.exporting.tasks import COMPLETE
from meteorpi_db.filestore import ContentFacts
from meteorpi_db.records import events, files, statuses
from meteorpi_db.records.events import CheckedEvent
from meteorpi_db.records.files import CheckedFile, Origin
from meteorpi_db.records.statuses import StatusKey
from meteorpi_db.sql_builder import FILES, Kind
from meteorpi_model.errors import UnknownStatusError

_LINK = tables.event_file
_TASK = tables.export_task
_CONFIG = tables.export_config


@dataclass(frozen=True)
class TakenFile:
    """A file that is ready to be recorded.

    Attributes:
        checked: the record.
        facts: of its content, which is in the store.
        status_id: its status; None when the original names none that is known.
        origin: who recorded it, and when.
    """

    checked: CheckedFile
    facts: ContentFacts
    status_id: UUID | None
    origin: Origin


@dataclass(frozen=True)
class TakenEvent:
    """An event that is ready to be recorded, with all of its files in order, whether they are held or not."""

    checked: CheckedEvent
    file_ids: Sequence[UUID]
    status_id: UUID | None
    origin: Origin


@dataclass(frozen=True)
class TakenTask:
    """What the original knows of the export of one entity.

    Attributes:
        entity_id, config_id: of what by which configuration.
        is_complete: whether its receiver has confirmed it.
        time: when, or when it was due, milliseconds.
    """

    entity_id: UUID
    config_id: UUID
    is_complete: bool
    time: int


@dataclass
class Outcome:
    """What one transaction did.

    Attributes:
        taken: identities recorded.
        reasons: why others were not, or not wholly.
    """

    taken: set[UUID] = field(default_factory=set)
    reasons: list[tuple[UUID, str]] = field(default_factory=list)


def record_files(connection: Connection, ready: Sequence[TakenFile]) -> Outcome:
    """Record files that are not held."""
    outcome = Outcome()
    held = files.held_ids(connection, [each.checked.file_id for each in ready])
    fresh: defaultdict[Origin, list[tuple[CheckedFile, StatusKey, ContentFacts]]] = defaultdict(list)
    for each in ready:
        file_id = each.checked.file_id
        if file_id in held or file_id in outcome.taken:
            continue
        try:
            status = _status(connection, each.status_id, each.checked.camera_id, each.checked.time)
        except UnknownStatusError as error:
            outcome.reasons.append((file_id, error.detail))
            continue
        fresh[each.origin].append((each.checked, status, each.facts))
        outcome.taken.add(file_id)
    for origin, items in fresh.items():
        files.insert_files(connection, items, origin)
    return outcome


def _status(connection: Connection, status_id: UUID | None, camera_id: str, time: int) -> StatusKey:
    """The status the original names; one in force at that time when that could not be taken."""
    named = None if status_id is None else statuses.key_of(connection, status_id)
    return named or statuses.require_key_at(connection, camera_id, time)


def record_events(connection: Connection, ready: Sequence[TakenEvent]) -> Outcome:
    """Record events that are not held, and add files that came only now to those that are."""
    outcome = Outcome()
    file_pks = _pks(connection, FILES, {file_id for each in ready for file_id in each.file_ids})
    for each in ready:
        event_id = each.checked.event_id
        pk = events.pk_of(connection, event_id)
        if pk is None:
            try:
                status = _status(connection, each.status_id, each.checked.camera_id, each.checked.time)
            except UnknownStatusError as error:
                outcome.reasons.append((event_id, error.detail))
                continue
            pk = events.insert_event(connection, each.checked, status, each.origin)
            outcome.taken.add(event_id)
        _link(connection, pk, each.file_ids, file_pks)
        outcome.reasons += [
            (event_id, f"it is recorded without file {file_id.hex}, which is not here")
            for file_id in each.file_ids
            if file_id not in file_pks
        ]
    return outcome


def _pks(connection: Connection, kind: Kind, ids: Iterable[UUID]) -> dict[UUID, int]:
    """Row numbers of those of `ids` that are held."""
    found: dict[UUID, int] = {}
    for chunk in in_chunks(connection, ids):
        statement = select(kind.entity_id.label("entity_id"), kind.pk.label("pk"))
        rows = connection.execute(statement.where(kind.entity_id.in_(chunk)))
        found.update((row.entity_id, row.pk) for row in rows)
    return found


def _link(connection: Connection, pk: int, file_ids: Sequence[UUID], file_pks: Mapping[UUID, int]) -> None:
    """Make files part of an event, each at its place in the original, where they are not yet."""
    rows = connection.execute(select(_LINK.c.position, _LINK.c.file_pk).where(_LINK.c.event_pk == pk)).all()
    positions, linked = {row.position for row in rows}, {row.file_pk for row in rows}
    links = [
        {"event_pk": pk, "position": position, "file_pk": file_pks[file_id]}
        for position, file_id in enumerate(file_ids)
        if file_id in file_pks and position not in positions and file_pks[file_id] not in linked
    ]
    if links:
        connection.execute(insert(_LINK), links)


def record_tasks(connection: Connection, kind: Kind, ready: Sequence[TakenTask]) -> tuple[int, int]:
    """Record what was exported, so that nothing is sent again, and what is still to be.

    Returns:
        Numbers of tasks that are new, and that were held.
    """
    if not ready:
        return 0, 0
    # Holds off marking, which would make the same tasks.
    connection.execute(update(_CONFIG).values(failures=_CONFIG.c.failures))
    rows = connection.execute(select(_CONFIG.c.config_id, _CONFIG.c.id)).all()
    config_pks = {row.config_id: row.id for row in rows}
    entity_pks = _pks(connection, kind, {each.entity_id for each in ready})
    states, fresh, present = _states(connection, kind, entity_pks.values()), list[dict[str, object]](), 0
    for each in ready:
        entity_pk, config_pk = entity_pks.get(each.entity_id), config_pks.get(each.config_id)
        if entity_pk is None or config_pk is None:
            continue  # what could not be taken itself has been reported
        state = states.get((entity_pk, config_pk))
        if state is None:
            fresh.append(_task_row(each, kind, entity_pk, config_pk))
            states[entity_pk, config_pk] = COMPLETE  # the same task twice is one
            continue
        present += 1
        if state != COMPLETE and each.is_complete:
            is_same = (kind.task_pk == entity_pk) & (_TASK.c.config_pk == config_pk)
            connection.execute(update(_TASK).where(is_same).values(state=COMPLETE, completed_at=each.time))
    if fresh:
        connection.execute(insert(_TASK), fresh)
    return len(fresh), present


def _states(connection: Connection, kind: Kind, entity_pks: Iterable[int]) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for chunk in in_chunks(connection, entity_pks):
        statement = select(kind.task_pk.label("entity_pk"), _TASK.c.config_pk, _TASK.c.state)
        rows = connection.execute(statement.where(kind.task_pk.in_(chunk)))
        found.update(((row.entity_pk, row.config_pk), row.state) for row in rows)
    return found


def _task_row(task: TakenTask, kind: Kind, entity_pk: int, config_pk: int) -> dict[str, object]:
    return {
        kind.task_column: entity_pk,
        "config_pk": config_pk,
        "state": COMPLETE if task.is_complete else ACTIVE,
        "due_at": task.time,
        "created_at": task.time,
        "completed_at": task.time if task.is_complete else None,
        "failures": 0,
    }
