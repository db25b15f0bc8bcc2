"""What cameras produce: metadata, file records and events."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias
from uuid import UUID

from meteorpi_model.documents import (
    as_count,
    as_id,
    as_integer,
    as_list,
    as_ns_string,
    as_number,
    as_text,
    as_time,
    drop_missing,
    read,
    read_optional,
    require_object,
)
from meteorpi_model.errors import InvalidDocumentError, UnavailableError
from meteorpi_model.values import (
    JsonObject,
    ModelEqualityMixin,
    NSString,
    milliseconds_to_utc_datetime,
    utc_datetime_to_milliseconds,
)

MetaValue: TypeAlias = str | int | float | datetime


class Meta(ModelEqualityMixin):
    """One item of metadata: a namespaced key and a text, number or UTC datetime."""

    def __init__(self, key: NSString, value: MetaValue) -> None:
        self.key = key
        self.value = value

    def type(self) -> str:
        """``'number'``, ``'string'`` or ``'date'``; ``'unknown'`` for a value that cannot be stored."""
        if isinstance(self.value, int | float):
            return "number"
        if isinstance(self.value, str):
            return "string"
        if isinstance(self.value, datetime):
            return "date"
        return "unknown"

    def string_value(self) -> str | None:
        """The value if it is a text, else None."""
        return self.value if isinstance(self.value, str) else None

    def float_value(self) -> int | float | None:
        """The value if it is a number, else None."""
        return self.value if isinstance(self.value, int | float) else None

    def date_value(self) -> datetime | None:
        """The value if it is a UTC datetime, else None."""
        return self.value if isinstance(self.value, datetime) else None

    def as_dict(self) -> JsonObject:
        """``{'type', 'key', 'value'}``, dates in milliseconds.

        Raises:
            InvalidDocumentError: the value has none of the three types.
        """
        if self.type() == "unknown":
            raise InvalidDocumentError(f"metadata {self.key} has a value of unknown type: {self.value!r}")
        date = self.date_value()
        value = self.value if date is None else utc_datetime_to_milliseconds(date)
        return {"type": self.type(), "key": str(self.key), "value": value}

    @staticmethod
    def from_dict(d: object) -> Meta:
        """Read the form given by :meth:`as_dict`."""
        document = require_object(d, "a metadata item")
        kind = read(document, "type", as_text)
        key = read(document, "key", as_ns_string)
        if kind == "string":
            return Meta(key, read(document, "value", as_text))
        if kind == "number":
            return Meta(key, read(document, "value", as_number))
        if kind == "date":
            return Meta(key, milliseconds_to_utc_datetime(read(document, "value", as_integer)))
        raise InvalidDocumentError(
            f"metadata type must be 'string', 'number' or 'date', not {kind!r}", pointer="/type"
        )

    def __repr__(self) -> str:
        return f"Meta({self.key}={self.value!r})"


class ContentLocator(Protocol):
    """Where the content of a file record can be had: a node's own store, or a server."""

    def path(self, record: FileRecord) -> Path | None:
        """The content as a local file, or None when it is not one."""

    def url(self, record: FileRecord) -> str | None:
        """Address of the content, or None when it has none."""

    def download(self, record: FileRecord, path: Path) -> Path:
        """Write the whole, verified content to `path` and return it."""


