"""``meteorpi serve`` and ``meteorpi export``: the two processes of a node."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import click

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.stopping import stop_on_signals
from meteorpi_server.deployment import make_exporter, make_meteor_app
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import serve as serve_application
from meteorpi_server.supervision import Supervisor

_PART: Final = "export"


@click.command()
@click.option("--host", help="Address to listen on, instead of METEORPI_HOST.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="TCP port, instead of METEORPI_PORT; 0 takes a free one."
)
@click.option("--export/--no-export", default=None, help="Export from this process too, or not.")
@json_option
@pass_setup
def serve(setup: Setup, output: Output, **options: Any) -> None:
    """Serve the node over HTTP until stopped (SIGTERM or Ctrl-C).

    Prints the address when it is open. The routes are those of METEORPI_ROUTES.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = dataclasses.replace(setup.settings, **given)
    setup.configure_logging()
    with settings.open_database() as database:
        meteor_app = make_meteor_app(database, settings)
        supervisor = Supervisor.from_environ(os.environ)
        work = exporting(database, settings, supervisor) if settings.export else contextlib.nullcontext()
        with work as exporter, meteor_app.upkeep:

            def stop() -> None:
                meteor_app.stopping.ask()
                if exporter is not None:
                    exporter.stop()

            serve_application(meteor_app.app, settings, partial(announce, output, settings), supervisor, stop)


@click.command()
@click.option("--once", is_flag=True, help="Do what is due now, and end: with 1 when exports failed.")
@json_option
@pass_setup
def export(setup: Setup, output: Output, once: bool) -> int:
    """Run the exporter alone until stopped (SIGTERM or Ctrl-C).

    However many processes export from a database, one is at work at a time; another takes over when it ends.
    """
    setup.configure_logging()
    settings = setup.settings
    with settings.open_database() as database:
        if once:
            return _export_once(database, settings, output)
        supervisor = Supervisor.from_environ(os.environ)
        with exporting(database, settings, supervisor), stop_on_signals() as stop:
            output.facts({"state": "exporting", "interval_seconds": settings.mark_interval_seconds})
            supervisor.ready("exporting")
            stop.wait()
            supervisor.stopping()
    return 0


@contextlib.contextmanager
def exporting(
    database: MeteorDatabase, settings: Settings, supervisor: Supervisor
) -> Iterator[MeteorExporter]:
    """Export in the background; the service manager learns when that hangs."""
    supervisor.expect(_PART)
    exporter = make_exporter(database, settings, lambda: supervisor.beat(_PART))
    exporter.scheduler.start()
    try:
        yield exporter
    finally:
        exporter.close()
        exporter.scheduler.shutdown(wait=False)


def _export_once(database: MeteorDatabase, settings: Settings, output: Output) -> int:
    exporter = make_exporter(database, settings)
    try:
        handled = exporter.run_round()
    finally:
        exporter.close()
    failing = sum(1 for state in database.get_export_states() if state.failures or state.suspended)
    output.facts({"tasks_handled": handled, "failing_configurations": failing})
    return 1 if failing else 0


def announce(output: Output, settings: Settings, port: int) -> None:
    """Print where a server listens, now that it does."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    output.facts({"state": "serving", "url": f"http://{host}:{port}{settings.url_path.rstrip('/')}/"})
