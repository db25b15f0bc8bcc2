"""Events: rows, metadata, their files in order, and finding them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, insert, select

from meteorpi_db import limits, tables
from meteorpi_db.dialects import in_chunks
from meteorpi_db.records import files, metas
from meteorpi_db.records.files import Narrow, Origin, time_offset
from meteorpi_db.records.statuses import StatusKey
from meteorpi_db.searching import FEW, Found, plan_search, total_of
from meteorpi_model import Event, EventSearch, FileRecord, Meta, NSString, milliseconds_to_utc_datetime
from meteorpi_model.errors import InvalidDocumentError, NotFoundError, UnknownEntityError

_EVENT = tables.event
_LINK = tables.event_file
_STATUS_ID_OF_EVENT = (
    select(tables.camera_status.c.status_id)
    .where(tables.camera_status.c.id == _EVENT.c.status_pk)
    .scalar_subquery()
    .label("status_id")
)


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event that is going to be registered.

    Args:
        camera_id: producer.
        event_time: when it began, UTC.
        event_type: what kind of event.
        file_ids: its files, registered before, in order.
        metas: ordered metadata.
    """

    camera_id: str
    event_time: datetime
    event_type: NSString
    file_ids: Sequence[UUID] = field(default=())
    metas: Sequence[Meta] = field(default=())


@dataclass(frozen=True, kw_only=True)
class CheckedEvent:
    """An event whose members were found fit to be stored."""

    event_id: UUID
    camera_id: str
    time: int
    columns: dict[str, object]
    file_ids: tuple[UUID, ...]
    meta_rows: list[metas.MetaRow]


def check_event(new: NewEvent, event_id: UUID) -> CheckedEvent:
    """Check `new`; raises `InvalidDocumentError` for the first member that cannot be stored."""
    time = limits.checked_time(new.event_time, "event_time")
    camera_id = limits.checked_camera_id(new.camera_id)
    return CheckedEvent(
        event_id=limits.checked_id(event_id, "event_id"),
        camera_id=camera_id,
        time=time,
        columns={
            "event_id": event_id,
            "camera_id": camera_id,
            "event_time": time,
            "time_offset": time_offset(time),
            "event_type": limits.checked_type(new.event_type, "event_type"),
        },
        file_ids=tuple(limits.checked_id(file_id, "file_id") for file_id in new.file_ids),
        meta_rows=metas.meta_rows(new.metas, time),
    )


def file_ids_of(records: Sequence[FileRecord] | None) -> tuple[UUID, ...]:
    """The ids of registered records.

    Raises:
        UnknownEntityError: one of them was never registered.
    """
    ids = []
    for record in records or ():
        if not isinstance(record, FileRecord):
            raise InvalidDocumentError(f"not a file record: {record!r}", pointer="/files")
        if record.file_id is None:
            raise UnknownEntityError("a file of the event has not been registered", pointer="/files")
        ids.append(record.file_id)
    return tuple(ids)


def insert_event(connection: Connection, checked: CheckedEvent, status: StatusKey, origin: Origin) -> int:
    """Store an event with its metadata and links; gives its row number.

    Raises:
        UnknownEntityError: one of its files is not held.
        InvalidDocumentError: a file is named twice.
    """
    file_pks = _pks_of_files(connection, checked.file_ids)
    row = {**checked.columns, "status_pk": status.pk, **origin.columns()}
    pk = files.inserted_pk(connection.execute(insert(_EVENT).values(row)))
    links = [
        {"event_pk": pk, "position": position, "file_pk": file_pks[file_id]}
        for position, file_id in enumerate(checked.file_ids)
    ]
    if links:
        connection.execute(insert(_LINK), links)
    metas.insert_metas(connection, tables.event_meta, {pk: checked.meta_rows})
    return pk


