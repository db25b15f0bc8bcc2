"""``meteorpi report``: what cameras did in a range of times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import EventSearch, FileRecord, FileRecordSearch, NSString
from meteorpi_server.cli.cameras import camera_row
from meteorpi_server.cli.output import Output, json_option, size_text
from meteorpi_server.cli.parameters import TIME, TYPE
from meteorpi_server.cli.searching import event_row, file_row
from meteorpi_server.cli.selecting import with_options
from meteorpi_server.cli.setup import Setup, pass_setup

Item = TypeVar("Item")

ANY_CAMERA = "any"
_SKY_CLARITY = NSString("skyClarity")


def _just_before(context: click.Context, parameter: click.Parameter, time: datetime) -> datetime:
    """A range begins with FROM; searches are for what is strictly later."""
    return time - timedelta(milliseconds=1)


_RANGE = (
    click.argument("after", metavar="[FROM]", type=TIME, default="24h", callback=_just_before),
    click.argument("before", metavar="[TO]", type=TIME, default="now"),
    click.argument("camera_id", metavar="[CAMERA]", required=False),
    click.option("--label", help="Heading of the report."),
)
_STRIDE = click.option("--stride", type=click.IntRange(1), default=1, help="Every so manieth only.")


def range_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the arguments FROM, TO and CAMERA, and the option for a heading."""
    return with_options(command, _RANGE)


@click.group()
def report() -> None:
    """Reports on a range of times.

    FROM and TO are times such as 2015-04-01T21:30, Unix seconds, 24h for so long ago, or 0 for now; without
    them the report is on the last 24 hours. CAMERA is this node's own unless one is named; `any` stands for
    all.
    """


@report.command("cameras")
@range_arguments
@json_option
@pass_setup
def report_cameras(setup: Setup, output: Output, label: str | None, **interval: Any) -> None:
    """Cameras: mark, set-up, visible regions, and how many files and events match."""
    with setup.open_database() as database:
        chosen = chosen_camera(database, interval["camera_id"])
        rows = []
        for camera_id in database.get_cameras() if chosen is None else [chosen]:
            scope = {
                "camera_ids": camera_id,
                "after": interval["after"],
                "before": interval["before"],
                "limit": 1,
            }
            matches = {
                "files": database.search_files(FileRecordSearch(**scope))["count"],
                "events": database.search_events(EventSearch(**scope))["count"],
            }
            rows.append(camera_row(database, camera_id) | matches)
    _head(output, label)
    for row in rows:
        output.facts(row)
        output.say("")


@report.command("events")
@range_arguments
@click.option("--type", "event_type", type=TYPE, help="Of this type only.")
@_STRIDE
@json_option
@pass_setup
def report_events(
    setup: Setup, output: Output, label: str | None, event_type: NSString | None, stride: int, **interval: Any
) -> None:
    """Events with their metadata."""
    with setup.open_database() as database:
        search = EventSearch(event_type=event_type, limit=0, **_scope(database, interval))
        found = every(stride, database.iterate_events(search))
        _head(output, label)
        count = output.rows(
            (event_row(event, output) for event in found),
            ("event_time", "camera_id", "event_type", "files", "metadata"),
        )
    output.say(f"{count} events")


@report.command("files")
@range_arguments
@click.option("--type", "semantic_type", type=TYPE, help="Of this type only.")
@_STRIDE
@json_option
@pass_setup
def report_files(
    setup: Setup,
    output: Output,
    label: str | None,
    semantic_type: NSString | None,
    stride: int,
    **interval: Any,
) -> None:
    """Files with their sizes and paths."""
    with setup.open_database() as database:
        search = FileRecordSearch(semantic_type=semantic_type, limit=0, **_scope(database, interval))
        found = every(stride, database.iterate_files(search))
        _head(output, label)
        rows = ({**file_row(record, output), "path": str(record.get_path())} for record in found)
        count = output.rows(rows, ("file_time", "camera_id", "semantic_type", "mime_type", "size", "path"))
    output.say(f"{count} files")


@report.command("images")
@range_arguments
@click.option("--type", "semantic_type", type=TYPE, help="Image type; any picture if not given.")
@_STRIDE
@json_option
@pass_setup
def report_images(
    setup: Setup,
    output: Output,
    label: str | None,
    semantic_type: NSString | None,
    stride: int,
    **interval: Any,
) -> None:
    """Images with the clarity of the sky and their paths."""
    with setup.open_database() as database:
        search = FileRecordSearch(semantic_type=semantic_type, limit=0, **_scope(database, interval))
        images = (
            record for record in database.iterate_files(search) if record.mime_type.startswith("image/")
        )
        _head(output, label)
        rows = (
            {**file_row(record, output), "sky_clarity": sky_clarity(record), "path": str(record.get_path())}
            for record in every(stride, images)
        )
        count = output.rows(rows, ("file_time", "camera_id", "semantic_type", "sky_clarity", "path"))
    output.say(f"{count} images")


@report.command("disk")
@range_arguments
@json_option
@pass_setup
def report_disk(setup: Setup, output: Output, label: str | None, **interval: Any) -> None:
    """Disk usage by type and day."""
    with setup.open_database() as database:
        camera_id = chosen_camera(database, interval["camera_id"])
        usage = database.get_disk_usage(camera_id, interval["after"], interval["before"])
    _head(output, label)
    rows = [{**asdict(each), "size": size_text(each.size_bytes), "day": each.day} for each in usage]
    output.rows(
        [row if output.as_json else row | {"day": f"{row['day']:%Y-%m-%d}"} for row in rows], _DISK_COLUMNS
    )
    output.say(
        f"{sum(each.files for each in usage)} files, {size_text(sum(each.size_bytes for each in usage))}"
    )


_DISK_COLUMNS = ("day", "semantic_type", "files", "size")


@report.command("triggers")
@range_arguments
@json_option
@pass_setup
def report_triggers(setup: Setup, output: Output, label: str | None, **interval: Any) -> None:
    """Images and events by the hour, with mean clarity of the sky and altitude of the sun."""
    with setup.open_database() as database:
        camera_id = chosen_camera(database, interval["camera_id"])
        rates = database.get_hourly_rates(camera_id, interval["after"], interval["before"])
    _head(output, label)
    output.rows([asdict(rate) for rate in rates], ("hour", "images", "events", "sky_clarity", "sun_altitude"))


def every(stride: int, items: Iterable[Item]) -> Iterable[Item]:
    """The first of `items`, and each `stride`-th after it."""
    return itertools.islice(items, 0, None, stride)


def sky_clarity(record: FileRecord) -> int | float | None:
    """How clear the sky is in a picture, 0 to 100, or None where nobody measured it."""
    return next((item.float_value() for item in record.meta if item.key == _SKY_CLARITY), None)


def chosen_camera(database: MeteorDatabase, camera_id: str | None) -> str | None:
    """The camera that a report is on: that of the node unless one is named, None for `any`."""
    return None if camera_id == ANY_CAMERA else camera_id or database.installation_id


def _scope(database: MeteorDatabase, interval: dict[str, Any]) -> dict[str, Any]:
    camera_id = chosen_camera(database, interval["camera_id"])
    return {"camera_ids": camera_id, "after": interval["after"], "before": interval["before"]}


def _head(output: Output, label: str | None) -> None:
    if label:
        output.say(label)
