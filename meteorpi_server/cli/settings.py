"""``meteorpi settings``: what can be set, and what it is set to."""

from __future__ import annotations

import click

from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup


@click.command()
@json_option
@pass_setup
def settings(setup: Setup, output: Output) -> None:
    """List every setting: its variable, present value, default and meaning. Secrets are not shown."""
    rows = [row._asdict() for row in setup.settings.rows()]
    output.rows(rows, ("variable", "value", "default", "help"))
