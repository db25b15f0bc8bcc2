"""File records: rows, metadata, and finding them again.

Everything here works on rows. Where the content is, and in which order content and row come and go, is the
business of :mod:`meteorpi_db.records.contents`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, CursorResult, Row, Select, and_, func, insert, select

from meteorpi_db import limits, tables
from meteorpi_db.dialects import in_chunks
from meteorpi_db.filestore.hashing import ContentFacts
from meteorpi_db.records import metas
from meteorpi_db.records.statuses import StatusKey
from meteorpi_db.searching import Found, plan_search, total_of
from meteorpi_db.sql_builder import DAY_SECONDS
from meteorpi_model import (
    FileRecord,
    FileRecordSearch,
    Meta,
    NSString,
    get_day_and_offset,
    milliseconds_to_utc_datetime,
)
from meteorpi_model.errors import MeteorError

Narrow: TypeAlias = Callable[[Select[Any], ColumnElement[int]], Select[Any]]
"""Restricts a statement to some entities, whose row numbers are in the given column."""

_FILE = tables.file_record
_STATUS = tables.camera_status

STATUS_ID_OF_FILE = (
    select(_STATUS.c.status_id).where(_STATUS.c.id == _FILE.c.status_pk).scalar_subquery().label("status_id")
)
"""In place of a join, which some engines would start with the statuses."""


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """A file that is going to be registered.

    Args:
        mime_type: format, such as ``image/png``.
        semantic_type: meaning.
        file_time: when the camera made it, UTC.
        metas: ordered metadata.
        camera_id: producer; None for the installation's own camera.
        file_name: suggested name, or None.
    """

    mime_type: str
    semantic_type: NSString
    file_time: datetime
    metas: Sequence[Meta] = field(default=())
    camera_id: str | None = None
    file_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A `NewFile` or an imported record whose members were found fit to be stored."""

    file_id: UUID
    camera_id: str
    time: int
    columns: dict[str, object]
    meta_rows: list[metas.MetaRow]
    metas: list[Meta]


def check_file(new: NewFile, file_id: UUID, camera_id: str) -> CheckedFile:
    """Check `new`; raises `InvalidDocumentError` for the first member that cannot be stored."""
    time = limits.checked_time(new.file_time, "file_time")
    rows = metas.meta_rows(new.metas, time)
    return CheckedFile(
        file_id=limits.checked_id(file_id, "file_id"),
        camera_id=limits.checked_camera_id(camera_id),
        time=time,
        columns={
            "file_id": file_id,
            "camera_id": camera_id,
            "file_time": time,
            "time_offset": time_offset(time),
            "mime_type": limits.checked_text(new.mime_type, "mime_type", tables.NAME_LENGTH),
            "semantic_type": limits.checked_type(new.semantic_type, "semantic_type"),
            "file_name": limits.checked_optional_text(new.file_name, "file_name", tables.NAME_LENGTH),
        },
        meta_rows=rows,
        metas=metas.stored_form(new.metas),
    )


