"""Camera statuses: rows, the one in force at a time, and the history of a camera.

`valid_to` is never stored: it is the next `valid_from` of the same camera.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_db.exporting import marking_progress
from meteorpi_model import (
    CameraStatus,
    Location,
    Orientation,
    milliseconds_to_utc_datetime,
    utc_datetime_to_milliseconds,
)
from meteorpi_model.errors import InvalidDocumentError, UnknownStatusError
from meteorpi_model.status import Polygon, as_regions

_STATUS = tables.camera_status
_SOFTWARE_VERSION_LIMIT = 2**31 - 1


class StatusKey(NamedTuple):
    """A status as entities refer to it: by row number here, by UUID between nodes."""

    pk: int
    status_id: UUID


def key_at(connection: Connection, camera_id: str, time: int) -> StatusKey | None:
    """The status with the greatest `valid_from` <= `time`; of two at one instant the later registered."""
    statement = (
        select(_STATUS.c.id, _STATUS.c.status_id)
        .where(_STATUS.c.camera_id == camera_id, _STATUS.c.valid_from <= time)
        .order_by(_STATUS.c.camera_id.desc(), _STATUS.c.valid_from.desc(), _STATUS.c.id.desc())
        .limit(1)
    )
    row = connection.execute(statement).first()
    return None if row is None else StatusKey(row.id, row.status_id)


def require_key_at(connection: Connection, camera_id: str, time: int) -> StatusKey:
    """`key_at`, or `UnknownStatusError` when the camera had no status yet."""
    key = key_at(connection, camera_id, time)
    if key is None:
        moment = milliseconds_to_utc_datetime(time)
        raise UnknownStatusError(f"camera {camera_id!r} has no status at {moment}: register one first")
    return key


def key_of(connection: Connection, status_id: UUID) -> StatusKey | None:
    """The status with that UUID."""
    pk = connection.execute(select(_STATUS.c.id).where(_STATUS.c.status_id == status_id)).scalar()
    return None if pk is None else StatusKey(pk, status_id)


def status_at(connection: Connection, camera_id: str, time: int) -> CameraStatus | None:
    """The whole status in force at `time`."""
    key = key_at(connection, camera_id, time)
    return None if key is None else status_by_id(connection, key.status_id)


def status_by_id(connection: Connection, status_id: UUID) -> CameraStatus | None:
    """The status with that UUID."""
    row = connection.execute(_select_statuses().where(_STATUS.c.status_id == status_id)).first()
    return None if row is None else _status_from(row)


def history(connection: Connection, camera_id: str) -> list[CameraStatus]:
    """Every status of a camera, newest first; of two at one instant the one that won comes first."""
    statement = _select_statuses().where(_STATUS.c.camera_id == camera_id)
    rows = sorted(connection.execute(statement), key=lambda row: (row.valid_from, row.id), reverse=True)
    return [_status_from(row) for row in rows]


def all_statuses(connection: Connection) -> list[CameraStatus]:
    """Every status of every camera, by camera and newest first."""
    rows = sorted(
        connection.execute(_select_statuses()), key=lambda row: (row.valid_from, row.id), reverse=True
    )
    return [_status_from(row) for row in sorted(rows, key=lambda row: str(row.camera_id))]


def camera_ids(connection: Connection) -> list[str]:
    """Every camera with a status, descending."""
    return sorted(connection.execute(select(_STATUS.c.camera_id).distinct()).scalars(), reverse=True)


def _select_statuses() -> Select[Any]:
    later = _STATUS.alias()
    valid_to = (
        select(func.min(later.c.valid_from))
        .where(later.c.camera_id == _STATUS.c.camera_id, later.c.valid_from > _STATUS.c.valid_from)
        .scalar_subquery()
        .label("valid_to")
    )
    return select(_STATUS, valid_to)


def _status_from(row: Row[Any]) -> CameraStatus:
    status = CameraStatus(
        lens=row.lens,
        sensor=row.sensor,
        inst_url=row.inst_url,
        inst_name=row.inst_name,
        orientation=Orientation(
            altitude=row.altitude,
            azimuth=row.azimuth,
            error=row.orientation_error,
            rotation=row.rotation,
            width_of_field=row.width_of_field,
        ),
        location=Location(row.latitude, row.longitude, row.gps, row.location_error),
        camera_id=row.camera_id,
        status_id=row.status_id,
    )
    status.software_version = row.software_version
    status.valid_from = milliseconds_to_utc_datetime(row.valid_from)
    status.valid_to = milliseconds_to_utc_datetime(row.valid_to)
    status.regions = as_regions(json.loads(row.regions))
    return status


def status_row(
    status: CameraStatus, camera_id: str, status_id: UUID, valid_from: int, software_version: int
) -> dict[str, object]:
    """Check `status` and give its row.

    Args:
        status: everything but what the other arguments say.
        camera_id: the camera; ``status.camera_id`` is not used.
        status_id: identity.
        valid_from: milliseconds.
        software_version: version of the software that made the status.

    Raises:
        InvalidDocumentError: a member cannot be stored.
    """
    if not isinstance(status, CameraStatus):
        raise InvalidDocumentError(f"not a camera status: {status!r}")
    if not 0 <= software_version <= _SOFTWARE_VERSION_LIMIT:
        raise InvalidDocumentError(f"software_version {software_version} is out of range")
    return {
        "status_id": status_id,
        "camera_id": limits.checked_camera_id(camera_id),
        "valid_from": valid_from,
        "software_version": software_version,
        "lens": limits.checked_text(status.lens, "lens", tables.NAME_LENGTH, may_be_empty=True),
        "sensor": limits.checked_text(status.sensor, "sensor", tables.NAME_LENGTH, may_be_empty=True),
        "inst_url": limits.checked_optional_text(status.inst_url, "inst_url", tables.NAME_LENGTH),
        "inst_name": limits.checked_optional_text(status.inst_name, "inst_name", tables.NAME_LENGTH),
        "gps": bool(status.location.gps),
        "regions": _regions_text(status.regions),
        **_numbers(status),
    }


def _numbers(status: CameraStatus) -> dict[str, object]:
    place, view = status.location, status.orientation
    values = {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "location_error": place.error,
        "altitude": view.altitude,
        "azimuth": view.azimuth,
        "rotation": view.rotation,
        "orientation_error": view.error,
        "width_of_field": view.width_of_field,
    }
    return {name: limits.checked_number(value, name) for name, value in values.items()}


def _regions_text(regions: Iterable[Polygon]) -> str:
    for polygon in regions:
        for point in polygon:
            limits.checked_number(point["x"], "x of a region")
            limits.checked_number(point["y"], "y of a region")
    return json.dumps([[{"x": point["x"], "y": point["y"]} for point in polygon] for polygon in regions])


def insert_status(connection: Connection, row: dict[str, object]) -> None:
    """Store a row made by `status_row`."""
    connection.execute(insert(_STATUS).values(row))


def amend_history(connection: Connection, camera_id: str, change: Callable[[CameraStatus], object]) -> int:
    """Let `change` correct every status of a camera in place; gives their number."""
    found = history(connection, camera_id)
    for status in found:
        status_id, valid_from = status.status_id, utc_datetime_to_milliseconds(status.valid_from)
        if status_id is None or valid_from is None:
            raise InvalidDocumentError("a stored status has an id and a start")
        change(status)
        row = status_row(status, camera_id, status_id, valid_from, status.software_version)
        connection.execute(update(_STATUS).where(_STATUS.c.status_id == status_id).values(row))
    marking_progress.forget(connection)
    return len(found)
