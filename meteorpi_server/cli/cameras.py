"""``meteorpi cameras``: the cameras a node knows."""

from __future__ import annotations

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import CameraStatus
from meteorpi_server.cli.output import Output, Row, json_option
from meteorpi_server.cli.setup import Setup, pass_setup

_COLUMNS = ("camera_id", "inst_name", "high_water_mark", "valid_from", "lens", "sensor", "place", "pointing")


@click.command()
@json_option
@pass_setup
def cameras(setup: Setup, output: Output) -> None:
    """List the cameras that have a status, and their present set-up."""
    with setup.open_database() as database:
        output.rows([camera_row(database, camera_id) for camera_id in database.get_cameras()], _COLUMNS)


def camera_row(database: MeteorDatabase, camera_id: str) -> dict[str, object]:
    """What there is to say about a camera now."""
    status = database.get_camera_status(camera_id=camera_id)
    row: dict[str, object] = {
        "camera_id": camera_id,
        "high_water_mark": database.get_high_water_mark(camera_id),
    }
    return row if status is None else row | dict(status_row(status))


def status_row(status: CameraStatus) -> Row:
    """A status for people and scripts: the wire form, its times, and its place and pointing in words."""
    place, view = status.location, status.orientation
    return status.as_dict() | {
        "valid_from": status.valid_from,
        "valid_to": status.valid_to,
        "place": f"{place.latitude:.5f} {place.longitude:.5f} ±{place.error:g} m",
        "pointing": (
            f"alt {view.altitude:g} az {view.azimuth:g} rot {view.rotation:g}"
            f" half width {view.width_of_field:g} ±{view.error:g} degrees"
        ),
    }
