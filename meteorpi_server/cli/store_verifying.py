"""``meteorpi store verify``, ``sweep`` and ``stat``: the store of the node against its records."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from meteorpi_db.filestore.pacing import Pace
from meteorpi_db.integrity import ORPHAN_GRACE, VerifyPlan
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_server.cli.entry import EXIT_INTERRUPTED
from meteorpi_server.cli.mending import open_sources
from meteorpi_server.cli.output import Output, json_option, progress
from meteorpi_server.cli.parameters import SIZE, TIME
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.stopping import stop_on_signals

_HOUR = timedelta(hours=1)


@click.command()
@click.option("--fast/--deep", "is_fast", default=True, help="Look at sizes only, or read every content.")
@click.option(
    "--since", type=TIME, metavar="TIME", help="With --deep: leave out what was read, or stored, since TIME."
)
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="With --deep: read only N contents.")
@click.option("--rate", type=SIZE, metavar="BYTES", help="Read at most so many bytes a second, such as 5M.")
@click.option(
    "--from",
    "others",
    multiple=True,
    metavar="STORE",
    help="Also mend from this store, or from the node at this http(s) address; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only say what is wrong.")
@json_option
@pass_setup
def verify(
    setup: Setup,
    output: Output,
    is_fast: bool,
    since: datetime | None,
    sample: int | None,
    rate: int | None,
    others: tuple[str, ...],
    dry_run: bool,
) -> int:
    """Compare the contents of the node's store with what is recorded.

    What is missing or damaged is marked, so that it is not served, and mended where an equal content, the
    fallback of the store or one of --from has the right bytes. Contents are read beginning with those
    that were not read for the longest time, and when that was is noted: a run that was interrupted goes on
    with the next. Ends with 1 when something is wrong and could not be mended.
    """
    if is_fast and (since is not None or sample is not None):
        raise click.UsageError("--since and --sample need --deep")
    plan = VerifyPlan(deep=not is_fast, since=since, most=sample, repair=not dry_run)
    with (
        open_sources(others) as sources,
        setup.open_database(create=False) as database,
        stop_on_signals() as stop,
        progress("verifying") as advance,
    ):
        report = database.verify_contents(plan, others=sources, pace=Pace(rate, stop), progress=advance)
    output.facts(report.as_dict())
    if report.is_interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.is_clean else 1


@click.command()
@click.option(
    "--grace-hours",
    type=click.FloatRange(min=0),
    default=ORPHAN_GRACE / _HOUR,
    show_default=True,
    metavar="HOURS",
    help="Leave contents without a record that are younger.",
)
@click.option("--dry-run", is_flag=True, help="Only say which contents would go.")
@json_option
@pass_setup
def sweep(setup: Setup, output: Output, grace_hours: float, dry_run: bool) -> int:
    """Remove from the node's store what nobody needs any more.

    That is: contents without a record, temporary files and multipart uploads older than an hour, and
    resumable uploads of which nothing was heard for a day. What is in use stays, whatever its age.
    """
    with setup.open_database(create=False) as database, stop_on_signals() as stop:
        report = database.sweep_contents(
            grace_hours * _HOUR,
            dry_run=dry_run,
            pace=Pace(None, stop),
            readers_grace=setup.settings.block_readers_grace,
        )
    output.facts(report.as_dict())
    if report.is_interrupted:
        return EXIT_INTERRUPTED
    return 1 if dry_run and report.orphaned else 0


@click.command()
@json_option
@pass_setup
def stat(setup: Setup, output: Output) -> int:
    """Say how much there is: contents in the store, and contents that are recorded, of files and of blocks.

    Ends with 1 when contents are known to be missing or damaged.
    """
    with setup.open_database(create=False) as database:
        figures, everything = database.get_content_figures(), database.stores.everything
        facts: dict[str, object] = {
            "location": everything.location,
            "contents": sum(1 for _ in everything.ids()),
            "free_bytes": database.store.free_bytes(),
        }
    for name, each in figures.items():
        oldest = each.oldest_verification
        facts |= {
            f"{name}_recorded": each.contents,
            f"{name}_bytes": each.size_bytes,
            f"{name}_corrupt": each.corrupt,
            f"{name}_never_verified": each.never_verified,
            f"{name}_oldest_verification": None if oldest is None else milliseconds_to_utc_datetime(oldest),
        }
    output.facts(facts)
    return 1 if any(each.corrupt for each in figures.values()) else 0
