"""``meteorpi block prefix``: namespaces of objects, and who owns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from meteorpi_db import limits
from meteorpi_db.blocks.administration import BlockAdministration, account_named
from meteorpi_db.blocks.rows import PrefixRow
from meteorpi_db.tables import NAME_LENGTH
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_server.cli.entry import EXIT_INTERRUPTED
from meteorpi_server.cli.output import Output, json_option, progress
from meteorpi_server.cli.parameters import QUOTA, Unset
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.stopping import stop_on_signals
from meteorpi_server.cli.users import ACTOR

_SERVERS: Final = "server"
"""The read policy that stands for that of the settings."""


@click.group()
def prefix() -> None:
    """Prefixes: namespaces of objects, each of one account."""


def _changes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the options for what can be changed of a prefix, handed over as `given`."""
    for option in (
        click.option("--label", help="Text for people."),
        click.option(
            "--read-policy",
            type=click.Choice(("public", "account", "owner", "link", _SERVERS)),
            help="Who may read; server for whom the settings name.",
        ),
        click.option(
            "--append-only/--no-append-only", "append_only", default=None, help="Keep what is there as it is."
        ),
        click.option(
            "--quota", type=QUOTA, metavar="BYTES", help="Most bytes below it; default for no limit."
        ),
    ):
        command = option(command)
    return command


@prefix.command("list")
@click.argument("user_id", metavar="[USER]", required=False)
@json_option
@pass_setup
def list_prefixes(setup: Setup, output: Output, user_id: str | None) -> None:
    """List the prefixes, of one account or all, with what is below them."""
    account = None if user_id is None else account_named(user_id)
    with setup.open_database(create=False) as database:
        found = BlockAdministration(database.transactions, database.clock).prefixes_of(account)
    output.rows(
        map(_row, found), ("prefix", "account", "label", "read_policy", "append_only", "used", "objects")
    )


@prefix.command("create")
@click.argument("user_id", metavar="USER")
@click.argument("name", required=False)
@_changes
@json_option
@pass_setup
def create_prefix(setup: Setup, output: Output, user_id: str, name: str | None, **given: Any) -> None:
    """Make a prefix for an account, called NAME or else by a UUID."""
    account = account_named(user_id)
    with setup.open_database() as database:
        administration = BlockAdministration(database.transactions, database.clock)
        made = administration.create_prefix(account, name, _columns(given))
        database.record_audit(ACTOR, "blocks.prefix.create", made.name, account)
    output.facts(_row(made))


@prefix.command("set")
@click.argument("name")
@_changes
@json_option
@pass_setup
def set_prefix(setup: Setup, output: Output, name: str, **given: Any) -> None:
    """Change a prefix. Append-only can be ended here, and nowhere else."""
    columns = _columns(given)
    with setup.open_database(create=False) as database:
        changed = BlockAdministration(database.transactions, database.clock).change_prefix(name, columns)
        database.record_audit(ACTOR, "blocks.prefix.change", name, ", ".join(sorted(columns)))
    output.facts(_row(changed))


@prefix.command("delete")
@click.argument("name")
@click.option("--recursive", is_flag=True, help="Remove everything below it as well.")
@json_option
@pass_setup
def delete_prefix(setup: Setup, output: Output, name: str, recursive: bool) -> int:
    """Remove a prefix without objects, or with --recursive one with everything below it.

    That begins by taking the prefix away from everybody. Interrupted, the removal is finished by whoever
    serves the node, or by the same command.
    """
    settings = setup.settings
    with setup.open_database(create=False) as database:
        administration = BlockAdministration(database.transactions, database.clock)
        if not recursive:
            administration.delete_prefix(name)
        else:
            administration.begin_leaving(
                name, is_append_only=settings.block_append_only, retain_days=settings.block_retain_days
            )
        database.record_audit(ACTOR, "blocks.prefix.delete", name)
        objects, is_over = _removed_below(administration, name) if recursive else (0, True)
    output.facts({"prefix": name, "objects": objects, "complete": is_over})
    return 0 if is_over else EXIT_INTERRUPTED


def _removed_below(administration: BlockAdministration, name: str) -> tuple[int, bool]:
    """Remove what is below a prefix; the number of objects that went, and whether it is over."""
    objects, is_over = 0, False
    with stop_on_signals() as stop, progress("removing") as advance:
        while not is_over and not stop.is_set():
            more, is_over = administration.remove_some(name)
            objects += more
            advance(objects, None)
    return objects, is_over


def _columns(given: Mapping[str, Any]) -> dict[str, object]:
    columns: dict[str, object] = {}
    if given["label"] is not None:
        columns["label"] = limits.checked_text(given["label"], "label", NAME_LENGTH, may_be_empty=True)
    if given["read_policy"] is not None:
        columns["read_policy"] = None if given["read_policy"] == _SERVERS else given["read_policy"]
    if given["append_only"] is not None:
        columns["is_append_only"] = given["append_only"]
    if given["quota"] is not None:
        columns["quota"] = None if isinstance(given["quota"], Unset) else given["quota"]
    return columns


def _row(found: PrefixRow) -> Mapping[str, object]:
    return {
        "prefix": found.name,
        "account": found.account_id,
        "label": found.label,
        "read_policy": found.read_policy,
        "append_only": found.is_append_only,
        "quota": found.quota,
        "used": found.used,
        "objects": found.objects,
        "is_leaving": found.is_leaving,
        "created_at": milliseconds_to_utc_datetime(found.created_at),
    }
