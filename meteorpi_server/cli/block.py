"""``meteorpi block``: the block server of a node."""

from __future__ import annotations

import click

from meteorpi_server.cli.block_import import import_ancestor


@click.group()
def block() -> None:
    """Blocks: objects below owned prefixes, with quota."""


for command in (import_ancestor,):
    block.add_command(command)
