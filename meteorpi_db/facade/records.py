"""`MeteorDatabase`: file records and events."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypedDict
from uuid import UUID, uuid4

from sqlalchemy import Connection

from meteorpi_db import limits
from meteorpi_db.facade.base import FacadePart
from meteorpi_db.filestore import ContentFacts, ContentReader, LocalFileStore
from meteorpi_db.records import contents, deletion, events, files, statuses
from meteorpi_db.records.contents import Registration
from meteorpi_db.records.deletion import DeletionReport, Scope
from meteorpi_db.records.events import NewEvent
from meteorpi_db.records.files import ContentRow, NewFile, Origin
from meteorpi_db.searching import iterate
from meteorpi_model import Event, EventSearch, FileRecord, FileRecordSearch, Meta, NSString
from meteorpi_model.errors import (
    CorruptContentError,
    NotFoundError,
    UnavailableError,
)
from meteorpi_model.values import utc_datetime_to_milliseconds

logger = logging.getLogger("meteorpi.db.records")


class FilesFound(TypedDict):
    """A page of a search for files; `count` is the number of all matches."""

    count: int
    files: list[FileRecord]


class EventsFound(TypedDict):
    """A page of a search for events; `count` is the number of all matches."""

    count: int
    events: list[Event]


class FileMethods(FacadePart):
    """File records and their contents."""

    def file_path_for_id(self, file_id: UUID) -> Path:
        """Path of a content in a local store; whether it exists is not looked at.

        Raises:
            UnavailableError: the store is not a local directory; use ``db.store.local_path(file_id)``.
        """
        if not isinstance(self.store, LocalFileStore):
            raise UnavailableError("this file store has no paths: use `with db.store.local_path(file_id)`")
        return self.store.layout.path(limits.checked_id(file_id, "file_id"))

    def has_file_id(self, file_id: UUID) -> bool:
        """Whether the record is held."""
        with self.transactions.reading() as connection:
            return files.pk_of(connection, limits.checked_id(file_id, "file_id")) is not None

    def get_file(self, file_id: UUID) -> FileRecord | None:
        """The record, metadata in stored order; None when it is not held."""
        with self.transactions.reading() as connection:
            record = files.file_by_id(connection, limits.checked_id(file_id, "file_id"))
        return None if record is None else self._located(record)

    def search_files(self, search: FileRecordSearch) -> FilesFound:
        """A page of the matching records, newest first, and the number of all matches."""
        with self.transactions.reading() as connection:
            count, found = files.search_files(connection, search)
        return {"count": count, "files": [self._located(record) for record in found]}

    def iterate_files(self, search: FileRecordSearch | None = None) -> Iterator[FileRecord]:
        """Matching records one by one, newest first, fetched a page at a time.

        Stays valid whatever is read and written meanwhile. What is registered after the start appears when it
        is older than what was given already.

        Args:
            search: what to look for, with its limit and skip; None for every record.
        """
        wanted = FileRecordSearch(limit=0) if search is None else search
        return map(self._located, iterate(self.transactions, wanted, files.found_files))

    def register_file(
        self,
        file_path: str | Path,
        mime_type: str,
        semantic_type: NSString,
        file_time: datetime,
        file_metas: Iterable[Meta],
        camera_id: str | None = None,
        file_name: str | None = None,
    ) -> FileRecord:
        """Record a file and move it into the store.

        Args:
            file_path: the file; nobody may change it any more. It stays where it is when anything fails.
            mime_type: its format.
            semantic_type: its meaning.
            file_time: when the camera made it, UTC; may be behind the high water mark, which does not move.
            file_metas: ordered metadata.
            camera_id: producer; None for the installation's own camera.
            file_name: suggested name.

        Raises:
            InvalidDocumentError: no such file, or a value that cannot be stored (a ``ValueError``).
            UnknownStatusError: the camera has no status at that time (a ``ValueError``).
            StoreFullError: no room in the store.
        """
        new = NewFile(
            mime_type=mime_type,
            semantic_type=semantic_type,
            file_time=file_time,
            metas=list(file_metas or ()),
            camera_id=camera_id,
            file_name=file_name,
        )
        return self.add_file(new, Path(file_path), move=True)

    def add_file(
        self,
        new: NewFile,
        source: str | Path | Iterable[bytes],
        file_id: UUID | None = None,
        move: bool = False,
    ) -> FileRecord:
        """Record a file under an id chosen by the caller; may be repeated.

        Args:
            new: what to record.
            source: path of the content, or its bytes in chunks.
            file_id: identity; None for a new one. Held already with the same content: that record is given
                back as it is.
            move: remove the file `source` at the end; nobody may change it any more.

        Raises:
            ConflictError: the id is held with other content.
        """
        registration = self._registration(new, source, file_id, is_given_up=move)
        (record,) = self._register([registration])
        if move and isinstance(source, str | Path):
            contents.remove_source(Path(source))
        return record

    def register_many(
        self, items: Sequence[tuple[NewFile, str | Path | Iterable[bytes], UUID | None]]
    ) -> list[FileRecord]:
        """`add_file` for several files in one transaction: all of them or none; the sources stay."""
        return self._register([self._registration(new, source, file_id) for new, source, file_id in items])

    def _register(self, registrations: Sequence[Registration]) -> list[FileRecord]:
        origin = Origin(registered_at=self._now())
        records = contents.register(self.transactions, self.store, registrations, origin)
        return [self._located(record) for record in records]

    def _registration(
        self,
        new: NewFile,
        source: str | Path | Iterable[bytes],
        file_id: UUID | None,
        is_given_up: bool = False,
    ) -> Registration:
        identity = uuid4() if file_id is None else file_id
        checked = files.check_file(new, identity, self._camera(new.camera_id))
        if not isinstance(source, str | Path):
            return Registration(checked, lambda: self.store.put(identity, source))
        path = contents.require_source(Path(source))
        return Registration(
            checked, lambda: self.store.put_file(identity, path, move=False, may_link=is_given_up)
        )

    def open_content(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        """Bytes of a content from `start` up to, not including, `stop`, in chunks; also a context manager.

        Raises:
            NotFoundError: the record is not held.
            CorruptContentError: the content failed its verification, or is missing.
        """
        self.content_facts(file_id)
        try:
            return self.store.open(file_id, start, stop)
        except NotFoundError as error:
            raise CorruptContentError(
                f"the content of file {file_id.hex} is missing: `meteorpi verify` says more",
                entity_id=file_id,
            ) from error

    def content_facts(self, file_id: UUID) -> ContentFacts:
        """Size and digests as they were recorded.

        Raises:
            NotFoundError: the record is not held.
            CorruptContentError: the content failed its verification.
        """
        with self.transactions.reading() as connection:
            row = files.content_row(connection, limits.checked_id(file_id, "file_id"))
        if row is None:
            raise NotFoundError("no such file", entity_id=file_id)
        if row.is_corrupt:
            raise CorruptContentError(
                f"the content of file {file_id.hex} is damaged or missing, and not served until it is back",
                entity_id=file_id,
            )
        return row.facts

    def content_rows(self, file_ids: Iterable[UUID]) -> dict[UUID, ContentRow]:
        """What is recorded about many contents, damaged ones too; those without a record are left out."""
        with self.transactions.reading() as connection:
            return files.content_rows_of(connection, file_ids)

    def are_sound_since(self, file_ids: Iterable[UUID], time: datetime) -> bool:
        """Whether all of these contents were read and found right since `time`, UTC, if only to be stored."""
        since = utc_datetime_to_milliseconds(time)
        with self.transactions.reading() as connection:
            return files.are_sound_since(connection, file_ids, since)

    def file_importer(self, file_id: UUID) -> str | None:
        """The account that brought a file record; None for one that was made here, or is not held."""
        with self.transactions.reading() as connection:
            return files.importer_of(connection, file_id)

    def mark_corrupt(self, file_id: UUID) -> None:
        """Stop serving a content whose bytes were found to be wrong."""
        now = self._now()
        self.transactions.write(lambda connection: contents.mark_corrupt(connection, file_id, True, now))
        logger.error("content is corrupt file_id=%s", file_id.hex)

    def bring_content_back(self, file_id: UUID, source: str | Path | Iterable[bytes]) -> None:
        """Replace a missing or damaged content; it is served again.

        Args:
            file_id: of a held record.
            source: path of the content, which stays, or its bytes in chunks.

        Raises:
            NotFoundError: the record is not held.
            DigestMismatchError: `source` is not the recorded content.
        """
        with self.transactions.reading() as connection:
            row = files.content_row(connection, limits.checked_id(file_id, "file_id"))
        if row is None:
            raise NotFoundError("no such file", entity_id=file_id)
        contents.bring_back(self.store, row, source)
        now = self._now()
        self.transactions.write(lambda connection: contents.mark_corrupt(connection, file_id, False, now))

    def delete_file(self, file_id: UUID) -> DeletionReport:
        """Delete a record with its links and tasks, then its content; unknown: nothing happens."""
        wanted = limits.checked_id(file_id, "file_id")

        def delete(connection: Connection) -> DeletionReport:
            pk = files.pk_of(connection, wanted)
            return (
                DeletionReport() if pk is None else deletion.delete_scope(connection, deletion.one_file(pk))
            )

        return self._after_deletion(self.transactions.write(delete))

    def count_data(
        self,
        camera_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> DeletionReport:
        """What `delete_data` with the same arguments would delete."""
        with self.transactions.reading() as connection:
            return deletion.count_scope(connection, _scope(camera_id, after, before))

    def delete_data(
        self,
        camera_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> DeletionReport:
        """Delete files and events, then the contents; statuses and marks stay.

        Args:
            camera_id: of this camera; None for all.
            after: strictly later; None for no limit.
            before: strictly earlier; None for no limit.
        """
        scope = _scope(camera_id, after, before)
        report = self.transactions.write(lambda connection: deletion.delete_scope(connection, scope))
        return self._after_deletion(report)

    def _after_deletion(self, report: DeletionReport) -> DeletionReport:
        """After the commit: remove the contents, and say what was deleted (B-40)."""
        contents.remove_contents(self.store, report.file_ids)
        if report:
            logger.info("deleted %s", " ".join(f"{name}={n}" for name, n in report.as_dict().items()))
        return report


def _scope(camera_id: str | None, after: datetime | None, before: datetime | None) -> Scope:
    return deletion.between(
        None if camera_id is None else limits.checked_camera_id(camera_id),
        None if after is None else limits.checked_time(after, "after"),
        None if before is None else limits.checked_time(before, "before"),
    )


class EventMethods(FileMethods):
    """Events."""

    def has_event_id(self, event_id: UUID) -> bool:
        """Whether the event is held."""
        with self.transactions.reading() as connection:
            return events.pk_of(connection, limits.checked_id(event_id, "event_id")) is not None

    def get_event(self, event_id: UUID) -> Event | None:
        """The event with its files in order and its metadata; None when it is not held."""
        with self.transactions.reading() as connection:
            event = events.event_by_id(connection, limits.checked_id(event_id, "event_id"))
        return None if event is None else self._located_event(event)

    def search_events(self, search: EventSearch) -> EventsFound:
        """A page of the matching events, newest first, and the number of all matches."""
        with self.transactions.reading() as connection:
            count, found = events.search_events(connection, search)
        return {"count": count, "events": [self._located_event(event) for event in found]}

    def iterate_events(self, search: EventSearch | None = None) -> Iterator[Event]:
        """Matching events one by one, newest first; otherwise as `iterate_files`."""
        wanted = EventSearch(limit=0) if search is None else search
        return map(self._located_event, iterate(self.transactions, wanted, events.found_events))

    def register_event(
        self,
        camera_id: str,
        event_time: datetime,
        event_type: NSString,
        file_records: Sequence[FileRecord] | None = None,
        event_meta: Sequence[Meta] | None = None,
    ) -> Event:
        """Record an event over files registered before.

        Args:
            camera_id: producer.
            event_time: when it began, UTC.
            event_type: what kind of event.
            file_records: its files, in order; each may belong to several events.
            event_meta: ordered metadata.

        Raises:
            UnknownStatusError: the camera has no status at that time (a ``ValueError``).
            UnknownEntityError: one of the files is not held (a ``ValueError``).
        """
        new = NewEvent(
            camera_id=camera_id,
            event_time=event_time,
            event_type=event_type,
            file_ids=events.file_ids_of(file_records),
            metas=list(event_meta or ()),
        )
        return self.add_event(new)

    def add_event(self, new: NewEvent, event_id: UUID | None = None) -> Event:
        """Record an event under an id chosen by the caller; may be repeated.

        Args:
            new: what to record.
            event_id: identity; None for a new one. Held already: that event is given back as it is.
        """
        checked = events.check_event(new, uuid4() if event_id is None else event_id)
        origin = Origin(registered_at=self._now())

        def add(connection: Connection) -> Event:
            if events.pk_of(connection, checked.event_id) is None:
                status = statuses.require_key_at(connection, checked.camera_id, checked.time)
                events.insert_event(connection, checked, status, origin)
            return events.require_event(connection, checked.event_id)

        return self._located_event(self.transactions.write(add))

    def delete_event(self, event_id: UUID, with_files: bool = False) -> DeletionReport:
        """Delete an event; unknown: nothing happens.

        Args:
            event_id: of the event.
            with_files: also its files, but for those that belong to another event too.
        """
        wanted = limits.checked_id(event_id, "event_id")

        def delete(connection: Connection) -> DeletionReport:
            pk = events.pk_of(connection, wanted)
            if pk is None:
                return DeletionReport()
            return deletion.delete_scope(connection, deletion.one_event(pk, with_files))

        return self._after_deletion(self.transactions.write(delete))
