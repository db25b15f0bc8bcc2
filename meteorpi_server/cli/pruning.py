"""``meteorpi prune``: let old records go, and make room."""

from __future__ import annotations

from typing import Any

import click

from meteorpi_db.retention import PruneReport, RetentionRule, Tally
from meteorpi_server.cli.entry import EXIT_INTERRUPTED
from meteorpi_server.cli.output import Output, json_option, printable, size_text, time_text
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.stopping import stop_on_signals
from meteorpi_server.cli.users import ACTOR

_RULE_SETTINGS = ("keep_frames_days", "keep_events_days", "keep_free_bytes", "prune_events_for_space")


@click.command()
@click.option("--keep-frames-days", type=click.IntRange(0), help="Instead of METEORPI_KEEP_FRAMES_DAYS.")
@click.option("--keep-events-days", type=click.IntRange(0), help="Instead of METEORPI_KEEP_EVENTS_DAYS.")
@click.option("--keep-free-bytes", type=click.IntRange(0), help="Instead of METEORPI_KEEP_FREE_BYTES.")
@click.option(
    "--events-for-space/--no-events-for-space",
    "prune_events_for_space",
    default=None,
    help="Instead of METEORPI_PRUNE_EVENTS_FOR_SPACE.",
)
@click.option(
    "--ignore-disabled",
    is_flag=True,
    help="Let go what only export configurations want that a person disabled.",
)
@click.option("--limit", type=click.IntRange(0), default=0, help="Delete at most so many records; 0 for all.")
@click.option("--dry-run", is_flag=True, help="Only say what would go, and what is protected.")
@json_option
@pass_setup
def prune(
    setup: Setup, output: Output, ignore_disabled: bool, limit: int, dry_run: bool, **given: Any
) -> int:
    """Delete what is older than the settings of retention allow, and make room.

    Nothing goes that an export configuration, enabled or not, has not had confirmed by its receiver. Ends
    with 1 when there is less room than wanted.
    """
    values = {name: getattr(setup.settings, name) for name in _RULE_SETTINGS}
    values |= {name: value for name, value in given.items() if value is not None}
    rule = RetentionRule(**values, ignore_disabled=ignore_disabled, limit=limit)
    with setup.open_database() as database, stop_on_signals() as stop:
        setup.configure_logging()
        report = database.prune(rule, dry_run=dry_run, should_stop=stop.is_set)
        if report.deleted and not dry_run:
            total = report.total
            detail = f"files={total.files} events={total.events} size_bytes={total.size_bytes}"
            database.record_audit(ACTOR, "data.prune", ",".join(sorted(report.deleted))[:200], detail=detail)
    if not any(values.values()):
        output.warn("nothing is ever pruned: METEORPI_KEEP_FRAMES_DAYS and METEORPI_KEEP_FREE_BYTES are 0")
    tell(output, report)
    if report.is_interrupted:
        return EXIT_INTERRUPTED
    return 1 if report.missing_bytes else 0


def tell(output: Output, report: PruneReport) -> None:
    """Print what went, or would go, and what was kept for whom."""
    if output.as_json:
        output.facts(report.as_dict())
        return
    verb = "would be deleted" if report.is_dry_run else "deleted"
    for camera_id, tally in sorted(report.deleted.items()):
        output.say(f"camera {camera_id}: {amount(tally)} {verb}")
    if not report.deleted:
        output.say(f"nothing {verb}")
    for each in report.protections.values():
        output.say(f"kept for the export {each.name!r} ({each.config_id.hex}): {amount(each.tally)}")
    if report.is_limited:
        output.say("the limit was reached: there may be more")
    if report.free_bytes is not None:
        output.say(f"free: {size_text(report.free_bytes)}")
    if report.missing_bytes:
        output.warn(f"still {size_text(report.missing_bytes)} less than should be free")


def amount(tally: Tally) -> str:
    """A tally in words."""
    span = f"{time_text(tally.oldest)} to {time_text(tally.newest)}"
    return printable(f"{tally.events} events, {tally.files} files ({size_text(tally.size_bytes)}), {span}")
