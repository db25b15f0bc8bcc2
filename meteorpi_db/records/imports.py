"""Records that come from other nodes: stored with the identity, times and status they have there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection

from meteorpi_db import limits
from meteorpi_db.filestore.hashing import ContentFacts
from meteorpi_db.records import events, files, statuses
from meteorpi_db.records.events import NewEvent
from meteorpi_db.records.files import NewFile, Origin
from meteorpi_db.records.statuses import StatusKey
from meteorpi_model import CameraStatus, Event, FileRecord
from meteorpi_model.errors import (
    DigestMismatchError,
    InvalidDocumentError,
    UnknownEntityError,
    UnknownStatusError,
)

Value = TypeVar("Value")

FactsById = Mapping[UUID, ContentFacts]
"""What is known of the contents that came with the records."""


def import_status(connection: Connection, status: CameraStatus) -> bool:
    """Store a status with its own id, start and software version; False when it is held already."""
    if not isinstance(status, CameraStatus):
        raise InvalidDocumentError(f"not a camera status: {status!r}")
    status_id = limits.checked_id(status.status_id, "status_id")
    valid_from = limits.checked_time(status.valid_from, "valid_from")
    row = statuses.status_row(status, status.camera_id, status_id, valid_from, status.software_version)
    if statuses.key_of(connection, status_id) is not None:
        return False
    statuses.insert_status(connection, row)
    return True


def import_file(connection: Connection, record: FileRecord, facts: FactsById, origin: Origin) -> bool:
    """Store a record under its own id; False when it is held already.

    Raises:
        UnknownStatusError: its status is not held.
        UnknownEntityError: its content is not in the store.
        DigestMismatchError: the content is not the one that the record describes.
    """
    file_id = checked_record_id(record)
    if files.pk_of(connection, file_id) is not None:
        return False
    new = NewFile(
        mime_type=record.mime_type,
        semantic_type=record.semantic_type,
        file_time=_required(record.file_time, "file_time"),
        metas=record.meta,
        file_name=record.file_name,
    )
    checked = files.check_file(new, file_id, record.camera_id)
    status = _status(connection, record.status_id)
    files.insert_file(connection, checked, status, _content(record, file_id, facts), origin)
    return True


def checked_record_id(record: FileRecord) -> UUID:
    """The id of a record that is going to be imported."""
    if not isinstance(record, FileRecord):
        raise InvalidDocumentError(f"not a file record: {record!r}")
    return limits.checked_id(record.file_id, "file_id")


def checked_records(entity: Event | FileRecord) -> list[FileRecord]:
    """The file records of what is going to be imported, each with its id."""
    if not isinstance(entity, Event | FileRecord):
        raise InvalidDocumentError(f"neither an event nor a file record: {entity!r}")
    records = entity.file_records if isinstance(entity, Event) else [entity]
    for record in records:
        checked_record_id(record)
    return records


def _content(record: FileRecord, file_id: UUID, facts: FactsById) -> ContentFacts:
    content = facts.get(file_id)
    if content is None:
        raise UnknownEntityError(f"the content of file {file_id.hex} is not here", entity_id=file_id)
    if record.md5 is not None and limits.checked_md5(record.md5) != content.md5:
        raise DigestMismatchError(
            f"the content of file {file_id.hex} does not have the MD5 of its record",
            entity_id=file_id,
            expected=record.md5,
            received=content.md5,
        )
    return content


def import_event(connection: Connection, event: Event, facts: FactsById, origin: Origin) -> bool:
    """Store an event under its own id, and those of its files that are not held; False when it is held."""
    if not isinstance(event, Event):
        raise InvalidDocumentError(f"not an event: {event!r}")
    event_id = limits.checked_id(event.event_id, "event_id")
    if events.pk_of(connection, event_id) is not None:
        return False
    for record in event.file_records:
        import_file(connection, record, facts, origin)
    new = NewEvent(
        camera_id=event.camera_id,
        event_time=event.event_time,
        event_type=event.event_type,
        file_ids=events.file_ids_of(event.file_records),
        metas=event.meta,
    )
    checked = events.check_event(new, event_id)
    events.insert_event(connection, checked, _status(connection, event.status_id), origin)
    return True


def _status(connection: Connection, status_id: object) -> StatusKey:
    """The status with the id that the sender gave: which one is in force here may differ (B-20)."""
    wanted = limits.checked_id(status_id, "status_id")
    key = statuses.key_of(connection, wanted)
    if key is None:
        raise UnknownStatusError(f"status {wanted.hex} is not held here", entity_id=wanted)
    return key


def _required(value: Value | None, name: str) -> Value:
    if value is None:
        raise InvalidDocumentError(f"{name} is missing", pointer=f"/{name}")
    return value
