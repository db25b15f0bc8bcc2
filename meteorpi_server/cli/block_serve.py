"""``meteorpi block serve``, with the options and defaults of the Qabel block server."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from meteorpi_server.block_serving.names import FILE_SUFFIX, OPTIONS, SPELLINGS
from meteorpi_server.cli.block_setup import BlockSetup
from meteorpi_server.cli.concealing import conceal_secrets
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.running import announce
from meteorpi_server.cli.setup import pass_setup
from meteorpi_server.standalone import serve as serve_application
from meteorpi_server.supervision import Supervisor

Command = TypeVar("Command", bound=Callable[..., object])


class _ServeCommand(click.Command):
    """Takes options with ``-`` and ``_``, and those without a value also as ``--debug=true``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write every option in the one way that is declared."""
        return super().parse_args(ctx, [_written(argument) for argument in args])


def _written(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if not name.startswith("--"):
        return argument
    plain = name[2:].replace("_", "-")
    plain = SPELLINGS.get(plain, plain)
    if plain in OPTIONS and not OPTIONS[plain].metavar and not equals:
        equals, value = "=", f"--{plain}"
    return f"--{plain}{equals}{value}"


def _predecessors_options(command: Command) -> Command:
    for each in reversed(list(OPTIONS.values())):
        if each.is_secret:
            help_text = f"File with it: see --{each.name}."
            option = click.option(f"--{each.name}{FILE_SUFFIX}", metavar="FILE", help=help_text)
            command = option(command)
        metavar = each.metavar or "[true|false]"
        command = click.option(f"--{each.name}", metavar=metavar, help=each.explanation)(command)
    return command


@click.command(cls=_ServeCommand)
@click.argument("file", type=click.Path(path_type=Path, readable=False), required=False)
@_predecessors_options
@json_option
@pass_setup
def serve(setup: BlockSetup, output: Output, file: Path | None, **given: str | None) -> None:
    """Serve blocks over HTTP until stopped (SIGTERM or Ctrl-C), in place of a Qabel block server.

    The options are those of that server, written with - or _, and so is the configuration FILE: assignments
    such as port = 8888, or YAML or JSON with a section qabel: block:. Without one, such sections are read in
    /etc/qabel.yaml, ~/.qabel.yaml and qabel.yaml here, and beside them in invoke.yaml. What is not said there
    is as the settings of the node say. Prints the address when it is open.
    """
    from meteorpi_server.block_serving.application import make_block_app  # other commands need no routes

    conceal_secrets()
    own = BlockSetup(setup, file or setup.file, given, is_server=True)
    settings = own.settings
    own.configure_logging()
    own.found.tell()
    with own.open_database() as database:
        meteor_app = make_block_app(database, settings)
        begun, supervisor = partial(announce, output, settings), Supervisor.from_environ(os.environ)
        with meteor_app.upkeep:
            serve_application(meteor_app.app, settings, begun, supervisor, meteor_app.stopping.ask)
