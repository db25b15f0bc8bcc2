"""``meteorpi demo``: a station and a hub, a night, and the proof that it arrived."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import click

from meteorpi_server.cli.demo_check import Comparison, Holdings, compare, wait_for_arrival
from meteorpi_server.cli.demo_nodes import ENGINES, DemoNode, open_databases
from meteorpi_server.cli.output import Output, json_option, progress
from meteorpi_server.cli.stopping import stop_on_signals

_IMPORTER = "station"


@click.command()
@click.option("--once", is_flag=True, help="End when all has arrived: with 0 if every byte is right.")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), help="Take in this, not a made-up night."
)
@click.option("--db", "engine", type=click.Choice(ENGINES), default="sqlite", help="Engine of both nodes.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep everything in this new directory.")
@json_option
def demo(output: Output, once: bool, data: Path | None, engine: str, folder: Path | None) -> int:
    """Run a station and a hub, replicate a night, and verify every byte.

    Both are processes of their own with their own database and file store, and speak HTTP over the loopback
    interface. Without --once the nodes go on serving, for the browser, until stopped.
    """
    with ExitStack() as stack:
        stack.enter_context(termination_as_interrupt())
        folder = make_folder(folder) if folder else Path(stack.enter_context(temporary_folder()))
        databases = stack.enter_context(open_databases(engine, folder))
        hub, station = (
            stack.enter_context(DemoNode(name, folder / name, databases(name))) for name in ("hub", "station")
        )
        output.say(f"two nodes on {engine}, logs and data in {folder}")
        start(hub, station, output)
        taken_in = take_in(station, data or made_up_night(folder, output), output)
        comparison = replicate(station, hub, output)
        report(output, taken_in, comparison)
        if not once:
            keep_serving(hub, station, output)
    return 0 if comparison.is_complete else 1


def start(hub: DemoNode, station: DemoNode, output: Output) -> None:
    """Create both nodes, and let the station know where to export to."""
    password = hub.add_importer(_IMPORTER)
    hub.serve(routes="admin,importer,query,node,night")
    station.initialise()
    station.describe_camera()
    station.serve(routes="query,node,night")
    station.export_to(f"{hub.url}/import", _IMPORTER, password)
    output.say(f"hub at {hub.url}/, station at {station.url}/")


def made_up_night(folder: Path, output: Output) -> Path:
    """Make a night that no camera recorded."""
    from meteorpi_db.testing.night import make_night  # needs the extra "demo"

    begun = time.monotonic()
    night = make_night(folder / "night")
    output.say(f"made up a night in {time.monotonic() - begun:.1f} s")
    return night


def take_in(station: DemoNode, data: Path, output: Output) -> Holdings:
    """Ingest `data` at the station."""
    begun = time.monotonic()
    complaints = station.ingest(data)
    held = Holdings.of(station.client)
    seconds = time.monotonic() - begun
    for complaint in complaints:
        output.warn(f"station: {complaint}")
    output.say(f"station took in {held.text(seconds)}")
    return held


def replicate(station: DemoNode, hub: DemoNode, output: Output) -> Comparison:
    """Export until the hub holds what the station holds, then compare every byte."""
    begun = time.monotonic()
    station.start_exporter()
    with progress("replicating") as advance:
        arrived = wait_for_arrival(station, hub, advance)
    seconds = time.monotonic() - begun
    output.say(f"hub received {arrived.text(seconds)}")
    with progress("verifying") as advance, tempfile.TemporaryDirectory() as scratch:
        return compare(station, hub, Path(scratch), advance)


def report(output: Output, taken_in: Holdings, comparison: Comparison) -> None:
    """Say whether the hub holds what the station holds."""
    for difference in comparison.differences[:20]:
        output.warn(difference)
    if output.as_json:
        output.facts({"events": taken_in.events, "files": taken_in.files, **comparison.as_dict()})
        return
    output.say(f"SHA-256 at the hub equals the station's: {comparison.equal_files} of {taken_in.files} files")
    output.say(f"records equal the station's: {comparison.equal_events} of {taken_in.events} events")
    output.say(f"{comparison.equal_events} events")
    output.say("complete" if comparison.is_complete else f"{len(comparison.differences)} differences")


def keep_serving(hub: DemoNode, station: DemoNode, output: Output) -> None:
    """Leave both nodes to the browser until asked to stop."""
    with stop_on_signals() as stop:
        output.say(f"look at the night:     {hub.url}/night")
        output.say(f"read about the routes: {hub.url}/docs")
        output.say(f"the station has its:   {station.url}/night")
        output.say("Ctrl-C ends the demo")
        stop.wait()


def make_folder(folder: Path) -> Path:
    """Create `folder`; never write into what is somebody's."""
    folder.mkdir(parents=True)
    return folder.resolve()


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A directory for the time of the demo."""
    return tempfile.TemporaryDirectory(prefix="meteorpi-demo-", ignore_cleanup_errors=True)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the program as Ctrl-C does, so that no process of the demo is left behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
