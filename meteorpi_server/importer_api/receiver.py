"""What a node does with what arrives: a base for receivers of one's own, and the receiver that keeps it."""

from __future__ import annotations

import logging
from typing import ClassVar
from uuid import UUID

from flask import request

from meteorpi_db import MeteorDatabase
from meteorpi_model import CameraStatus, Event, FileRecord
from meteorpi_model.errors import DigestMismatchError, InvalidDocumentError, NotAuthenticatedError
from meteorpi_model.values import JsonObject
from meteorpi_server import auth
from meteorpi_server.importer_api.import_request import ImportRequest
from meteorpi_server.importer_api.upload import IncomingFile

logger = logging.getLogger("meteorpi.server.import")


class BaseImportReceiver:
    """Takes everything and keeps nothing; override what is of interest.

    Methods that take an :class:`ImportRequest` answer with one of its replies, or None for the usual one.
    A `MeteorError` that they raise is answered with its problem document, which exporters count as failure.

    Attributes:
        concurrency: how many entities one sender may push at the same time; exporters that know the header
            in which it is sent go up to that, others push one after the other.
    """

    concurrency: ClassVar[int] = 1

    @staticmethod
    def get_importing_user_id() -> str:
        """Id of the account that sends the current request."""
        user = auth.get_user()
        if user is None:
            raise NotAuthenticatedError("nobody is logged in for this request")
        return user.user_id

    def receive_event(self, import_request: ImportRequest) -> JsonObject | None:
        """Take an event; None means that it is complete."""
        return import_request.response_complete()

    def receive_file_record(self, import_request: ImportRequest) -> JsonObject | None:
        """Take a file record that belongs to no event; None means that it is complete."""
        return import_request.response_complete()

    def receive_status(self, import_request: ImportRequest) -> JsonObject | None:
        """Take a camera status; None lets the sender continue."""
        return None

    def receive_file_data(self, file_id: UUID, file_data: IncomingFile, md5_hex: str) -> object:
        """Take the content of a file; what is returned is ignored.

        Args:
            file_id: id of its record.
            file_data: the upload, with `save(path)`; bytes that nobody takes are passed over.
            md5_hex: MD5 that the sender announced; checking it is up to the receiver.
        """
        return None


class MeteorDatabaseImportReceiver(BaseImportReceiver):
    """Keeps what arrives in a database, under the ids it has at its origin.

    Args:
        db: the database.
    """

    concurrency: ClassVar[int] = 4

    def __init__(self, db: MeteorDatabase) -> None:
        self.db = db

    def receive_event(self, import_request: ImportRequest) -> JsonObject | None:
        """Import the event with its files, or ask for what is missing."""
        event = import_request.entity
        if not isinstance(event, Event) or event.event_id is None:
            return import_request.response_continue()
        if self.db.has_event_id(event.event_id):
            return import_request.response_complete()
        return self._missing(import_request, event, event.file_records) or self._import(import_request, event)

    def receive_file_record(self, import_request: ImportRequest) -> JsonObject | None:
        """Import the file record, or ask for what is missing."""
        record = import_request.entity
        if not isinstance(record, FileRecord) or record.file_id is None:
            return import_request.response_continue()
        if self.db.has_file_id(record.file_id):
            return import_request.response_complete()
        return self._missing(import_request, record, [record]) or self._import(import_request, record)

    def receive_status(self, import_request: ImportRequest) -> JsonObject | None:
        """Store the camera status if its id is not known."""
        status = import_request.entity
        if not isinstance(status, CameraStatus) or status.status_id is None:
            return import_request.response_continue()
        if not self.db.has_status_id(status.status_id) and self.db.import_camera_status(status):
            auth.record_audit("import.status", status.status_id.hex, f"camera {status.camera_id}")
        return import_request.response_continue()

    def receive_file_data(self, file_id: UUID, file_data: IncomingFile, md5_hex: str) -> object:
        """Store the content if an announced entity needs it; visible only once its MD5 is right (B-30).

        Raises:
            DigestMismatchError: it is not the content that was announced; nothing is stored.
            IncompleteBodyError: it was cut off; nothing is stored.
            StoreFullError: there is no room for it.
        """
        sender = self.get_importing_user_id()
        announced = self.db.announced_file(sender, file_id)
        if announced is None:
            raise DigestMismatchError("no announced entity needs this content", entity_id=file_id)
        md5 = md5_hex.lower()
        if announced.md5 not in {None, md5}:
            raise DigestMismatchError("the record was announced with another MD5", entity_id=file_id)
        if self.db.store.stat(file_id) is None:
            self.db.receive_content(sender, file_id, file_data, size=announced.size_bytes, md5=md5)
        return None

    def _missing(
        self, import_request: ImportRequest, entity: Event | FileRecord, records: list[FileRecord]
    ) -> JsonObject | None:
        """The reply that asks for the first thing that is not here, None when nothing is missing."""
        for status_id in dict.fromkeys([entity.status_id, *(record.status_id for record in records)]):
            if not self.db.has_status_id(status_id):
                return import_request.response_need_status(status_id)
        for record in records:
            if record.file_id is not None and self.db.store.stat(record.file_id) is None:
                return import_request.response_need_file_data(record.file_id)
        return None

    def _import(self, import_request: ImportRequest, entity: Event | FileRecord) -> JsonObject:
        try:
            self.db.complete_import(entity, self.get_importing_user_id(), request.remote_addr)
        except DigestMismatchError as error:
            return self._ask_again(import_request, error)
        except InvalidDocumentError as error:
            return import_request.response_failed(error.detail)
        return import_request.response_complete()

    def _ask_again(self, import_request: ImportRequest, error: DigestMismatchError) -> JsonObject:
        """Make room for the right content: what is in the store came from somebody else, or was cut short."""
        file_id = error.context.get("entity_id")
        if not isinstance(file_id, UUID) or self.db.has_file_id(file_id):
            return import_request.response_failed(error.detail)
        logger.warning("content of nobody replaced file_id=%s reason=%s", file_id.hex, error.detail)
        self.db.discard_content(file_id)
        return import_request.response_need_file_data(file_id)
