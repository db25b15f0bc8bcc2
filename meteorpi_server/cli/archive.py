"""``meteorpi archive``: many files as one zip, and who may ask a node for them."""

from __future__ import annotations

from typing import Any

import click

from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, MeteorError
from meteorpi_server.cli.archive_checksums import crc
from meteorpi_server.cli.archive_clients import client
from meteorpi_server.cli.archive_database import db
from meteorpi_server.cli.archive_files import fetch, verify
from meteorpi_server.cli.archive_import import import_fpx
from meteorpi_server.cli.archive_making import add_ticket, pack
from meteorpi_server.cli.archive_server import server
from meteorpi_server.cli.archive_tickets import drop_ticket, list_tickets, show_ticket
from meteorpi_server.cli.output import printable
from meteorpi_server.cli.setup import ArchiveSetup, Setup


class ArchiveGroup(click.Group):
    """Commands that end with 0, 1 or 2 only, as those of the services did that they replace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what fails is told in one line and ends with 1."""
        try:
            return super().invoke(ctx)
        except (InvalidDocumentError, ConfigurationError):
            raise  # of usage: 2
        except MeteorError as error:
            raise click.ClickException(printable(f"{error.detail} [{error.code}]")) from error


@click.group(cls=ArchiveGroup)
@click.pass_context
def archive(context: click.Context) -> None:
    """Archives: fetch, check and make them, and look after links and clients.

    Where METEORPI_ARCHIVE_DB_URL is set, or a configuration of FPX names a database, clients and tickets are
    those of a server without a node.

    Ends with 0 when done, 1 when something failed, 2 when a command or option cannot be used.
    """
    context.obj = ArchiveSetup(context.ensure_object(Setup))


@archive.group()
def ticket() -> None:
    """Links to archives, good until they expire."""


for command in (client, crc, db, fetch, import_fpx, pack, server, verify):
    archive.add_command(command)
for command in (add_ticket, list_tickets, show_ticket, drop_ticket):
    ticket.add_command(command)
