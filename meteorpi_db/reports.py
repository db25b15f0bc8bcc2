"""Figures over what is held: counts, disk usage by type and day, rates by the hour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, literal_column, select

from meteorpi_db import tables
from meteorpi_db.exporting.exports import ACTIVE
from meteorpi_model import milliseconds_to_utc_datetime

HOUR_MILLISECONDS = 3_600_000
DAY_MILLISECONDS = 24 * HOUR_MILLISECONDS
SKY_CLARITY_KEY = "meteorpi:skyClarity"
SUN_ALTITUDE_KEY = "meteorpi:sunAlt"

_FILE = tables.file_record
_EVENT = tables.event
_META = tables.file_meta


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What a report is about.

    Attributes:
        camera_id: one camera; None for all.
        after, before: milliseconds, strict; None for no limit.
    """

    camera_id: str | None = None
    after: int | None = None
    before: int | None = None

    def condition(self, camera: ColumnElement[str], time: ColumnElement[int]) -> ColumnElement[bool]:
        """The interval as a condition on these columns."""
        return and_(
            time.is_not(None),
            *([camera == self.camera_id] if self.camera_id is not None else []),
            *([time > self.after] if self.after is not None else []),
            *([time < self.before] if self.before is not None else []),
        )


@dataclass(frozen=True)
class DiskUsage:
    """Content of one type made on one day.

    Attributes:
        day: its beginning, UTC.
        semantic_type: type of the files.
        files: how many.
        size_bytes: their content.
    """

    day: datetime
    semantic_type: str
    files: int
    size_bytes: int


@dataclass
class HourlyRate:
    """What one hour brought.

    Attributes:
        hour: its beginning, UTC.
        images: files whose MIME type is that of a picture.
        events: events.
        sky_clarity: mean of the files' metadata ``meteorpi:skyClarity``, 0 to 100; None without any.
        sun_altitude: mean of the files' metadata ``meteorpi:sunAlt``, degrees; None without any.
    """

    hour: datetime
    images: int = field(default=0)
    events: int = field(default=0)
    sky_clarity: float | None = field(default=None)
    sun_altitude: float | None = field(default=None)


def count_entities(connection: Connection) -> dict[str, int]:
    """Numbers of what is held, and the bytes of all contents."""
    tasks, size = tables.export_task, select(func.sum(_FILE.c.file_size))
    cameras = select(func.count(tables.camera_status.c.camera_id.distinct()))
    return {
        "files": _count(connection, _FILE),
        "bytes": int(connection.execute(size).scalar() or 0),
        "corrupt_files": _count(connection, _FILE, _FILE.c.is_corrupt.is_(True)),
        "events": _count(connection, _EVENT),
        "statuses": _count(connection, tables.camera_status),
        "cameras": int(connection.execute(cameras).scalar_one()),
        "users": _count(connection, tables.user_account),
        "export_configurations": _count(connection, tables.export_config),
        "export_tasks_pending": _count(connection, tasks, tasks.c.state == ACTIVE),
    }


def _count(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    statement = select(func.count()).select_from(table).where(*conditions)
    return int(connection.execute(statement).scalar_one())


def newest_file_times(connection: Connection) -> dict[str, int]:
    """For each camera the time of its newest file, milliseconds."""
    newest = func.max(_FILE.c.file_time).label("newest")
    statement = select(_FILE.c.camera_id, newest).where(_FILE.c.file_time.is_not(None))
    return {
        row.camera_id: int(row.newest) for row in connection.execute(statement.group_by(_FILE.c.camera_id))
    }


def disk_usage(connection: Connection, interval: Interval) -> list[DiskUsage]:
    """Size of contents by day and type, latest day first."""
    day = _period(_FILE.c.file_time, DAY_MILLISECONDS)
    statement = (
        select(
            day, _FILE.c.semantic_type, func.count().label("files"), func.sum(_FILE.c.file_size).label("size")
        )
        .where(interval.condition(_FILE.c.camera_id, _FILE.c.file_time))
        .group_by(day, _FILE.c.semantic_type)
    )
    rows = sorted(connection.execute(statement).all(), key=lambda row: (-row.period, str(row.semantic_type)))
    return [
        DiskUsage(_beginning(row.period, DAY_MILLISECONDS), row.semantic_type, row.files, int(row.size))
        for row in rows
    ]


def hourly_rates(connection: Connection, interval: Interval) -> list[HourlyRate]:
    """What each hour brought in which there was anything, latest first."""
    rates: dict[int, HourlyRate] = {}

    def rate(period: int) -> HourlyRate:
        return rates.setdefault(period, HourlyRate(_beginning(period, HOUR_MILLISECONDS)))

    for row in connection.execute(_by_hour(_FILE.c.file_time, interval, _FILE).where(_IS_IMAGE)):
        rate(row.period).images = row.figure
    for row in connection.execute(_by_hour(_EVENT.c.event_time, interval, _EVENT)):
        rate(row.period).events = row.figure
    for row in connection.execute(_mean_by_hour(SKY_CLARITY_KEY, interval)):
        rate(row.period).sky_clarity = row.figure
    for row in connection.execute(_mean_by_hour(SUN_ALTITUDE_KEY, interval)):
        rate(row.period).sun_altitude = row.figure
    return [rates[period] for period in sorted(rates, reverse=True)]


# All that begins with "image/": the character after the slash is "0".
_IS_IMAGE = and_(_FILE.c.mime_type >= "image/", _FILE.c.mime_type < "image0")


def _by_hour(time: ColumnElement[int], interval: Interval, table: Table) -> Select[Any]:
    hour = _period(time, HOUR_MILLISECONDS)
    condition = interval.condition(table.c.camera_id, time)
    return select(hour, func.count().label("figure")).where(condition).group_by(hour)


def _mean_by_hour(key: str, interval: Interval) -> Select[Any]:
    hour = _period(_META.c.entity_time, HOUR_MILLISECONDS)
    return (
        select(hour, func.avg(_META.c.number_value).label("figure"))
        .join(_FILE, _FILE.c.id == _META.c.owner_pk)
        .where(
            _META.c.meta_key == key,
            _META.c.number_value.is_not(None),
            interval.condition(_FILE.c.camera_id, _META.c.entity_time),
        )
        .group_by(hour)
    )


def _period(time: ColumnElement[int], milliseconds: int) -> Any:
    """Number of the period that `time` falls into; the divisor is text, so that GROUP BY can repeat it."""
    return (time // literal_column(str(milliseconds), time.type)).label("period")


def _beginning(period: int, milliseconds: int) -> datetime:
    return milliseconds_to_utc_datetime(int(period) * milliseconds)
