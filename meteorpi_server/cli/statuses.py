"""``meteorpi status``: set-ups of cameras, past and present."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import CameraStatus, Location, Orientation
from meteorpi_model.errors import NotFoundError
from meteorpi_server.cli.cameras import status_row
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.parameters import REGION, TIME, read_region
from meteorpi_server.cli.selecting import with_options
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR

_HISTORY_COLUMNS = (
    "valid_from",
    "valid_to",
    "is_current",
    "inst_name",
    "lens",
    "sensor",
    "place",
    "pointing",
)

_PLACE = MappingProxyType(
    {"latitude": "degrees north", "longitude": "degrees east", "location_error": "metres"}
)
_VIEW = MappingProxyType(
    {
        "altitude": "degrees of the centre above the horizon",
        "azimuth": "degrees of the centre east of north",
        "rotation": "degrees, which celestial direction is up: 0 north, 90 east",
        "width_of_field": "degrees from the left edge to the centre",
        "orientation_error": "degrees",
    }
)
_TEXTS = MappingProxyType(
    {
        "lens": "name of the lens",
        "sensor": "name of the sensor",
        "inst_name": "name of the installation",
        "inst_url": "page of the installation",
    }
)


@click.group()
def status() -> None:
    """Camera statuses: where a camera stands, how it points, what it is made of."""


@status.command("show")
@click.argument("camera_id", required=False)
@click.option("--at", "time", type=TIME, help="At that time, not now.")
@json_option
@pass_setup
def show_status(setup: Setup, output: Output, camera_id: str | None, time: datetime | None) -> None:
    """Show the status of a camera (this node's own if none is named)."""
    with setup.open_database() as database:
        found = _require(database, camera_id, time)
    output.facts(found.as_dict() if output.as_json else status_row(found))


@status.command("history")
@click.argument("camera_id", required=False)
@click.option("--after", type=TIME, help="In force at some time later than this.")
@click.option("--before", type=TIME, help="In force at some time earlier than this.")
@json_option
@pass_setup
def show_history(
    setup: Setup, output: Output, camera_id: str | None, after: datetime | None, before: datetime | None
) -> None:
    """List the statuses of a camera, newest first; the current one is marked."""
    with setup.open_database() as database:
        history = database.get_status_history(camera_id or database.installation_id)
    wanted = [
        each
        for each in history
        if (before is None or each.valid_from is None or each.valid_from < before)
        and (after is None or each.valid_to is None or each.valid_to > after)
    ]
    rows = [{**status_row(each), "is_current": each.valid_to is None} for each in wanted]
    output.rows(rows, _HISTORY_COLUMNS)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def status_options(command: Any) -> Any:
    """Give `command` an option for each part of a status."""
    numbers = {**_PLACE, **_VIEW}
    options = [
        *(click.option(_flag(name), help=f"{text[0].upper()}{text[1:]}.") for name, text in _TEXTS.items()),
        *(click.option(_flag(name), type=float, help=f"In {text}.") for name, text in numbers.items()),
        click.option("--gps/--manual", "gps", default=None, help="How the place was found."),
    ]
    return with_options(command, options)


@status.command("set")
@click.argument("camera_id", required=False)
@click.option(
    "--from", "time", type=TIME, help="From then on, not from now on; deletes later data of the camera."
)
@click.option(
    "--all-history", "is_correction", is_flag=True, help="Correct all statuses that there are instead."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@status_options
@json_option
@pass_setup
def set_status(
    setup: Setup,
    output: Output,
    camera_id: str | None,
    time: datetime | None,
    is_correction: bool,
    yes: bool,
    **changes: Any,
) -> None:
    """Give a camera a new status: the present one with the given parts changed.

    A time before the camera's high water mark moves the mark back: what is later is deleted, and you are
    asked first. With --all-history no status is added: the given parts are corrected in every one that there
    is. Nodes that statuses were exported to keep the old ones.
    """
    if is_correction and time is not None:
        raise click.UsageError("--all-history goes without --from")
    with setup.open_database() as database:
        camera_id = camera_id or database.installation_id
        if is_correction:
            correct_history(database, camera_id, changes)
        else:
            new = database.get_camera_status(time, camera_id) or blank_status(camera_id)
            change(new, changes)
            _confirm_rollback(database, camera_id, time, yes)
            store_status(database, new, time, camera_id)
        found = _require(database, camera_id, time)
    output.facts(found.as_dict() if output.as_json else status_row(found))


@status.command("regions")
@click.argument("camera_id", required=False)
@click.option("--region", "regions", type=REGION, multiple=True, help='Corners: "0,0 720,0 720,576".')
@click.option("--none", "is_cleared", is_flag=True, help="Take all regions away.")
@json_option
@pass_setup
def set_regions(
    setup: Setup, output: Output, camera_id: str | None, regions: tuple[list[float], ...], is_cleared: bool
) -> None:
    """Say where in the picture of a camera the sky is visible.

    Without options the corners are asked for point by point, in pixels from the top left: an empty answer
    ends a polygon, an empty polygon ends them all.
    """
    with setup.open_database() as database:
        camera_id = camera_id or database.installation_id
        new = _require(database, camera_id, None)
        new.regions = []
        for region in [] if is_cleared else list(regions) or _ask_regions():
            new.add_region(region)
        store_status(database, new, None, camera_id)
    output.facts({"camera_id": camera_id, "regions": new.regions})


def blank_status(camera_id: str) -> CameraStatus:
    """The status of a camera of which nothing is known."""
    return CameraStatus("", "", None, None, Orientation(), Location(), camera_id)


def change(status: CameraStatus, changes: Mapping[str, Any]) -> None:
    """Change the parts of `status` that `changes` has a value for; the names are those of the options."""
    targets: dict[str, tuple[object, str]] = {name: (status, name) for name in _TEXTS}
    targets |= {name: (status.location, name) for name in ("latitude", "longitude", "gps")}
    targets |= {
        name: (status.orientation, name) for name in ("altitude", "azimuth", "rotation", "width_of_field")
    }
    targets["location_error"] = (status.location, "error")
    targets["orientation_error"] = (status.orientation, "error")
    for name, value in changes.items():
        if value is not None:
            setattr(*targets[name], value)


def store_status(database: MeteorDatabase, new: CameraStatus, time: datetime | None, camera_id: str) -> None:
    """Store a status, and note who did."""
    database.update_camera_status(new, time, camera_id)
    database.record_audit(ACTOR, "camera.status", camera_id)


def correct_history(database: MeteorDatabase, camera_id: str, changes: Mapping[str, Any]) -> None:
    """Change parts of every status of a camera, and note who did."""
    number = database.amend_status_history(lambda status: change(status, changes), camera_id)
    database.record_audit(ACTOR, "camera.status", camera_id, f"corrected {number}")


def _ask_regions() -> list[list[float]]:
    regions: list[list[float]] = []
    while corners := _ask_corners(len(regions) + 1):
        regions.append(read_region(" ".join(corners)))
    return regions


def _ask_corners(number: int) -> list[str]:
    corners: list[str] = []
    while True:
        text = f"polygon {number}, corner {len(corners) + 1} as x,y (empty to end)"
        answer: str = click.prompt(text, default="", show_default=False, err=True)
        if not answer.strip():
            return corners
        corners.append(answer.replace(" ", ""))


def _confirm_rollback(database: MeteorDatabase, camera_id: str, time: datetime | None, yes: bool) -> None:
    mark = database.get_high_water_mark(camera_id)
    if time is None or mark is None or time >= mark or yes:
        return
    losses = database.count_data(camera_id, time, None)
    if losses:
        question = f"This deletes {losses.events} events and {losses.files} files after {time}. Go on?"
        click.confirm(question, abort=True, err=True)


def _require(database: MeteorDatabase, camera_id: str | None, time: datetime | None) -> CameraStatus:
    found = database.get_camera_status(time, camera_id)
    if found is None:
        camera_id = camera_id or database.installation_id
        raise NotFoundError(f"camera {camera_id} has no status at that time", entity_id=camera_id)
    return found
