"""``meteorpi schema``: the shape of the database, forward and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import click

from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.migrations import (
    SCHEMA,
    SchemaChange,
    SchemaState,
    ensure_schema,
    revert_schema,
    schema_state,
)
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup


@click.group()
def schema() -> None:
    """The schema of the database: numbered steps, each made once, each with a way back."""


@schema.command("current")
@json_option
@pass_setup
def show_current(setup: Setup, output: Output) -> None:
    """Print the version of the schema, whose software works with it, and the steps that are known."""
    with _opened(setup) as transactions:
        state = _state_of(transactions)
    facts = {"version": state.version, "oldest_for": state.oldest_for, "newest": SCHEMA.version}
    steps: list[dict[str, Any]] = [
        {"version": reached, "tolerated": step.is_tolerated, "description": step.description}
        for reached, step in SCHEMA.steps_after(1)
    ]
    if output.as_json:
        output.facts({**facts, "steps": steps})
        return
    output.facts(facts)
    output.rows(steps, ("version", "tolerated", "description"))


@schema.command("up")
@json_option
@pass_setup
def bring_up(setup: Setup, output: Output) -> None:
    """Make what is missing, or carry an older schema forward; may be repeated, also at the same time."""
    with _opened(setup) as transactions:
        _report(output, ensure_schema(transactions, create=True))


@schema.command("down")
@click.option(
    "--to", "version", type=click.IntRange(1), metavar="N", required=True, help="The version to go back to."
)
@click.option("--force", is_flag=True, help="Take away tables that hold data, too.")
@json_option
@pass_setup
def take_down(setup: Setup, output: Output, version: int, force: bool) -> None:
    """Take the newest steps back, with the software that made them, before older software is installed.

    Refuses to lose data. Nothing may use the database meanwhile that needs what goes. May be repeated, also
    after one that was cut off. Embedded databases are copied first.
    """
    with _opened(setup) as transactions:
        _report(output, revert_schema(transactions, version, force=force))


@contextmanager
def _opened(setup: Setup) -> Iterator[Transactions]:
    """The database as it is: nothing is made, or carried forward."""
    settings = setup.settings
    with closing(open_database(settings.db_path, settings.db_user, settings.db_password)) as transactions:
        yield transactions


def _state_of(transactions: Transactions) -> SchemaState:
    if not transactions.backend.exists():
        return SchemaState(0, 0)
    with transactions.reading() as connection:
        return schema_state(connection)


def _report(output: Output, change: SchemaChange) -> None:
    output.facts({"before": change.before, "version": change.after, "backup": change.backup})
