"""``meteorpi block``: blocks of a node, served and looked after."""

from __future__ import annotations

import copy as copying
from functools import partial
from pathlib import Path

import click

from meteorpi_server.cli.block_import import import_ancestor
from meteorpi_server.cli.block_owners import account, usage
from meteorpi_server.cli.block_prefixes import prefix
from meteorpi_server.cli.block_serve import serve
from meteorpi_server.cli.block_setup import BlockSetup
from meteorpi_server.cli.block_tokens import token
from meteorpi_server.cli.setup import Setup
from meteorpi_server.cli.store import StoreGroup
from meteorpi_server.cli.store_copying import copy
from meteorpi_server.cli.store_recounting import recount
from meteorpi_server.cli.store_verifying import verify


@click.group(cls=StoreGroup)
@click.option(
    "--options-file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="Configuration file of the block server, as for serve.",
)
@click.pass_context
def block(context: click.Context, options_file: Path | None) -> None:
    """Blocks: objects below owned prefixes, with quota.

    Works on the node of the settings; what the configuration files and the variables of a Qabel block server
    say counts as well. Ends with 0 when done and nothing needs attention, 1 when something was found, 2 when
    the command could not run, 130 when it was interrupted.
    """
    setup = context.find_object(Setup)
    assert setup is not None
    context.obj = BlockSetup(setup, options_file)


def _without_mode(option: click.Parameter) -> click.Parameter:
    """An option of a command whose mode is fixed, with a help that does not name it."""
    copied = copying.copy(option)
    if isinstance(copied, click.Option) and copied.help:
        text = copied.help.removeprefix("With --deep: ")
        copied.help = text[:1].upper() + text[1:]
    return copied


scrub = click.Command(
    "scrub",
    params=[_without_mode(each) for each in verify.params if each.name != "is_fast"],
    callback=partial(verify.callback, is_fast=False) if verify.callback else None,
    help="Read every content of the node and compare it with what is recorded: store verify --deep.",
)

for command in (serve, token, account, prefix, usage, scrub, copy, recount, import_ancestor):
    block.add_command(command)
