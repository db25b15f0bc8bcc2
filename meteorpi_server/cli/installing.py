"""``meteorpi deploy``: from nothing to a camera that works."""

from __future__ import annotations

from typing import Any

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import CameraStatus
from meteorpi_server.cli.exports import export_rows, new_export, replace_exports
from meteorpi_server.cli.output import Output
from meteorpi_server.cli.passwords import ask_password
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.statuses import blank_status, change, store_status
from meteorpi_server.cli.users import ACTOR

ADMINISTRATOR_ROLES = ["user", "camera_admin"]
_QUESTIONS = (
    ("inst_name", "Name of the installation", str),
    ("inst_url", "Its web page", str),
    ("lens", "Lens", str),
    ("sensor", "Sensor", str),
    ("latitude", "Latitude, degrees north", float),
    ("longitude", "Longitude, degrees east", float),
    ("altitude", "Altitude of the centre of the field, degrees", float),
    ("azimuth", "Its azimuth, degrees east of north", float),
    ("rotation", "Direction that is up, degrees from north over east", float),
    ("width_of_field", "Half the width of the field, degrees", float),
)


@click.command()
@click.option("--camera", "camera_id", help="Camera id; that of this node if not given.")
@pass_setup
def deploy(setup: Setup, camera_id: str | None) -> None:
    """Set up a new camera step by step.

    Creates what is missing, then asks for the camera's place and pointing, for an administrator, and for
    where to export to. An empty answer keeps what is shown, or leaves it out.
    """
    output = Output()
    with setup.open_database(create=True) as database:
        camera_id = camera_id or database.installation_id
        output.say(f"Camera {camera_id}; database {database.transactions.backend.label}")
        new = database.get_camera_status(camera_id=camera_id) or blank_status(camera_id)
        change(new, _ask_about(new))
        store_status(database, new, None, camera_id)
        if user_id := _ask("Administrator of this node (empty for none)", "", str):
            add_administrator(database, user_id, None)
        if target := _ask("Import route to export to, such as https://hub/import (empty for none)", "", str):
            _add_exports(database, target)
        output.rows(export_rows(database), ("name", "state", "target_url"))
    output.say("Done. Start it with: meteorpi serve --export")


def add_administrator(database: MeteorDatabase, user_id: str, password: str | None) -> None:
    """Create an account that may administrate, or make one so; asks for the password of a new one."""
    roles = next((user.get_roles() for user in database.get_users() if user.user_id == user_id), None)
    if roles is None and password is None:
        password = ask_password(f"Password of {user_id}")
    result = database.create_or_update_user(user_id, password, [*(roles or []), *ADMINISTRATOR_ROLES])
    database.record_audit(ACTOR, f"user.{result}", user_id)


def _ask_about(status: CameraStatus) -> dict[str, Any]:
    parts: dict[str, object] = vars(status.orientation) | vars(status.location) | vars(status)
    return {name: _ask(question, parts[name], kind) for name, question, kind in _QUESTIONS}


def _ask(question: str, default: object, kind: type) -> Any:
    return click.prompt(question, default="" if default is None else default, type=kind, err=True) or None


def _add_exports(database: MeteorDatabase, target_url: str) -> None:
    user_id = _ask("Account there", "", str)
    password = ask_password(f"Password of {user_id} there", is_new=False)
    replace_exports(database, [new_export(kind, target_url, user_id, password) for kind in ("event", "file")])
