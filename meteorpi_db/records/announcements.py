"""What senders announced and have not finished to push: the memory of a receiver, shared by its processes.

Keyed by sender, type and id (B-29). A newer announcement replaces an older one of the same entity, misses
are not remembered, and forgetting one at any time is harmless: the sender is asked for it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update

from meteorpi_db import tables
from meteorpi_db.filestore.hashing import ContentFacts
from meteorpi_model import Event, FileRecord
from meteorpi_model.errors import InvalidDocumentError

KEPT_MILLISECONDS: Final = 24 * 3600 * 1000
"""An announcement that is not followed up for this long is forgotten."""

NOTED_FROM_BYTES: Final = 1 << 22
"""Digests of smaller contents are not noted: reading 4 MiB again takes less time than a durable commit."""

_PRUNE_ONE_IN: Final = 64
_ENTITY: Final = tables.announced_entity
_FILE: Final = tables.announced_file
_EVENT_TYPE: Final = "event"
_FILE_TYPE: Final = "file"
_IDS_AT_ONCE: Final = 500


@dataclass(frozen=True)
class AnnouncedFile:
    """What a sender said about a content that it may upload.

    Attributes:
        md5: hexadecimal, lower case; None where it was not said.
        size_bytes: None where it was not said.
    """

    md5: str | None
    size_bytes: int | None


def announce(connection: Connection, sender: str, entity: Event | FileRecord, time: int) -> None:
    """Remember `entity` and that `sender` may upload the content of its files; `time` in milliseconds."""
    entity_id = _id_of(entity)
    _forget_entity(connection, sender, entity, entity_id)
    connection.execute(
        insert(_ENTITY).values(
            sender=sender,
            entity_type=_type_of(entity),
            entity_id=entity_id,
            document=json.dumps(entity.as_dict(), separators=(",", ":")),
            announced_at=time,
        )
    )
    announced = {record.file_id: record for record in _files_of(entity) if record.file_id is not None}
    _forget_files(connection, sender, list(announced))
    if announced:
        rows = [
            {
                "sender": sender,
                "file_id": file_id,
                "md5": None if record.md5 is None else record.md5.lower(),
                "file_size": record.file_size or None,  # 0 may mean that the sender did not know
                "announced_at": time,
            }
            for file_id, record in announced.items()
        ]
        connection.execute(insert(_FILE), rows)
    if entity_id.int % _PRUNE_ONE_IN == 0:  # ids are random, so this comes now and then by itself
        prune(connection, time - KEPT_MILLISECONDS)


def announced(connection: Connection, sender: str, entity_id: UUID) -> Event | FileRecord | None:
    """The entity that `sender` announced last under `entity_id`, or None."""
    statement = (
        select(_ENTITY.c.entity_type, _ENTITY.c.document)
        .where(_ENTITY.c.sender == sender, _ENTITY.c.entity_id == entity_id)
        .order_by(_ENTITY.c.announced_at.desc(), _ENTITY.c.entity_type)
        .limit(1)
    )
    row = connection.execute(statement).first()
    if row is None:
        return None
    document = json.loads(row.document)
    return Event.from_dict(document) if row.entity_type == _EVENT_TYPE else FileRecord.from_dict(document)


def announced_file(connection: Connection, sender: str, file_id: UUID) -> AnnouncedFile | None:
    """What `sender` said about a content it may upload; None when it announced no entity that needs it."""
    statement = select(_FILE.c.md5, _FILE.c.file_size).where(
        _FILE.c.sender == sender, _FILE.c.file_id == file_id
    )
    row = connection.execute(statement).first()
    return None if row is None else AnnouncedFile(row.md5, row.file_size)


def note_received(connection: Connection, sender: str, file_id: UUID, facts: ContentFacts) -> None:
    """Keep the digests of a content that has come, so that the import need not read it again for them."""
    forget_received(connection, file_id)  # what others sent under this id before is not what is held now
    statement = update(_FILE).where(_FILE.c.sender == sender, _FILE.c.file_id == file_id)
    values = {"md5": facts.md5, "file_size": facts.size, "sha256": facts.sha256, "crc32": facts.crc32}
    connection.execute(statement.values(values))


def received_facts(connection: Connection, file_id: UUID) -> ContentFacts | None:
    """The digests noted for a content that came from any sender; None when nobody noted them."""
    statement = select(_FILE).where(_FILE.c.file_id == file_id, _FILE.c.sha256.is_not(None)).limit(1)
    row = connection.execute(statement).first()
    if row is None:
        return None
    return ContentFacts(size=row.file_size, md5=row.md5, sha256=row.sha256, crc32=row.crc32)


def forget_received(connection: Connection, file_id: UUID) -> None:
    """Drop the digests of a content that was thrown away."""
    connection.execute(update(_FILE).where(_FILE.c.file_id == file_id).values(sha256=None, crc32=None))


def forget(connection: Connection, sender: str, entity: Event | FileRecord) -> None:
    """Drop the memory of an entity that is complete, and of its files."""
    _forget_entity(connection, sender, entity, _id_of(entity))
    _forget_files(connection, sender, [record.file_id for record in _files_of(entity) if record.file_id])


def prune(connection: Connection, before: int) -> int:
    """Drop what was announced before `before` (milliseconds); gives the number of entities dropped."""
    connection.execute(delete(_FILE).where(_FILE.c.announced_at < before))
    return connection.execute(delete(_ENTITY).where(_ENTITY.c.announced_at < before)).rowcount


def _forget_entity(connection: Connection, sender: str, entity: Event | FileRecord, entity_id: UUID) -> None:
    connection.execute(
        delete(_ENTITY).where(
            _ENTITY.c.sender == sender,
            _ENTITY.c.entity_id == entity_id,
            _ENTITY.c.entity_type == _type_of(entity),
        )
    )


def _forget_files(connection: Connection, sender: str, file_ids: list[UUID]) -> None:
    for start in range(0, len(file_ids), _IDS_AT_ONCE):
        some = file_ids[start : start + _IDS_AT_ONCE]
        connection.execute(delete(_FILE).where(_FILE.c.sender == sender, _FILE.c.file_id.in_(some)))


def _files_of(entity: Event | FileRecord) -> list[FileRecord]:
    return entity.file_records if isinstance(entity, Event) else [entity]


def _type_of(entity: Event | FileRecord) -> str:
    return _EVENT_TYPE if isinstance(entity, Event) else _FILE_TYPE


def _id_of(entity: Event | FileRecord) -> UUID:
    entity_id = entity.event_id if isinstance(entity, Event) else entity.file_id
    if entity_id is None:
        raise InvalidDocumentError("an announced entity needs its id")
    return entity_id
