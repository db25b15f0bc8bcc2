"""Where the command line begins and ends: which commands there are, and what a failure looks like.

Modules of commands are imported when one of their commands is run, so that each starts quickly and needs only
the extras that it uses.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn

import click

from meteorpi_model.errors import (
    ConfigurationError,
    InvalidDocumentError,
    MeteorError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    TooManyAttemptsError,
)
from meteorpi_server.cli.output import printable
from meteorpi_server.cli.setup import Setup

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
EXIT_REFUSED: Final = 4
EXIT_NOT_FOUND: Final = 5
EXIT_INTERRUPTED: Final = 130

COMMANDS: Final[Mapping[str, str]] = {
    "init": "init",
    "deploy": "installing",
    "schema": "schema",
    "release": "release",
    "doctor": "doctor.command",
    "settings": "settings",
    "serve": "running",
    "export": "running",
    "ingest": "ingesting",
    "watch": "ingesting",
    "search": "searching",
    "download": "remote",
    "status": "statuses",
    "cameras": "cameras",
    "users": "users",
    "tokens": "tokens",
    "exports": "exports",
    "report": "reports",
    "timelapse": "timelapse",
    "delete": "deleting",
    "prune": "pruning",
    "import-original": "originals",
    "verify": "verifying",
    "store": "store",
    "archive": "archive",
    "block": "block",
    "backup": "backup",
    "restore": "backup",
    "copy-db": "backup",
    "demo": "demo",
}
"""Each command and the module below this package that holds it, as a function of the command's name."""

ALIASES: Final[Mapping[str, str]] = {"blocks": "block"}
"""Other names of commands, which no list shows."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"meteorpi_server.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(version("meteorpi"), prog_name="meteorpi")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),  # what cannot be read is explained elsewhere
    help="Configuration file instead of METEORPI_CONFIG or /etc/meteorpi/meteorpi.toml.",
)
@click.option("--db-path", metavar="PATH", help="Database to use instead of METEORPI_DB_PATH.")
@click.option("--file-store", metavar="PATH", help="File store to use instead of METEORPI_FILE_STORE.")
@click.option("--log-level", metavar="LEVEL", help="Log level instead of METEORPI_LOG_LEVEL.")
@click.pass_context
def cli(context: click.Context, /, config: Path | None, **options: str | None) -> None:
    """Run and look after a MeteorPi node.

    Settings come from a TOML file and from METEORPI_... variables; `meteorpi settings` lists them all.

    \b
    Exit codes:
      0    done; nothing found that needs attention
      1    failed, or findings (verify, doctor, demo)
      2    a command, option, document or setting that cannot be used
      3    database, store or node not available now: the same may work later
      4    credentials wrong or not sufficient, or refused by the other node
      5    what was asked for does not exist
      130  interrupted
    """
    context.obj = Setup(options, os.environ, config)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code.

    Args:
        arguments: without the name of the program; None takes those of the process.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; every deliberate error becomes one line."""
    try:
        result = cli.main(args=arguments, prog_name="meteorpi", standalone_mode=False)
    except click.Abort:
        return _complain("interrupted", EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except MeteorError as error:
        return _complain(f"{error.detail} [{error.code}]", exit_code_of(error))
    except OSError as error:
        return _complain(str(error), EXIT_FAILED)
    return result if isinstance(result, int) else 0


def exit_code_of(error: MeteorError) -> int:
    """The exit code that tells a script about `error`."""
    if isinstance(error, InvalidDocumentError | ConfigurationError):
        return EXIT_USAGE
    if isinstance(error, NotAuthenticatedError | NotAllowedError | TooManyAttemptsError):
        return EXIT_REFUSED
    if isinstance(error, NotFoundError):
        return EXIT_NOT_FOUND
    if error.code == "peer-refused":
        return EXIT_REFUSED
    return EXIT_UNAVAILABLE if error.retryable else EXIT_FAILED


def _complain(text: str, exit_code: int) -> int:
    click.echo(f"error: {printable(text)}", err=True)
    return exit_code