def _pks_of_files(connection: Connection, file_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    if len(set(file_ids)) < len(file_ids):
        raise InvalidDocumentError("a file appears twice in the event", pointer="/files")
    file_record = tables.file_record.c
    pks: dict[UUID, int] = {}
    for chunk in in_chunks(connection, file_ids):
        found = connection.execute(
            select(file_record.file_id, file_record.id).where(file_record.file_id.in_(chunk))
        )
        pks.update((row.file_id, row.id) for row in found)
    for file_id in file_ids:
        if file_id not in pks:
            raise UnknownEntityError(
                f"file {file_id.hex} is not held: register it before its event",
                pointer="/files",
                entity_id=file_id,
            )
    return pks


def pk_of(connection: Connection, event_id: UUID) -> int | None:
    """Row number of an event, None when it is not held."""
    pk: int | None = connection.execute(select(_EVENT.c.id).where(_EVENT.c.event_id == event_id)).scalar()
    return pk


def event_by_id(connection: Connection, event_id: UUID) -> Event | None:
    """The event with that UUID."""
    pk = pk_of(connection, event_id)
    return None if pk is None else _events_by_pk(connection, lambda s, column: s.where(column == pk))[pk]


def require_event(connection: Connection, event_id: UUID) -> Event:
    """The event with that UUID; `NotFoundError` when it is not held."""
    event = event_by_id(connection, event_id)
    if event is None:
        raise NotFoundError("no such event", entity_id=event_id)
    return event


def _events_by_pk(connection: Connection, narrow: Narrow) -> dict[int, Event]:
    """The events that `narrow` leaves, by row number; five statements however many they are."""
    rows = connection.execute(narrow(select(_EVENT, _STATUS_ID_OF_EVENT), _EVENT.c.id)).all()
    items = connection.execute(narrow(select(tables.event_meta), tables.event_meta.c.owner_pk))
    meta = metas.metas_by_owner(items)
    records = _files_of_events(connection, narrow)
    return {row.id: _event_from(row, records.get(row.id, []), meta.get(row.id, [])) for row in rows}


def _files_of_events(connection: Connection, narrow: Narrow) -> dict[int, list[FileRecord]]:
    links = connection.execute(narrow(select(_LINK), _LINK.c.event_pk)).all()
    pks = {link.file_pk for link in links}
    if not pks:
        return {}
    records = files.files_by_pk(connection, _narrow_files(pks, narrow))
    of_event: defaultdict[int, list[FileRecord]] = defaultdict(list)
    for link in sorted(links, key=lambda link: (link.event_pk, link.position)):
        of_event[link.event_pk].append(records[link.file_pk])
    return of_event


def _narrow_files(pks: set[int], narrow_events: Narrow) -> Narrow:
    if len(pks) <= FEW:
        return lambda statement, column: statement.where(column.in_(sorted(pks)))

    def narrow(statement: Select[Any], column: ColumnElement[int]) -> Select[Any]:
        return narrow_events(statement.join(_LINK, _LINK.c.file_pk == column), _LINK.c.event_pk)

    return narrow


def _event_from(row: Row[Any], records: list[FileRecord], meta: list[Meta]) -> Event:
    return Event(
        camera_id=row.camera_id,
        event_time=milliseconds_to_utc_datetime(row.event_time),
        event_id=row.event_id,
        event_type=NSString.from_string(row.event_type),
        status_id=row.status_id,
        file_records=records,
        meta=meta,
    )


def found_events(connection: Connection, found: Found) -> list[Event]:
    """The events of a search result, in its order."""
    if not found.keys:
        return []
    by_pk = _events_by_pk(connection, found.narrow)
    return [by_pk[key.pk] for key in found.keys if key.pk in by_pk]


def search_events(connection: Connection, search: EventSearch) -> tuple[int, list[Event]]:
    """Number of all matches, and the page of them that `search` asks for."""
    plan = plan_search(connection, search)
    found = plan.find(connection, search.limit, search.skip)
    count = total_of(plan, connection, found, search.limit, search.skip)
    return count, found_events(connection, found)
