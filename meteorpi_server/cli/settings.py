"""``meteorpi settings``: what can be set, what it is set to, and what set it."""

from __future__ import annotations

import click

from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup


@click.command()
@click.option("--toml", is_flag=True, help="Print a complete configuration file with the present settings.")
@json_option
@pass_setup
def settings(setup: Setup, output: Output, toml: bool) -> None:
    """List every setting: its variable, present value, where that came from, and its meaning.

    Secrets are not shown.
    """
    if toml:
        click.echo(setup.loaded.as_toml(), nl=False)
        return
    rows = [row._asdict() for row in setup.settings.rows(setup.loaded.origins)]
    output.rows(rows, ("variable", "value", "origin", "help"))
    output.say(f"configuration file: {setup.loaded.path or 'none'}")
