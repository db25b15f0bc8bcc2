"""``meteorpi archive server run``, also as ``python -m meteorpi_server.cli.archive_server``.

The options are those of the archive service of directories, letters, names and units.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import click

from meteorpi_server.archive_server import make_archive_app, tell_of_aliases
from meteorpi_server.cli.entry import main
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.running import announce
from meteorpi_server.cli.setup import ArchiveSetup, Setup, pass_setup
from meteorpi_server.logs import configure_logging
from meteorpi_server.settings_aliases import kilobytes_text
from meteorpi_server.standalone import serve
from meteorpi_server.supervision import Supervisor

_OPTIONS: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "debug": ("archive_debug", lambda is_given: "true" if is_given else ""),
    "host": ("archive_host", str),
    "port": ("archive_port", str),
    "storage_path": ("archive_storage_path", str),
    "log_file": ("archive_log_file", str),
    "chunk_size": ("archive_chunk_size", lambda kilobytes: kilobytes_text(str(kilobytes))),
    "delay": ("archive_delay", str),
    "db_url": ("archive_db_url", str),
}
"""The setting of each option, and how it is written."""


@click.group()
def server() -> None:
    """Archives without a node: of directories, and of what other servers hold."""


@server.command()
@click.option("-d", "--debug", is_flag=True, help="Show at / and /archive/ which directories are offered.")
@click.option("-H", "--host", help="Address to listen on.")
@click.option("-P", "--port", type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.")
@click.option("-S", "--storage_path", "--storage-path", help="Directory of the directories that are offered.")
@click.option("-L", "--log_file", "--log-file", help="File of the log, instead of standard error.")
@click.option(
    "-C",
    "--chunk_size",
    "--chunk-size",
    type=click.FloatRange(min=1, max=1_000_000),
    help="Largest piece that is sent at once, in kilobytes of 1,024 bytes.",
)
@click.option("-D", "--delay", type=click.FloatRange(min=0), help="Time for each piece, in seconds.")
@click.option("--db-url", help="Database of clients and tickets, instead of METEORPI_ARCHIVE_DB_URL.")
@json_option
@pass_setup
def run(setup: Setup, output: Output, **options: Any) -> None:
    """Serve archives over HTTP until stopped (SIGTERM or Ctrl-C), without the database of a node.

    Prints the address when it is open. Whatever is not given is as METEORPI_ARCHIVE_... says, or as the
    variables of the services say that this one replaces.
    """
    own = ArchiveSetup(setup, given_settings(options), is_server=True)
    settings = own.settings
    configure_logging(
        settings.log_level,
        settings.log_format,
        path=settings.archive_log_file,
        config=settings.logging_config,
    )
    tell_of_aliases(own.loaded)
    with own.open_database() as database:
        meteor_app = make_archive_app(database, settings)
        begun, supervisor = partial(announce, output, settings), Supervisor.from_environ(os.environ)
        with meteor_app.upkeep:
            serve(meteor_app.app, settings, begun, supervisor, meteor_app.stopping.ask)


def given_settings(options: Mapping[str, Any]) -> dict[str, str]:
    """The settings that options of `run` were given for, as texts."""
    return {
        setting: text_of(options[name])
        for name, (setting, text_of) in _OPTIONS.items()
        if options[name] is not None and options[name] is not False
    }


if __name__ == "__main__":
    import sys

    main(["archive", "server", "run", *sys.argv[1:]])
