"""From rows of the first generation to the values of this one.

Each function raises `InvalidDocumentError` for what cannot be read; limits are checked when the values are
recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from meteorpi_db.original.source import OriginalRow
from meteorpi_db.records.events import NewEvent
from meteorpi_db.records.files import NewFile
from meteorpi_model import (
    CameraStatus,
    EventSearch,
    ExportConfiguration,
    FileRecordSearch,
    Location,
    Meta,
    NSString,
    Orientation,
    milliseconds_to_utc_datetime,
)
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.records import MetaValue

Complain = Callable[[str], None]
"""Called with what is wrong with a part of a record that is left out."""

_DEFAULT_SOFTWARE_VERSION = 1


def identity(row: OriginalRow, column: str) -> UUID:
    """The UUID in a column of 16 bytes."""
    stored = row[column]
    if not isinstance(stored, bytes) or len(stored) != 16:
        raise InvalidDocumentError(f"{column} {stored!r} is no UUID of 16 bytes")
    return UUID(bytes=stored)


def known_identity(row: OriginalRow, column: str) -> UUID | None:
    """The UUID in a column, None when there is none."""
    try:
        return identity(row, column)
    except InvalidDocumentError:
        return None


def hex_of(row: OriginalRow, column: str) -> str:
    """The identity of a row for people, whatever it is."""
    stored = row.get(column)
    return stored.hex() if isinstance(stored, bytes) else str(stored)


def _time(row: OriginalRow, column: str) -> datetime:
    milliseconds: int | None = row[column]
    if milliseconds is None:
        raise InvalidDocumentError(f"it has no {column}")
    return milliseconds_to_utc_datetime(milliseconds)


def _type(row: OriginalRow, column: str) -> NSString:
    found = NSString.from_string(row[column])
    if found is None:
        raise InvalidDocumentError(f"it has no {column}")
    return found


def status_of(row: OriginalRow, points: Iterable[OriginalRow], complain: Complain) -> CameraStatus:
    """A camera status with its visible regions; numbers that are missing are 0."""

    def number(column: str) -> float:
        return float(row.get(column) or 0.0)

    status = CameraStatus(
        lens=row["lens"] or "",
        sensor=row["sensor"] or "",
        inst_url=row["insturl"],
        inst_name=row["instname"],
        orientation=Orientation(
            altitude=number("orientationaltitude"),
            azimuth=number("orientationazimuth"),
            error=number("orientationerror"),
            rotation=number("orientationrotation"),
            width_of_field=number("widthoffield"),
        ),
        location=Location(
            latitude=number("locationlatitude"),
            longitude=number("locationlongitude"),
            gps=bool(row["locationgps"]),
            error=number("locationerror"),
        ),
        camera_id=row["cameraid"] or "",
        status_id=identity(row, "statusid"),
    )
    version = row["softwareversion"]
    status.software_version = _DEFAULT_SOFTWARE_VERSION if version is None else version
    status.valid_from = _time(row, "validfrom")
    for corners in _polygons(points):
        try:
            status.add_region(corners)
        except InvalidDocumentError as error:
            complain(f"a visible region is left out: {error.detail}")
    return status


def _polygons(points: Iterable[OriginalRow]) -> list[list[float]]:
    ordered = sorted(points, key=lambda point: (point["region"], point["pointorder"]))
    return [
        [coordinate for point in corners for coordinate in (point["x"], point["y"])]
        for _, corners in groupby(ordered, key=lambda point: point["region"])
    ]


def metas_of(rows: Iterable[OriginalRow], complain: Complain) -> list[Meta]:
    """Metadata in order; an item without a value, which the first generation could store, is left out."""
    items = []
    for row in sorted(rows, key=lambda row: (row["metaindex"] or 0, row["internalid"])):
        try:
            items.append(Meta(_type(row, "metakey"), _value(row)))
        except InvalidDocumentError as error:
            complain(f"metadata {row['metakey']!r} is left out: {error.detail}")
    return items


def _value(row: OriginalRow) -> MetaValue:
    if row["stringvalue"] is not None:
        text: str = row["stringvalue"]
        return text
    date: int | None = row["datevalue"]
    if date is not None:
        return milliseconds_to_utc_datetime(date)
    if row["floatvalue"] is not None:
        return float(row["floatvalue"])
    raise InvalidDocumentError("it has no value")


def file_of(row: OriginalRow, metas: Sequence[Meta]) -> NewFile:
    """A file record."""
    return NewFile(
        mime_type=row["mimetype"],
        semantic_type=_type(row, "semantictype"),
        file_time=_time(row, "filetime"),
        metas=metas,
        camera_id=row["cameraid"],
        file_name=row["filename"],
    )


def event_of(row: OriginalRow, metas: Sequence[Meta]) -> NewEvent:
    """An event, without its files."""
    return NewEvent(
        camera_id=row["cameraid"],
        event_time=_time(row, "eventtime"),
        event_type=_type(row, "eventtype"),
        metas=metas,
    )


def export_of(row: OriginalRow) -> ExportConfiguration:
    """An export configuration, disabled: the old node may still be running and push."""
    try:
        document: Any = json.loads(row["searchstring"] or "{}")
    except ValueError as error:
        raise InvalidDocumentError(f"its search cannot be read: {error}") from error
    search: FileRecordSearch | EventSearch
    match (row["exporttype"] or "").strip():
        case "file":
            search = FileRecordSearch.from_dict(document)
        case "event":
            search = EventSearch.from_dict(document)
        case other:
            raise InvalidDocumentError(f"it exports {other!r}, neither files nor events")
    return ExportConfiguration(
        target_url=row["targeturl"] or "",
        user_id=row["targetuser"] or "",
        password=row["targetpassword"] or "",
        search=search,
        name=row["exportname"] or "",
        description=row["description"] or "",
        enabled=False,
        config_id=identity(row, "exportconfigid"),
    )