def time_offset(time: int) -> int:
    """Whole seconds since the midday before `time` (milliseconds)."""
    offset = get_day_and_offset(milliseconds_to_utc_datetime(time))["seconds"]
    return min(offset, DAY_SECONDS - 1)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who stores a record, and when (milliseconds); `imported_by` None for what was made here."""

    registered_at: int
    imported_by: str | None = None

    def columns(self) -> dict[str, object]:
        """The columns that keep it."""
        imported_at = None if self.imported_by is None else self.registered_at
        return {
            "registered_at": self.registered_at,
            "imported_by": self.imported_by,
            "imported_at": imported_at,
        }


def insert_file(
    connection: Connection, checked: CheckedFile, status: StatusKey, facts: ContentFacts, origin: Origin
) -> int:
    """Store one record with its metadata; gives its row number."""
    pk = inserted_pk(connection.execute(insert(_FILE).values(_file_row(checked, status, facts, origin))))
    metas.insert_metas(connection, tables.file_meta, {pk: checked.meta_rows})
    return pk


def insert_files(
    connection: Connection, items: Sequence[tuple[CheckedFile, StatusKey, ContentFacts]], origin: Origin
) -> None:
    """`insert_file` for several records, in order, in a few statements however many they are."""
    if not items:
        return
    connection.execute(insert(_FILE), [_file_row(*item, origin) for item in items])
    pks: dict[UUID, int] = {}
    for chunk in in_chunks(connection, [checked.file_id for checked, _, _ in items]):
        found = connection.execute(select(_FILE.c.file_id, _FILE.c.id).where(_FILE.c.file_id.in_(chunk)))
        pks.update((row.file_id, row.id) for row in found)
    rows = {pks[checked.file_id]: checked.meta_rows for checked, _, _ in items}
    metas.insert_metas(connection, tables.file_meta, rows)


def _file_row(
    checked: CheckedFile, status: StatusKey, facts: ContentFacts, origin: Origin
) -> dict[str, object]:
    return {
        **checked.columns,
        "status_pk": status.pk,
        "file_size": facts.size,
        "md5": facts.md5,
        "sha256": facts.sha256,
        "crc32": facts.crc32,
        **origin.columns(),
    }


def inserted_pk(result: CursorResult[Any]) -> int:
    """Row number that an inserted row was given."""
    key = result.inserted_primary_key
    if key is None:
        raise MeteorError("the database did not say which row number it gave")
    return int(key[0])


def record_of(checked: CheckedFile, status: StatusKey, facts: ContentFacts) -> FileRecord:
    """The record as it will be read back."""
    columns = checked.columns
    record = FileRecord(
        camera_id=checked.camera_id,
        mime_type=str(columns["mime_type"]),
        semantic_type=NSString.from_string(str(columns["semantic_type"])),
        status_id=status.status_id,
        file_name=None if columns["file_name"] is None else str(columns["file_name"]),
        md5=facts.md5,
    )
    record.file_id = checked.file_id
    record.file_time = milliseconds_to_utc_datetime(checked.time)
    record.file_size = facts.size
    record.meta = list(checked.metas)
    return record


def pk_of(connection: Connection, file_id: UUID) -> int | None:
    """Row number of a record, None when it is not held."""
    pk: int | None = connection.execute(select(_FILE.c.id).where(_FILE.c.file_id == file_id)).scalar()
    return pk


def held_ids(connection: Connection, file_ids: Iterable[UUID]) -> set[UUID]:
    """Those of `file_ids` that have a record."""
    held: set[UUID] = set()
    for chunk in in_chunks(connection, file_ids):
        held.update(connection.execute(select(_FILE.c.file_id).where(_FILE.c.file_id.in_(chunk))).scalars())
    return held


def file_by_id(connection: Connection, file_id: UUID) -> FileRecord | None:
    """The record with that UUID."""
    pk = pk_of(connection, file_id)
    return None if pk is None else files_by_pk(connection, lambda s, column: s.where(column == pk))[pk]


def files_by_pk(connection: Connection, narrow: Narrow) -> dict[int, FileRecord]:
    """The records that `narrow` leaves, by row number; two statements however many they are."""
    rows = connection.execute(narrow(select(_FILE, STATUS_ID_OF_FILE), _FILE.c.id)).all()
    items = connection.execute(narrow(select(tables.file_meta), tables.file_meta.c.owner_pk))
    meta = metas.metas_by_owner(items)
    return {row.id: _file_from(row, meta.get(row.id, [])) for row in rows}


def _file_from(row: Row[Any], meta: list[Meta]) -> FileRecord:
    record = FileRecord(
        camera_id=row.camera_id,
        mime_type=row.mime_type,
        semantic_type=NSString.from_string(row.semantic_type),
        status_id=row.status_id,
        file_name=row.file_name,
        md5=row.md5,
    )
    record.file_id = row.file_id
    record.file_time = milliseconds_to_utc_datetime(row.file_time)
    record.file_size = row.file_size
    record.meta = meta
    return record


def found_files(connection: Connection, found: Found) -> list[FileRecord]:
    """The records of a search result, in its order."""
    if not found.keys:
        return []
    records = files_by_pk(connection, found.narrow)
    return [records[key.pk] for key in found.keys if key.pk in records]


def search_files(connection: Connection, search: FileRecordSearch) -> tuple[int, list[FileRecord]]:
    """Number of all matches, and the page of them that `search` asks for."""
    plan = plan_search(connection, search)
    found = plan.find(connection, search.limit, search.skip)
    count = total_of(plan, connection, found, search.limit, search.skip)
    return count, found_files(connection, found)


@dataclass(frozen=True)
class ContentRow:
    """What the database knows about the content of a record."""

    pk: int
    file_id: UUID
    facts: ContentFacts
    is_corrupt: bool


def content_row(connection: Connection, file_id: UUID) -> ContentRow | None:
    """What is recorded about a content."""
    return next(_content_rows(connection, _FILE.c.file_id == file_id), None)


def importer_of(connection: Connection, file_id: UUID) -> str | None:
    """The account that brought a record; None for one that was made here, or is not held."""
    statement = select(_FILE.c.imported_by).where(_FILE.c.file_id == file_id)
    found: str | None = connection.execute(statement).scalar()
    return found


def content_rows_of(connection: Connection, file_ids: Iterable[UUID]) -> dict[UUID, ContentRow]:
    """What is recorded about those of the contents that have a record."""
    chunks = in_chunks(connection, file_ids)
    rows = (row for chunk in chunks for row in _content_rows(connection, _FILE.c.file_id.in_(chunk)))
    return {row.file_id: row for row in rows}


def are_sound_since(connection: Connection, file_ids: Iterable[UUID], time: int) -> bool:
    """Whether all of these contents were stored or verified since `time`, in ms, and are not damaged."""
    last_read = func.coalesce(_FILE.c.verified_at, _FILE.c.registered_at)
    is_sound = and_(last_read >= time, _FILE.c.is_corrupt.is_(False))
    return all(
        connection.execute(
            select(func.count()).select_from(_FILE).where(_FILE.c.file_id.in_(chunk), is_sound)
        ).scalar_one()
        == len(chunk)
        for chunk in in_chunks(connection, set(file_ids))
    )


_CONTENT: Select[Any] = select(
    _FILE.c.id,
    _FILE.c.file_id,
    _FILE.c.file_size,
    _FILE.c.md5,
    _FILE.c.sha256,
    _FILE.c.crc32,
    _FILE.c.is_corrupt,
)


def _content_rows(connection: Connection, condition: ColumnElement[bool]) -> Iterator[ContentRow]:
    return (_content_from(row) for row in connection.execute(_CONTENT.where(condition)))


def _content_from(row: Row[Any]) -> ContentRow:
    facts = ContentFacts(size=row.file_size, md5=row.md5, sha256=row.sha256, crc32=row.crc32)
    return ContentRow(row.id, row.file_id, facts, row.is_corrupt)
