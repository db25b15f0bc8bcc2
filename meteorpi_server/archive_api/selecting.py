"""From the items of a request to file records, frozen in an order that does not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from meteorpi_db import MeteorDatabase
from meteorpi_db.filestore import ContentFacts, ContentStat
from meteorpi_db.records.files import ContentRow
from meteorpi_model import FileRecord, FileRecordSearch
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.nights import Night, night_of
from meteorpi_server.archive_api.items import (
    DirectoryItem,
    EventItem,
    Item,
    NightItem,
    RecordItem,
    SearchItem,
    UrlItem,
)
from meteorpi_server.archive_api.peers import NO_PEERS, Peers
from meteorpi_server.archive_api.refusals import MissingContentsError, RefusedRequestError
from meteorpi_server.settings import Settings

_DAY: Final = timedelta(days=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class ChosenRecord:
    """A record that goes into an archive.

    Attributes:
        record: the record.
        facts: size and digests of its content.
        item: index of the item that chose it.
        event_id: the event it was chosen with, or None.
        url: where its content is, empty for here.
    """

    record: FileRecord
    facts: ContentFacts
    item: int
    event_id: UUID | None = None
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Something that was chosen and cannot go into an archive.

    Attributes:
        item: index of the item that chose it.
        reason: why, in a few words.
        file_id: of the record; empty for what is none.
        name: of the file below its directory; empty for a record.
    """

    item: int
    reason: str
    file_id: str = ""
    name: str = ""

    def as_dict(self) -> dict[str, object]:
        """As the answer and the manifest list it."""
        what = {"file_id": self.file_id} if self.file_id else {"name": self.name}
        return {"index": self.item, **what, "reason": self.reason}


@dataclass(kw_only=True)
class Selection:
    """What the items of a request come to."""

    records: list[ChosenRecord] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """The records of one item, before anybody looked for their contents."""

    item: int
    records: Sequence[FileRecord]
    event_id: UUID | None
    missing: str


def select_records(
    db: MeteorDatabase,
    items: Sequence[Item],
    *,
    missing: str | None = None,
    most: int,
    peers: Peers = NO_PEERS,
) -> Selection:
    """The records of those `items` that choose records, in the order of the items.

    What a search, event or night finds is in the order of time, then id.

    Args:
        db: where the records are.
        items: what was asked for; items of other kinds are passed over.
        missing: ``skip`` or ``fail`` for records whose content is not here, ``peer`` to take it from where
            the record came from, if anybody knows; None: ``fail`` for records that were named, ``skip`` for
            those that were found.
        most: largest number of records.
        peers: where records came from.

    Raises:
        RefusedRequestError: an item names something that is not held, or there are more than `most`.
        MissingContentsError: contents are not here and `missing` is ``fail``.
    """
    found = _found(db, items, missing, most)
    total = sum(len(each.records) for each in found)
    if total > most:
        raise RefusedRequestError({"items": [f"{total} records are more than the {most} entries allowed"]})
    return _with_contents(db, found, peers)


def refuse_without_node(settings: Settings, items: Sequence[Item]) -> None:
    """Look whether there is a node whose records `items` could choose.

    Raises:
        RefusedRequestError: there is none, and some of them do; they are named.
    """
    if settings.has_node:
        return
    chosen = [n for n, item in enumerate(items) if not isinstance(item, DirectoryItem | UrlItem)]
    if chosen:
        raise RefusedRequestError({"items": {str(n): ["this server has no records"] for n in chosen}})


def night_of_camera(db: MeteorDatabase, camera_id: str, day: date) -> Night:
    """The night of a camera that begins on `day`, by the status in force then, or at the end of that day."""
    noon = datetime(day.year, day.month, day.day, 12)
    status = db.get_camera_status(time=noon, camera_id=camera_id)
    status = status or db.get_camera_status(time=noon + _DAY, camera_id=camera_id)
    return night_of(day, None if status is None else status.location.longitude)


def search_of_night(camera_id: str, night: Night) -> FileRecordSearch:
    """The search for everything that a camera recorded in `night`."""
    after = night.start - _MILLISECOND  # limits of searches are strict
    return FileRecordSearch(camera_ids=[camera_id], after=after, before=night.end, limit=0)


def _found(db: MeteorDatabase, items: Sequence[Item], missing: str | None, most: int) -> list[_Found]:
    found: list[_Found] = []
    errors: dict[str, list[str]] = {}
    for index, item in enumerate(items):
        try:
            found += _records_of(db, index, item, missing, most)
        except InvalidDocumentError as error:
            errors[str(index)] = [error.detail]
    if errors:
        raise RefusedRequestError({"items": errors})
    return found


def _records_of(
    db: MeteorDatabase, index: int, item: Item, missing: str | None, most: int
) -> Iterator[_Found]:
    match item:
        case RecordItem(file_id):
            record = db.get_file(file_id)
            if record is None:
                raise InvalidDocumentError("no such file")
            yield _Found(index, [record], None, missing or "fail")
        case SearchItem(search):
            yield _Found(index, _searched(db, search, most), None, missing or "skip")
        case NightItem(camera_id, day):
            search = search_of_night(camera_id, night_of_camera(db, camera_id, day))
            yield _Found(index, _searched(db, search, most), None, missing or "skip")
        case EventItem(event_id):
            event = db.get_event(event_id)
            if event is None:
                raise InvalidDocumentError("no such event")
            yield _Found(index, _in_order(event.file_records), event_id, missing or "skip")


def _searched(db: MeteorDatabase, search: FileRecordSearch, most: int) -> list[FileRecord]:
    wanted = db.search_files(search.page(limit=1, skip=search.skip))["count"] - search.skip
    count = min(wanted, search.limit or wanted)
    if count > most:
        raise InvalidDocumentError(f"{count} records match, and an archive has at most {most} entries")
    return _in_order(db.iterate_files(search))


def _in_order(records: Iterator[FileRecord] | Sequence[FileRecord]) -> list[FileRecord]:
    return sorted(records, key=lambda record: (time_of(record), _id_of(record).hex))


def time_of(record: FileRecord) -> datetime:
    """When a record that came from a database was made."""
    assert record.file_time is not None
    return record.file_time


def _id_of(record: FileRecord) -> UUID:
    assert record.file_id is not None  # what a database gives has been registered
    return record.file_id


def _with_contents(db: MeteorDatabase, found: Sequence[_Found], peers: Peers) -> Selection:
    """The same with what is known of the contents; those that are not here are left out, or refused."""
    rows = db.content_rows({_id_of(record) for each in found for record in each.records})
    selection = Selection()
    refused: list[str] = []
    for each in found:
        for record in each.records:
            file_id = _id_of(record)
            row = rows.get(file_id)
            reason = _what_lacks(row, db.store.stat(file_id))
            url = ""
            if reason and row is not None and each.missing == "peer":
                url = peers.content_url(db.file_importer(file_id), file_id) or ""
            if row is not None and (url or not reason):
                facts, event_id = row.facts, each.event_id
                selection.records.append(
                    ChosenRecord(record=record, facts=facts, item=each.item, event_id=event_id, url=url)
                )
                continue
            if each.missing == "fail":
                refused.append(file_id.hex)
            selection.left_out.append(LeftOut(item=each.item, file_id=file_id.hex, reason=reason))
    if refused:
        raise MissingContentsError(refused)
    return selection


def _what_lacks(row: ContentRow | None, stat: ContentStat | None) -> str:
    """Why a content cannot be sent from here; empty when it can."""
    if row is None or stat is None:
        return "the content is not here"
    return "the content is damaged" if row.is_corrupt or stat.size != row.facts.size else ""
