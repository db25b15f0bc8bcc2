"""``meteorpi delete``: data of a camera and a range of times."""

from __future__ import annotations

from datetime import datetime

import click

from meteorpi_server.cli.output import Output, json_option, size_text
from meteorpi_server.cli.parameters import TIME
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR


@click.command()
@click.option("--camera", "camera_id", required=True, help="Camera id.")
@click.option("--after", type=TIME, help="Later than this only.")
@click.option("--before", type=TIME, help="Earlier than this only.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Count only.")
@json_option
@pass_setup
def delete(
    setup: Setup,
    output: Output,
    camera_id: str,
    after: datetime | None,
    before: datetime | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Delete files and events of a camera: show how many there are, ask, delete.

    Camera statuses stay. A file within the range is deleted also from an event outside of it; a file outside
    of the range stays when its event is deleted. What was exported stays where it went.
    """
    with setup.open_database() as database:
        report = database.count_data(camera_id, after, before)
        if dry_run or not report:
            output.facts(report.as_dict())
            return
        if not yes:
            question = (
                f"Delete {report.events} events and {report.files} files ({size_text(report.size_bytes)}) "
                f"of camera {camera_id}?"
            )
            click.confirm(question, abort=True, err=True)
        report = database.delete_data(camera_id, after, before)
        database.record_audit(ACTOR, "data.delete", camera_id, detail=f"after={after} before={before}")
    output.facts(report.as_dict())
