"""``meteorpi block import-ancestor``: take the place of a Qabel block server."""

from __future__ import annotations

import click

from meteorpi_db.blocks.ancestor import read_ancestor
from meteorpi_db.blocks.ancestor_objects import open_objects
from meteorpi_db.blocks.importing import AncestorImport, AncestorReport
from meteorpi_db.filestore.pacing import Pace
from meteorpi_server.cli.entry import EXIT_INTERRUPTED
from meteorpi_server.cli.output import Output, json_option, printable, progress
from meteorpi_server.cli.parameters import SIZE
from meteorpi_server.cli.passwords import password_options
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.stopping import stop_on_signals
from meteorpi_server.cli.users import ACTOR

_MOST_TROUBLES = 50


@click.command("import-ancestor")
@click.argument("db_url", metavar="DATABASE")
@click.argument("location", metavar="[OBJECTS]", required=False)
@password_options
@click.option("--rate", type=SIZE, metavar="BYTES", help="Read at most so many bytes a second, such as 5M.")
@json_option
@pass_setup
def import_ancestor(
    setup: Setup, output: Output, db_url: str, location: str | None, password: str | None, rate: int | None
) -> int:
    """Take over what a Qabel block server has: accounts, prefixes, traffic, and its objects.

    DATABASE is the URL of its PostgreSQL database, of any version; OBJECTS the directory or the bucket of its
    objects, such as s3://qabel. Without OBJECTS none are taken. Both are only read, and the block server may
    be running: repeated, the command takes what has come since, also after it was interrupted. Ends with 1
    when something could not be taken.
    """
    objects = None if location is None else open_objects(location)
    with (
        setup.open_database() as database,
        stop_on_signals() as stop,
        progress("importing", in_bytes=True) as advance,
    ):
        ancestor = read_ancestor(db_url, database.clock().date(), password)
        job = AncestorImport(
            database.transactions,
            database.stores.blocks,
            database.clock,
            lambda size_bytes: advance(size_bytes, None),
            Pace(rate, stop),
        )
        report = job.run(ancestor, objects)
        taken = f"accounts={report.accounts} prefixes={report.prefixes} objects={report.objects}"
        database.record_audit(ACTOR, "blocks.import-ancestor", taken)
    _tell(output, report)
    if report.is_interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.is_complete else 1


def _tell(output: Output, report: AncestorReport) -> None:
    if output.as_json:
        output.facts(report.as_dict())
        return
    for name, reason in report.troubles[:_MOST_TROUBLES]:
        output.warn(printable(f"{name}: {reason}"))
    if len(report.troubles) > _MOST_TROUBLES:
        output.warn(f"{len(report.troubles) - _MOST_TROUBLES} more; --json shows all")
    output.facts({**report.as_dict(), "troubles": len(report.troubles)})
