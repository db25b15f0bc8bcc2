"""`MeteorDatabase`: camera statuses, high water marks and what other nodes send."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Connection

from meteorpi_db import limits, tables
from meteorpi_db.accounts import audit
from meteorpi_db.facade.records import EventMethods
from meteorpi_db.filestore import ContentFacts
from meteorpi_db.records import announcements, files, imports, marks, statuses
from meteorpi_db.records.deletion import DeletionReport
from meteorpi_db.records.files import Origin
from meteorpi_model import CameraStatus, Event, FileRecord
from meteorpi_model.errors import ConflictError

Value = TypeVar("Value")

SOFTWARE_VERSION = 1
"""Version that `update_camera_status` notes in the statuses it makes."""


class CameraMethods(EventMethods):
    """Camera statuses and high water marks."""

    def get_cameras(self) -> list[str]:
        """Every camera with a status, by id, descending."""
        with self.transactions.reading() as connection:
            return statuses.camera_ids(connection)

    def has_status_id(self, status_id: UUID) -> bool:
        """Whether the status is held."""
        with self.transactions.reading() as connection:
            return statuses.key_of(connection, limits.checked_id(status_id, "status_id")) is not None

    def get_camera_status(
        self, time: datetime | None = None, camera_id: str | None = None
    ) -> CameraStatus | None:
        """The status in force at `time` (None: now) for a camera (None: the installation's own)."""
        with self.transactions.reading() as connection:
            return statuses.status_at(connection, self._camera(camera_id), self._time(time))

    def get_camera_status_by_id(self, status_id: UUID) -> CameraStatus | None:
        """The status with that id."""
        with self.transactions.reading() as connection:
            return statuses.status_by_id(connection, limits.checked_id(status_id, "status_id"))

    def get_status_history(self, camera_id: str | None = None) -> list[CameraStatus]:
        """Every status of a camera (None: the installation's own), newest first."""
        with self.transactions.reading() as connection:
            return statuses.history(connection, self._camera(camera_id))

    def update_camera_status(
        self, ns: CameraStatus, time: datetime | None = None, camera_id: str | None = None
    ) -> None:
        """Store a new status, after moving the high water mark to its start.

        A start before the mark therefore deletes what is later; the log says what.

        Args:
            ns: the status; its `camera_id`, `status_id` and times are not used.
            time: start; None for now.
            camera_id: the camera; None for the installation's own.
        """
        camera, valid_from = self._camera(camera_id), self._time(time)
        row = statuses.status_row(ns, camera, uuid4(), valid_from, SOFTWARE_VERSION)

        def update(connection: Connection) -> DeletionReport:
            report = marks.set_mark(connection, camera, valid_from, allow_rollback=True, allow_advance=True)
            statuses.insert_status(connection, row)
            return report

        self._after_deletion(self.transactions.write(update))

    def amend_status_history(
        self, change: Callable[[CameraStatus], object], camera_id: str | None = None
    ) -> int:
        """Correct every status of a camera (None: the installation's own) in place.

        Ids, times and data stay. Other nodes that have the statuses already keep what they have (B-56).

        Args:
            change: changes the status that it is given; may be called more than once for each.
            camera_id: the camera.

        Returns:
            The number of statuses.
        """
        camera = self._camera(camera_id)
        return self.transactions.write(lambda c: statuses.amend_history(c, camera, change))

    def get_high_water_mark(self, camera_id: str | None = None) -> datetime | None:
        """Up to when all data of a camera (None: the installation's own) has been processed."""
        with self.transactions.reading() as connection:
            return marks.mark_of(connection, self._camera(camera_id))

    def set_high_water_mark(
        self,
        time: datetime,
        camera_id: str | None = None,
        allow_rollback: bool = True,
        allow_advance: bool = True,
    ) -> DeletionReport:
        """Move the mark of a camera (None: the installation's own) where that is allowed.

        Moving it back deletes all files, events and statuses strictly after `time`. Files not later than
        `time` stay when their event goes, events not later than `time` lose their later files, and a status
        that such an earlier record refers to stays: the report counts all three, and so does the log.
        """
        camera, moment = self._camera(camera_id), limits.checked_time(time, "time")
        report = self.transactions.write(
            lambda connection: marks.set_mark(connection, camera, moment, allow_rollback, allow_advance)
        )
        return self._after_deletion(report)


class ImportMethods(CameraMethods):
    """What other nodes send: stored under the identity that it has there."""

    def import_file_record(self, file_record: FileRecord, user_id: str) -> None:
        """Store a record whose content is in the store; held already: nothing happens.

        Raises:
            UnknownEntityError: the content is not in the store (a ``ValueError``).
            UnknownStatusError: its status is not held (a ``ValueError``).
            DigestMismatchError: the content is not the one that the record describes.
        """
        facts = self._facts_of(imports.checked_records(file_record))
        origin = self._import_origin(user_id)
        self.transactions.write(lambda c: imports.import_file(c, file_record, facts, origin))

    def import_event(self, event: Event, user_id: str) -> None:
        """Store an event and those of its files that are not held, all or nothing; otherwise as above."""
        facts = self._facts_of(imports.checked_records(event))
        origin = self._import_origin(user_id)
        self.transactions.write(lambda c: imports.import_event(c, event, facts, origin))

    def import_camera_status(self, status: CameraStatus) -> bool:
        """Store a status with its own id, start and software version; False when it is held already."""
        return _twice(
            lambda: self.transactions.write(lambda connection: imports.import_status(connection, status))
        )

    def complete_import(self, entity: Event | FileRecord, user_id: str, address: str | None = None) -> bool:
        """`import_event` or `import_file_record` for a receiver: all that belongs to it in one transaction.

        The announcement of the entity is forgotten and the audit log gets its entry (B-59).

        Args:
            entity: what was announced.
            user_id: who announced it.
            address: where the request came from.

        Returns:
            False when the entity was held already.
        """
        return _twice(lambda: self._complete_import(entity, user_id, address))

    def _complete_import(self, entity: Event | FileRecord, user_id: str, address: str | None) -> bool:
        is_event = isinstance(entity, Event)
        records = imports.checked_records(entity)
        facts = self._facts_of(records)
        origin = self._import_origin(user_id)
        subject = entity.event_id if isinstance(entity, Event) else entity.file_id

        def complete(connection: Connection) -> bool:
            if isinstance(entity, Event):
                is_new = imports.import_event(connection, entity, facts, origin)
            else:
                is_new = imports.import_file(connection, entity, facts, origin)
            announcements.forget(connection, user_id, entity)
            if is_new:
                audit.record(
                    connection,
                    actor=user_id,
                    action="import.event" if is_event else "import.file",
                    subject="" if subject is None else subject.hex,
                    detail=f"camera {entity.camera_id}, files {len(records)}",
                    address=address,
                    now=origin.registered_at,
                )
            return is_new

        return self.transactions.write(complete)

    def _import_origin(self, user_id: str) -> Origin:
        user = limits.checked_text(user_id, "user_id", tables.USER_ID_LENGTH)
        return Origin(registered_at=self._now(), imported_by=user)

    def _facts_of(self, records: Iterable[FileRecord]) -> dict[UUID, ContentFacts]:
        """What is known of contents that have no record yet; from reading them where nobody noted it."""
        facts: dict[UUID, ContentFacts] = {}
        for file_id in map(imports.checked_record_id, records):
            with self.transactions.reading() as connection:
                if files.pk_of(connection, file_id) is not None:
                    continue
                noted = announcements.received_facts(connection, file_id)
            held = self.store.stat(file_id)
            if held is not None:
                is_noted = noted is not None and noted.size == held.size
                facts[file_id] = noted if noted and is_noted else self.store.digests_of(file_id)
        return facts


def _twice(store: Callable[[], Value]) -> Value:
    """Do it again when somebody else stored the same between our look and our insert: then it is held."""
    try:
        return store()
    except ConflictError:
        return store()
