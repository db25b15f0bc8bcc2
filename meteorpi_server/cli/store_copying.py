"""``meteorpi store copy``: all contents of one file store into another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from meteorpi_db.filestore import open_file_store
from meteorpi_db.filestore.copying import COPIES_AT_ONCE, Recorded, StoreCopier
from meteorpi_db.filestore.pacing import Pace
from meteorpi_server.cli.entry import EXIT_INTERRUPTED
from meteorpi_server.cli.output import Output, json_option, progress
from meteorpi_server.cli.parameters import SIZE
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.stopping import stop_on_signals


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--rate", type=SIZE, metavar="BYTES", help="Read at most so many bytes a second, such as 5M.")
@click.option("--deep", is_flag=True, help="Also read and compare what is there already.")
@click.option(
    "--compare-records", is_flag=True, help="Leave out and list what is not as the node has it recorded."
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 32),
    default=COPIES_AT_ONCE,
    show_default=True,
    metavar="N",
    help="Copy so many contents at the same time.",
)
@json_option
@pass_setup
def copy(
    setup: Setup,
    output: Output,
    source: str,
    target: str,
    rate: int | None,
    deep: bool,
    compare_records: bool,
    at_once: int,
) -> int:
    """Copy all contents of the file store FROM into the file store TO, as paths or URLs.

    What is there already is left alone, so the command may be interrupted and repeated, and both stores may
    be in use. Each content is read back and compared; nothing is deleted or replaced. Ends with 1 when
    something was not as it should be.
    """
    here, there = open_file_store(source), open_file_store(target)
    here.check()
    there.prepare()
    with _records(setup, compare_records) as recorded, stop_on_signals() as stop:
        copier = StoreCopier(
            here, there, pace=Pace(rate, stop), deep=deep, recorded=recorded, at_once=at_once
        )
        with progress("copying", in_bytes=True) as advance:
            report = copier.run(lambda _, size_bytes: advance(size_bytes, None))
    output.facts(report.as_dict())
    if report.is_interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.is_clean else 1


@contextmanager
def _records(setup: Setup, wanted: bool) -> Iterator[Recorded | None]:
    """What the node has recorded about contents, None when nobody asks."""
    if not wanted:
        yield None
        return
    with setup.open_database(create=False) as database:
        yield lambda ids: {file_id: row.facts for file_id, row in database.recorded_contents(ids).items()}
