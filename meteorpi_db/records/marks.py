"""High water marks: up to which time all data of a camera has been processed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from meteorpi_db import tables
from meteorpi_db.dialects import TransactionConflictError
from meteorpi_db.records.deletion import DeletionReport, delete_later
from meteorpi_model import milliseconds_to_utc_datetime

_MARK = tables.high_water_mark


def mark_of(connection: Connection, camera_id: str) -> datetime | None:
    """The mark of a camera."""
    return milliseconds_to_utc_datetime(_mark(connection, camera_id))


def _mark(connection: Connection, camera_id: str) -> int | None:
    mark: int | None = connection.execute(select(_MARK.c.mark).where(_MARK.c.camera_id == camera_id)).scalar()
    return mark


def set_mark(
    connection: Connection, camera_id: str, time: int, allow_rollback: bool, allow_advance: bool
) -> DeletionReport:
    """Move the mark where that is allowed; moving it back deletes what is later.

    Args:
        connection: of a writing transaction.
        camera_id: the camera.
        time: milliseconds.
        allow_rollback: whether the mark may move back.
        allow_advance: whether it may be made, or move forward.

    Returns:
        What was deleted.
    """
    mark = _mark(connection, camera_id)
    if mark is None:
        if allow_advance:
            connection.execute(insert(_MARK).values(camera_id=camera_id, mark=time))
    elif mark < time and allow_advance:
        _move(connection, camera_id, mark, time)
    elif mark > time and allow_rollback:
        _move(connection, camera_id, mark, time)
        return delete_later(connection, camera_id, time)
    return DeletionReport()


def _move(connection: Connection, camera_id: str, old: int, new: int) -> None:
    statement = update(_MARK).where(_MARK.c.camera_id == camera_id, _MARK.c.mark == old).values(mark=new)
    if connection.execute(statement).rowcount != 1:
        raise TransactionConflictError(f"the mark of {camera_id!r} was moved by somebody else")
