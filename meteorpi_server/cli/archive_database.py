"""``meteorpi archive db``: the tables of archives in the node's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import click

from meteorpi_db import MeteorDatabase
from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.migrations import SCHEMA, drop_schema, schema_version
from meteorpi_server.cli.archive_clients import opened
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR


@contextmanager
def _untouched(setup: Setup) -> Iterator[Transactions]:
    """The database as it is: nothing is made, or carried forward."""
    settings = setup.settings
    with closing(open_database(settings.db_path, settings.db_user, settings.db_password)) as transactions:
        yield transactions


@click.group()
def db() -> None:
    """Tables of archives: they are the node's, and come and change with its schema."""


@db.command("up")
@json_option
@pass_setup
def bring_up(setup: Setup, output: Output) -> None:
    """Make what is missing, or carry an older schema forward; may be repeated, also at the same time."""
    settings = setup.settings
    change = MeteorDatabase.initialise(settings.db_path, settings.db_user, settings.db_password)
    output.facts({"before": change.before, "version": change.after, "backup": change.backup})


@db.command("current")
@json_option
@pass_setup
def show_current(setup: Setup, output: Output) -> None:
    """Print the version of the schema, and the newest that is known; nothing is changed."""
    with _untouched(setup) as transactions:
        version = 0
        if transactions.backend.exists():
            with transactions.reading() as connection:
                version = schema_version(connection)
    output.facts({"version": version, "newest": SCHEMA.version})


@db.command("down")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_setup
def take_down(setup: Setup, output: Output, yes: bool) -> None:
    """Forget all clients, tickets and who waits.

    In the database of a node the empty tables stay, because they are part of its schema, and records are not
    touched. From the database of a server without a node every table is removed.
    """
    with opened(setup) as (database, register):
        if not yes:
            question = f"Forget {len(register.clients())} clients and {register.count_tickets()} tickets?"
            click.confirm(question, abort=True, err=True)
        removed = register.clear()
        database.record_audit(ACTOR, "archive.clear", "all", f"{removed} rows")
    if not setup.settings.has_node:
        with _untouched(setup) as transactions:
            drop_schema(transactions)
    output.facts({"removed": removed})
