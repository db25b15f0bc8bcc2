"""One request of the export protocol, and the replies that can be given to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from uuid import UUID

from meteorpi_model import CameraStatus, Event, FileRecord
from meteorpi_model.errors import InvalidDocumentError, NotAllowedError
from meteorpi_model.values import JsonObject, parse_hex_id
from meteorpi_server import auth, parsing
from meteorpi_server.context import current_database

Entity = Event | FileRecord | CameraStatus
ReadEntity = TypeVar("ReadEntity", Event, FileRecord, CameraStatus)

FILE: Final = "file"
EVENT: Final = "event"
STATUS: Final = "status"
NONE: Final = "none"
_CACHED: Final = "cached_entity"


class ImportRequest:
    """What an exporter sent.

    Attributes:
        entity: the event, file record or camera status; None for an entity sent before that is not
            remembered, and for a type that is not known here.
        entity_id: its id; None for a type that is not known here.
        entity_type: ``'file'``, ``'event'``, ``'status'`` or ``'none'``.
    """

    def __init__(
        self, entity: Entity | None, entity_id: UUID | None, entity_type: str, *, is_remembered: bool = False
    ) -> None:
        self.entity = entity
        self.entity_id = entity_id
        self.entity_type = entity_type
        self._is_remembered = is_remembered

    @staticmethod
    def process_request() -> ImportRequest:
        """Read the current Flask request.

        Raises:
            InvalidDocumentError: the body is no JSON object, or not a readable entity with an id.
            NotAllowedError: the account may not push data of that camera.
        """
        document = parsing.json_body()
        kind = document.get("type")
        if kind == _CACHED:
            return _remembered(document)
        if kind == EVENT:
            event = _read(document, EVENT, Event.from_dict)
            found = ImportRequest(event, _required(event.event_id, "event_id"), EVENT)
        elif kind == FILE:
            record = _read(document, FILE, FileRecord.from_dict)
            found = ImportRequest(record, _required(record.file_id, "file_id"), FILE)
        elif kind == STATUS:
            status = _read(document, STATUS, CameraStatus.from_dict)
            found = ImportRequest(status, _required(status.status_id, "status_id"), STATUS)
        else:
            return ImportRequest(None, None, NONE)
        require_cameras(found.cameras())
        return found

    def cameras(self) -> set[str]:
        """The cameras that the entity claims to come from."""
        if isinstance(self.entity, Event):
            return {self.entity.camera_id, *(record.camera_id for record in self.entity.file_records)}
        return set() if self.entity is None else {self.entity.camera_id}

    def response_complete(self) -> JsonObject:
        """The entity is here, or needs nothing more."""
        return {"state": "complete"}

    def response_failed(self, message: str = "Import failed") -> JsonObject:
        """The entity is not taken; `message` tells the sender's administrator why."""
        return {"state": "failed", "message": message}

    def response_need_status(self, status_id: UUID | None = None) -> JsonObject:
        """Ask for a camera status: that of the entity, or the one named, such as that of an embedded file.

        Raises:
            InvalidDocumentError: the request is a camera status itself, or has no entity (a ``ValueError``).
        """
        if not isinstance(self.entity, Event | FileRecord):
            raise InvalidDocumentError("only an event or a file can need a camera status")
        self._remember()
        return {"state": "need_status", "status_id": (status_id or self.entity.status_id).hex}

    def response_need_file_data(self, file_id: UUID) -> JsonObject:
        """Ask for the content of a file."""
        self._remember()
        return {"state": "need_file_data", "file_id": file_id.hex}

    def response_continue(self) -> JsonObject:
        """Ask the sender to go on, naming the entity; with all of it when it is not remembered."""
        if self.entity is None:
            return {"state": "continue-nocache"}
        self._remember()
        return {"state": "continue"}

    @staticmethod
    def response_continue_after_file(message: str | None = None) -> JsonObject:
        """The reply to every upload; `message` says why the content was not taken, if it was not."""
        return {"state": "continue"} if message is None else {"state": "continue", "message": message}

    def _remember(self) -> None:
        """Keep the entity for the requests that follow; the sender is asked for all of it otherwise."""
        user = auth.get_user()
        if isinstance(self.entity, Event | FileRecord) and user is not None and not self._is_remembered:
            current_database().announce(user.user_id, self.entity)
            self._is_remembered = True


def require_cameras(cameras: set[str]) -> None:
    """Make sure that the account of the current request may push data of all these cameras (B-50).

    Raises:
        NotAllowedError: the account is restricted to others.
    """
    user = auth.get_user()
    allowed = None if user is None else current_database().get_user_cameras(user.user_id)
    refused = cameras.difference(allowed) if allowed is not None else set()
    if user is not None and refused:
        raise NotAllowedError(f"account {user.user_id!r} may not push data of camera {min(refused)!r}")


def _remembered(document: Mapping[str, object]) -> ImportRequest:
    entity_id = parse_hex_id(document.get("cached_entity_id"), "cached_entity_id")
    user = auth.get_user()
    entity = None if user is None else current_database().announced(user.user_id, entity_id)
    if entity is None:
        return ImportRequest(None, entity_id, NONE)
    kind = EVENT if isinstance(entity, Event) else FILE
    return ImportRequest(entity, entity_id, kind, is_remembered=True)


def _read(document: Mapping[str, object], kind: str, convert: Callable[[object], ReadEntity]) -> ReadEntity:
    try:
        return convert(document.get(kind))
    except InvalidDocumentError as error:
        raise error.below(f"/{kind}") from error


def _required(entity_id: UUID | None, name: str) -> UUID:
    if entity_id is None:
        raise InvalidDocumentError(f"an entity that is pushed needs its {name}", pointer=f"/{name}")
    return entity_id
