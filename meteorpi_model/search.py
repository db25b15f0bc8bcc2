"""Search documents: what to look for among file records and events.

Times are strict (``after`` means later than), metadata limits inclusive; all criteria are combined with AND.
A box cannot cross longitude 180: search both sides and join the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from meteorpi_model.documents import (
    as_count,
    as_flag,
    as_id,
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
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.records import MetaValue
from meteorpi_model.values import JsonObject, ModelEqualityMixin, NSString, utc_datetime_to_milliseconds

DEFAULT_LIMIT = 100


class MetaConstraint(ModelEqualityMixin):
    """A condition that one metadata item with that key must meet.

    Args:
        constraint_type: ``string_equals``, ``number_equals``, ``less`` (<=), ``greater`` (>=),
            ``before`` (<=) or ``after`` (>=).
        key: key of the metadata item.
        value: text, number or UTC datetime, as the type asks.
    """

    STRING_TYPES: ClassVar[tuple[str, ...]] = ("string_equals",)
    NUMBER_TYPES: ClassVar[tuple[str, ...]] = ("number_equals", "less", "greater")
    DATE_TYPES: ClassVar[tuple[str, ...]] = ("before", "after")

    def __init__(self, constraint_type: str, key: NSString, value: MetaValue) -> None:
        self.constraint_type = constraint_type
        self.key = key
        self.value = value

    def as_dict(self) -> JsonObject:
        """``{'key', 'type', 'value'}``, dates in milliseconds.

        Raises:
            InvalidDocumentError: unknown type, or a value that does not fit it.
        """
        self.check()
        value = utc_datetime_to_milliseconds(self.value) if isinstance(self.value, datetime) else self.value
        return {"key": str(self.key), "type": self.constraint_type, "value": value}

    def check(self) -> None:
        """Raise `InvalidDocumentError` when the type is unknown or the value does not fit it."""
        expected: tuple[type, ...]
        if self.constraint_type in self.STRING_TYPES:
            expected = (str,)
        elif self.constraint_type in self.NUMBER_TYPES:
            expected = (int, float)
        elif self.constraint_type in self.DATE_TYPES:
            expected = (datetime,)
        else:
            raise _unknown_constraint(self.constraint_type)
        if not isinstance(self.value, expected):
            raise InvalidDocumentError(f"{self.constraint_type} on {self.key} cannot use {self.value!r}")

    @staticmethod
    def from_dict(d: object) -> MetaConstraint:
        """Read the form given by :meth:`as_dict`."""
        document = require_object(d, "a metadata constraint")
        kind = read(document, "type", as_text)
        key = read(document, "key", as_ns_string)
        if kind in MetaConstraint.STRING_TYPES:
            return MetaConstraint(kind, key, read(document, "value", as_text))
        if kind in MetaConstraint.NUMBER_TYPES:
            return MetaConstraint(kind, key, read(document, "value", as_number))
        if kind in MetaConstraint.DATE_TYPES:
            return MetaConstraint(kind, key, read(document, "value", as_time))
        raise _unknown_constraint(kind)

    def __repr__(self) -> str:
        return f"MetaConstraint({self.constraint_type!r}, {self.key}, {self.value!r})"


def _unknown_constraint(kind: object) -> InvalidDocumentError:
    known = MetaConstraint.STRING_TYPES + MetaConstraint.NUMBER_TYPES + MetaConstraint.DATE_TYPES
    return InvalidDocumentError(
        f"unknown constraint type {kind!r}; the types are {', '.join(known)}", pointer="/type"
    )


class _Search(ModelEqualityMixin):
    """What searches for files and for events have in common."""

    def __init__(
        self,
        camera_ids: Sequence[str] | str | None,
        lat_min: float | None,
        lat_max: float | None,
        long_min: float | None,
        long_max: float | None,
        after: datetime | None,
        before: datetime | None,
        after_offset: float | None,
        before_offset: float | None,
        meta_constraints: Sequence[MetaConstraint] | None,
        limit: int | None,
        skip: int | None,
        exclude_export_to: UUID | None,
        exclude_imported: bool,
    ) -> None:
        self.camera_ids = _camera_list(camera_ids)
        self.lat_min = lat_min
        self.lat_max = lat_max
        self.long_min = long_min
        self.long_max = long_max
        self.after = after
        self.before = before
        self.after_offset = after_offset
        self.before_offset = before_offset
        self.meta_constraints = list(meta_constraints or ())
        self.limit = _natural(0 if limit is None else limit, "limit")
        self.skip = _natural(0 if skip is None else skip, "skip")
        self.exclude_export_to = exclude_export_to
        self.exclude_imported = bool(exclude_imported)
        self._check_ranges()

    def _check_ranges(self) -> None:
        for low, high, names in (
            (self.lat_min, self.lat_max, "lat_max is less than lat_min"),
            (self.long_min, self.long_max, "long_max is less than long_min"),
            (self.after_offset, self.before_offset, "before_offset is less than after_offset"),
        ):
            if low is not None and high is not None and high < low:
                raise InvalidDocumentError(names)
        after, before = (utc_datetime_to_milliseconds(moment) for moment in (self.after, self.before))
        if after is not None and before is not None and before < after:
            raise InvalidDocumentError("before is earlier than after")

    def as_dict(self) -> JsonObject:
        """The wire form: always with `limit`, `skip` and `meta`, flags only when true."""
        return drop_missing(
            {
                "camera_ids": self.camera_ids,
                "lat_min": self.lat_min,
                "lat_max": self.lat_max,
                "long_min": self.long_min,
                "long_max": self.long_max,
                "after": utc_datetime_to_milliseconds(self.after),
                "before": utc_datetime_to_milliseconds(self.before),
                "after_offset": self.after_offset,
                "before_offset": self.before_offset,
                "meta": [constraint.as_dict() for constraint in self.meta_constraints],
                "limit": self.limit,
                "skip": self.skip,
                "exclude_export_to": None if self.exclude_export_to is None else self.exclude_export_to.hex,
                "exclude_imported": self.exclude_imported or None,
            }
        )

    def _replace(self, **changes: object) -> Self:
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), **changes)
        return copy

    def page(self, limit: int | None, skip: int = 0) -> Self:
        """The same search for another page; None or 0 means no limit."""
        return self._replace(limit=_natural(limit or 0, "limit"), skip=_natural(skip, "skip"))

    def not_yet_exported_to(self, config_id: UUID) -> Self:
        """The same search without what already has a task for the export configuration `config_id`."""
        return self._replace(exclude_export_to=config_id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.as_dict()})"


class FileRecordSearch(_Search):
    """What to look for among file records; see the module for how criteria combine.

    Args:
        camera_ids: any of these; one text counts as a list of one.
        lat_min, lat_max, long_min, long_max: degrees, inclusive, of the location of the camera status.
        after, before: UTC, strict.
        mime_type, semantic_type: exact.
        exclude_events: leave out files that belong to an event.
        after_offset, before_offset: seconds since the previous midday UTC, strict, on any date.
        meta_constraints: all must be met.
        limit: at most so many results; 0 or None for all.
        skip: leave out so many results from the front (newest first).
        exclude_export_to: leave out what has a task for this export configuration.
        exclude_imported: leave out what came from another node.

    Raises:
        InvalidDocumentError: an empty camera list, a maximum below its minimum, a negative or
            fractional limit or skip (a ``ValueError``).
    """

    def __init__(
        self,
        camera_ids: Sequence[str] | str | None = None,
        lat_min: float | None = None,
        lat_max: float | None = None,
        long_min: float | None = None,
        long_max: float | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        mime_type: str | None = None,
        semantic_type: NSString | None = None,
        exclude_events: bool = False,
        after_offset: float | None = None,
        before_offset: float | None = None,
        meta_constraints: Sequence[MetaConstraint] | None = None,
        limit: int | None = DEFAULT_LIMIT,
        skip: int | None = 0,
        exclude_export_to: UUID | None = None,
        exclude_imported: bool = False,
    ) -> None:
        super().__init__(
            camera_ids, lat_min, lat_max, long_min, long_max, after, before, after_offset, before_offset,
            meta_constraints, limit, skip, exclude_export_to, exclude_imported,
        )  # fmt: skip
        self.mime_type = mime_type
        self.semantic_type = semantic_type
        self.exclude_events = bool(exclude_events)

    def as_dict(self) -> JsonObject:
        """The wire form: always with `limit`, `skip` and `meta`, flags only when true."""
        own: JsonObject = {
            "mime_type": self.mime_type,
            "semantic_type": None if self.semantic_type is None else str(self.semantic_type),
            "exclude_events": self.exclude_events or None,
        }
        return super().as_dict() | drop_missing(own)

    @staticmethod
    def from_dict(d: object) -> FileRecordSearch:
        """Read the wire form; absent members take the defaults, unknown ones are passed over."""
        document = require_object(d, "a search")
        common = _CommonMembers(document)
        return FileRecordSearch(
            common.camera_ids, common.lat_min, common.lat_max, common.long_min, common.long_max,
            common.after, common.before,
            read_optional(document, "mime_type", as_text),
            read_optional(document, "semantic_type", as_ns_string),
            read_optional(document, "exclude_events", bool) or False,
            common.after_offset, common.before_offset, common.meta, common.limit, common.skip,
            common.exclude_export_to, common.exclude_imported,
        )  # fmt: skip

    def without_event_files(self) -> FileRecordSearch:
        """The same search without files that belong to an event."""
        return self._replace(exclude_events=True)


class EventSearch(_Search):
    """What to look for among events; the arguments mean what they mean in `FileRecordSearch`."""

    def __init__(
        self,
        camera_ids: Sequence[str] | str | None = None,
        lat_min: float | None = None,
        lat_max: float | None = None,
        long_min: float | None = None,
        long_max: float | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        after_offset: float | None = None,
        before_offset: float | None = None,
        event_type: NSString | None = None,
        meta_constraints: Sequence[MetaConstraint] | None = None,
        limit: int | None = DEFAULT_LIMIT,
        skip: int | None = 0,
        exclude_export_to: UUID | None = None,
        exclude_imported: bool = False,
    ) -> None:
        super().__init__(
            camera_ids, lat_min, lat_max, long_min, long_max, after, before, after_offset, before_offset,
            meta_constraints, limit, skip, exclude_export_to, exclude_imported,
        )  # fmt: skip
        self.event_type = event_type

    def as_dict(self) -> JsonObject:
        """The wire form: always with `limit`, `skip` and `meta`, flags only when true."""
        own: JsonObject = {"event_type": None if self.event_type is None else str(self.event_type)}
        return super().as_dict() | drop_missing(own)

    @staticmethod
    def from_dict(d: object) -> EventSearch:
        """Read the wire form; absent members take the defaults, unknown ones are passed over."""
        document = require_object(d, "a search")
        common = _CommonMembers(document)
        return EventSearch(
            common.camera_ids, common.lat_min, common.lat_max, common.long_min, common.long_max,
            common.after, common.before, common.after_offset, common.before_offset,
            read_optional(document, "event_type", as_ns_string),
            common.meta, common.limit, common.skip, common.exclude_export_to, common.exclude_imported,
        )  # fmt: skip


class _CommonMembers:
    """The members that both kinds of search document have, read and converted."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self.camera_ids = read_optional(document, "camera_ids", _as_camera_ids)
        self.lat_min = read_optional(document, "lat_min", as_number)
        self.lat_max = read_optional(document, "lat_max", as_number)
        self.long_min = read_optional(document, "long_min", as_number)
        self.long_max = read_optional(document, "long_max", as_number)
        self.after = read_optional(document, "after", as_time)
        self.before = read_optional(document, "before", as_time)
        self.after_offset = read_optional(document, "after_offset", as_number)
        self.before_offset = read_optional(document, "before_offset", as_number)
        self.meta = read_optional(document, "meta", as_list(MetaConstraint.from_dict))
        self.limit = read_optional(document, "limit", as_count, DEFAULT_LIMIT)
        self.skip = read_optional(document, "skip", as_count, 0)
        self.exclude_export_to = read_optional(document, "exclude_export_to", as_id)
        self.exclude_imported = read_optional(document, "exclude_imported", as_flag) or False


def _as_camera_ids(value: object) -> list[str]:
    return [value] if isinstance(value, str) else as_list(as_text)(value)


def _camera_list(camera_ids: Sequence[str] | str | None) -> list[str] | None:
    if camera_ids is None:
        return None
    cameras = [camera_ids] if isinstance(camera_ids, str) else list(camera_ids)
    if not cameras or not all(isinstance(camera, str) and camera for camera in cameras):
        raise InvalidDocumentError("camera_ids must name at least one camera, and none may be empty")
    return cameras


def _natural(value: object, name: str) -> int:
    try:
        return as_count(value)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"{name}: {error.detail}", pointer=f"/{name}") from error