class FileRecord(ModelEqualityMixin):
    """A file made by a camera: what it is, when, and how to recognise its content.

    Attributes:
        file_id: identity, also the name of the content in a file store; None before registration.
        camera_id: producer, up to 64 characters.
        file_time: time of creation on the camera, UTC; None before registration.
        file_size: bytes; 0 can mean that the content is not here yet.
        file_name: suggested name, not unique, or None.
        mime_type: format of the content, such as ``image/png``.
        semantic_type: meaning of the content.
        status_id: camera status in force at `file_time`.
        md5: hexadecimal MD5 of the content.
        meta: ordered metadata.
    """

    def __init__(
        self,
        camera_id: str,
        mime_type: str,
        semantic_type: NSString,
        status_id: UUID,
        file_name: str | None = None,
        md5: str | None = None,
    ) -> None:
        self.camera_id = camera_id
        self.mime_type = mime_type
        self.semantic_type = semantic_type
        self.status_id = status_id
        self.file_name = file_name
        self.md5 = md5
        self.file_id: UUID | None = None
        self.file_time: datetime | None = None
        self.file_size = 0
        self.meta: list[Meta] = []
        self._locator: ContentLocator | None = None

    def located_by(self, locator: ContentLocator) -> FileRecord:
        """This record, from now on able to find its content through `locator`."""
        self._locator = locator
        return self

    def get_path(self) -> Path | None:
        """Path of the content in the local store; None for a record that came from a server."""
        return self._located().path(self)

    def get_url(self) -> str | None:
        """Address of the content on the server it came from; None for a local record."""
        return self._located().url(self)

    def download_to(self, path: str | Path) -> Path:
        """Write the content to `path`, checked against the MD5; never leaves a partial file there."""
        return self._located().download(self, Path(path))

    def _located(self) -> ContentLocator:
        if self._locator is None:
            raise UnavailableError(
                "this record was built by hand: only records from a database or client know their content"
            )
        return self._locator

    def as_dict(self) -> JsonObject:
        """The wire form."""
        return drop_missing(
            {
                "file_id": None if self.file_id is None else self.file_id.hex,
                "camera_id": self.camera_id,
                "file_time": utc_datetime_to_milliseconds(self.file_time),
                "file_size": self.file_size,
                "file_name": self.file_name,
                "mime_type": self.mime_type,
                "semantic_type": str(self.semantic_type),
                "status_id": self.status_id.hex,
                "md5": self.md5,
                "meta": [item.as_dict() for item in self.meta],
            }
        )

    @staticmethod
    def from_dict(d: object) -> FileRecord:
        """Read the wire form; `meta` and `file_size` must be there."""
        document = require_object(d, "a file record")
        record = FileRecord(
            camera_id=read(document, "camera_id", as_text),
            mime_type=read(document, "mime_type", as_text),
            semantic_type=read(document, "semantic_type", as_ns_string),
            status_id=read(document, "status_id", as_id),
            file_name=read_optional(document, "file_name", as_text),
            md5=read_optional(document, "md5", as_text),
        )
        record.file_id = read_optional(document, "file_id", as_id)
        record.file_time = read_optional(document, "file_time", as_time)
        record.file_size = read(document, "file_size", as_count)
        record.meta = read(document, "meta", as_list(Meta.from_dict))
        return record

    def __repr__(self) -> str:
        file_id = "unregistered" if self.file_id is None else self.file_id.hex
        return (
            f"FileRecord({file_id}, camera={self.camera_id}, time={self.file_time}, size={self.file_size}, "
            f"name={self.file_name!r}, mime={self.mime_type}, type={self.semantic_type}, "
            f"md5={self.md5}, meta={self.meta})"
        )


class Event(ModelEqualityMixin):
    """Something that a camera saw: an interpretation of one or more files, or of none.

    Attributes:
        camera_id: producer, up to 64 characters.
        event_time: when it began, UTC.
        event_id: identity; None before registration.
        event_type: what kind of event.
        status_id: camera status in force at `event_time`.
        file_records: its files, in the order given at registration.
        meta: ordered metadata.
    """

    def __init__(
        self,
        camera_id: str,
        event_time: datetime,
        event_id: UUID | None,
        event_type: NSString,
        status_id: UUID,
        file_records: list[FileRecord] | None = None,
        meta: list[Meta] | None = None,
    ) -> None:
        self.camera_id = camera_id
        self.event_time = event_time
        self.event_id = event_id
        self.event_type = event_type
        self.status_id = status_id
        self.file_records = [] if file_records is None else file_records
        self.meta = [] if meta is None else meta

    def as_dict(self) -> JsonObject:
        """The wire form, files embedded."""
        return drop_missing(
            {
                "event_id": None if self.event_id is None else self.event_id.hex,
                "camera_id": self.camera_id,
                "event_time": utc_datetime_to_milliseconds(self.event_time),
                "event_type": str(self.event_type),
                "status_id": self.status_id.hex,
                "files": [record.as_dict() for record in self.file_records],
                "meta": [item.as_dict() for item in self.meta],
            }
        )

    @staticmethod
    def from_dict(d: object) -> Event:
        """Read the wire form; `files` and `meta` must be there."""
        document = require_object(d, "an event")
        return Event(
            camera_id=read(document, "camera_id", as_text),
            event_time=read(document, "event_time", as_time),
            event_id=read_optional(document, "event_id", as_id),
            event_type=read(document, "event_type", as_ns_string),
            status_id=read(document, "status_id", as_id),
            file_records=read(document, "files", as_list(FileRecord.from_dict)),
            meta=read(document, "meta", as_list(Meta.from_dict)),
        )

    def __repr__(self) -> str:
        event_id = "unregistered" if self.event_id is None else self.event_id.hex
        return (
            f"Event({event_id}, camera={self.camera_id}, time={self.event_time}, type={self.event_type}, "
            f"files={self.file_records}, meta={self.meta})"
        )
