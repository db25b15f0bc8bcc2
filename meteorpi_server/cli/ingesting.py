"""``meteorpi ingest`` and ``meteorpi watch``: from directories into the node."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from meteorpi_db.ingest import IngestOptions, IngestReport, StatusFacts, Watcher
from meteorpi_db.ingest import ingest as ingest_path
from meteorpi_model import Location
from meteorpi_server.cli.output import Output, json_option, printable, progress, size_text
from meteorpi_server.cli.selecting import with_options
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.stopping import stop_on_signals
from meteorpi_server.supervision import Supervisor

_MOST_TROUBLES = 20


def ingest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the options that `options_of` takes."""
    return with_options(
        command,
        (
            click.option("--camera", "camera_id", help="Camera of files that do not name their own."),
            click.option(
                "--time-zone", default="UTC", help="Zone of times that do not name one.", metavar="ZONE"
            ),
            click.option("--move", is_flag=True, help="Remove each source file once it is stored durably."),
            click.option(
                "--quarantine", type=click.Path(path_type=Path), help="Where damaged files are copied."
            ),
            click.option("--latitude", type=float, help="Where the camera stands, in degrees north."),
            click.option("--longitude", type=float, help="Where the camera stands, in degrees east."),
            click.option("--lens", help="Its lens."),
            click.option("--sensor", help="Its sensor."),
            click.option("--name", "inst_name", help="Name of the installation."),
        ),
    )


def options_of(
    *,
    camera_id: str | None,
    time_zone: str,
    move: bool,
    quarantine: Path | None,
    latitude: float | None,
    longitude: float | None,
    lens: str | None,
    sensor: str | None,
    inst_name: str | None,
) -> IngestOptions:
    """What the options on the command line say to the readers."""
    if (latitude is None) != (longitude is None):
        raise click.UsageError("--latitude and --longitude belong together")
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise click.BadParameter(f"there is no time zone {time_zone!r}", param_hint="--time-zone") from error
    location = None if latitude is None or longitude is None else Location(latitude, longitude)
    facts = StatusFacts(location=location, lens=lens, sensor=sensor, inst_name=inst_name)
    return IngestOptions(
        camera_id=camera_id, facts=facts, time_zone=zone, quarantine_path=quarantine, move=move
    )


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@ingest_options
@json_option
@pass_setup
def ingest(setup: Setup, output: Output, paths: tuple[Path, ...], **options: Any) -> int:
    """Take in files, or everything below directories: pictures, videos, nights of RMS stations.

    What is held already is left as it is, so repeating adds nothing and completes what was interrupted. Ends
    with 1 when files were damaged or could not be taken.
    """
    total = IngestReport()
    with setup.open_database() as database:
        for path in paths:
            with progress(f"ingesting {path}") as advance:
                found = ingest_path(
                    database, path, options_of(**options), lambda report: advance(held(report), None)
                )
            total.add(found)
    tell(output, total)
    return 0 if total.is_complete else 1


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--interval", "interval_seconds", type=float, default=5.0, help="Seconds between two looks.")
@click.option(
    "--settle", "settle_seconds", type=float, default=10.0, help="Seconds for which a file must rest."
)
@ingest_options
@json_option
@pass_setup
def watch(
    setup: Setup, output: Output, path: Path, interval_seconds: float, settle_seconds: float, **options: Any
) -> None:
    """Take in what appears below a directory, until stopped (SIGTERM or Ctrl-C).

    Leaves out what the settings of retention would let `meteorpi prune` delete again.
    """
    settings = setup.settings
    kept = dataclasses.replace(
        options_of(**options),
        keep_frames_days=settings.keep_frames_days,
        keep_events_days=settings.keep_events_days,
    )
    supervisor = Supervisor.from_environ(os.environ)
    with setup.open_database() as database, stop_on_signals() as stop:
        setup.configure_logging()
        watcher = Watcher(
            database,
            path,
            kept,
            settle_seconds=settle_seconds,
            on_progress=lambda: supervisor.beat("watch"),
        )
        supervisor.ready(f"watching {printable(str(path))}")
        watcher.run(stop, interval_seconds, lambda report: tell(output, report))
        supervisor.stopping()


def held(report: IngestReport) -> int:
    """Files done so far."""
    return report.files + report.files_present + len(report.quarantined)


def tell(output: Output, report: IngestReport) -> None:
    """Print what an ingest did, and on standard error what it could not do."""
    for kind, troubles in (("damaged", report.quarantined), ("refused", report.refused)):
        for trouble in troubles[:_MOST_TROUBLES]:
            output.warn(printable(f"{kind}: {trouble.path}: {trouble.reason}"))
        if len(troubles) > _MOST_TROUBLES:
            output.warn(f"{kind}: {len(troubles) - _MOST_TROUBLES} more")
    if output.as_json:
        output.facts(report.as_dict())
        return
    rate = report.bytes / report.seconds if report.seconds else 0.0
    output.say(
        f"{report.files} files ({size_text(report.bytes)}), {report.events} events and {report.statuses} "
        f"camera statuses taken in, in {report.seconds:.1f} s ({size_text(rate)}/s)"
    )
    if report.files_present or report.events_present:
        output.say(f"{report.files_present} files and {report.events_present} events were held already")
    for reason, count in sorted(report.left_out.items()):
        output.say(f"{count} files left out: {reason}")
