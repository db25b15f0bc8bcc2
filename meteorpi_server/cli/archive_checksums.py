"""``meteorpi archive crc``: checksums that archives of directories need."""

from __future__ import annotations

import click

from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.tree_entries import read_unknown
from meteorpi_server.cli.output import Output, json_option, printable
from meteorpi_server.cli.setup import Setup, pass_setup


@click.group()
def crc() -> None:
    """Checksums of files that archives hold."""


@crc.command()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many files.")
@json_option
@pass_setup
def backfill(setup: Setup, output: Output, limit: int | None) -> int:
    """Read the files of the storage whose CRC-32 is not known yet, and keep it.

    An archive of them can then be fetched in parts from the first download on. Those of records are known as
    soon as they are stored. May be repeated, and interrupted. Ends with 1 when a file could not be read.
    """
    read = size_bytes = failed = 0
    with setup.open_database(create=False) as database:
        service = ArchiveService(database, setup.settings)
        checksums = service.planner.checksums
        if checksums is None:
            raise click.UsageError("no directories are offered: set archive_storage_path")
        for entry, error in read_unknown(service.settings, checksums, limit):
            if error is not None:
                failed += 1
                output.warn(printable(f"{entry.reference}: {error.detail}"))
                continue
            read += 1
            size_bytes += entry.size or 0
    output.facts({"read": read, "bytes": size_bytes, "failed": failed})
    return 1 if failed else 0
