"""``meteorpi import-original``: move a node of the first generation here."""

from __future__ import annotations

from pathlib import Path

import click

from meteorpi_db import original
from meteorpi_db.original import OriginalReport
from meteorpi_server.cli.output import Output, json_option, printable, progress, size_text
from meteorpi_server.cli.passwords import password_options
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR

ORIGINAL_USER = "meteorpi"
"""Account that nodes of the first generation used."""

_MOST_TROUBLES = 50


@click.command("import-original")
@click.argument("db_path", metavar="DATABASE")
@click.argument("files", metavar="FILES", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--user", "user_id", default=ORIGINAL_USER, show_default=True, help="Account at its Firebird server."
)
@password_options
@click.option("--link", is_flag=True, help="Share contents by hard links where that is possible.")
@click.option("--dry-run", is_flag=True, help="Only say what there is, and which contents are missing.")
@json_option
@pass_setup
def import_original(
    setup: Setup,
    output: Output,
    db_path: str,
    files: Path,
    user_id: str,
    password: str | None,
    link: bool,
    dry_run: bool,
) -> int:
    """Take all records of a node of the first generation, with their contents.

    DATABASE is its Firebird database, such as localhost:/var/lib/firebird/2.5/data/meteorpi.db or a file that
    ends in .fdb, FILES its file store. Both are only read. May be repeated. Ends with 1 when something could
    not be taken.
    """
    with setup.open_database() as database, progress("importing") as advance:
        report = original.import_original(
            database,
            db_path,
            files,
            user_id,
            ORIGINAL_USER if password is None else password,
            may_link=link,
            dry_run=dry_run,
            progress=advance,
        )
        if not dry_run:
            taken = " ".join(f"{kind}={counts.taken}" for kind, counts in report.counts.items())
            database.record_audit(ACTOR, "data.import-original", db_path[:200], detail=taken)
    tell(output, report)
    return 0 if report.is_complete else 1


def tell(output: Output, report: OriginalReport) -> None:
    """Print what was found and taken, and on standard error what could not be."""
    for trouble in report.troubles[:_MOST_TROUBLES]:
        output.warn(printable(f"{trouble.kind} {trouble.identity}: {trouble.reason}"))
    if len(report.troubles) > _MOST_TROUBLES:
        output.warn(f"{len(report.troubles) - _MOST_TROUBLES} more; --json shows all")
    if output.as_json:
        output.facts(report.as_dict())
        return
    rows = [{"what": kind.replace("_", " "), **vars(counts)} for kind, counts in report.counts.items()]
    output.rows(rows, ("what", "found") if report.is_dry_run else ("what", "found", "taken", "present"))
    output.say(f"contents: {size_text(report.size_bytes)}")
