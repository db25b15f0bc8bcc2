"""``meteorpi block account`` and ``meteorpi block usage``: who keeps blocks, and how much."""

from __future__ import annotations

from collections.abc import Mapping

import click

from meteorpi_db.blocks.administration import BlockAdministration, account_named
from meteorpi_db.blocks.directory import LOCAL
from meteorpi_db.blocks.rows import AccountRow
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.parameters import NUMBER, QUOTA, Unset
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR
from meteorpi_server.settings import Settings

_LIMITS = {"traffic": "traffic_quota"}
_COLUMNS = ("account", "is_active", "used", "quota", "objects", "traffic_quota")


@click.group()
def account() -> None:
    """Accounts of blocks: users of the node, or those that an accounting server knows, as in remote:5."""


@account.command("list")
@json_option
@pass_setup
def list_accounts(setup: Setup, output: Output) -> None:
    """List the accounts that ever had anything to do with blocks, with what they use.

    Limits of accounts that an accounting server knows are not kept here.
    """
    settings = setup.settings
    with setup.open_database(create=False) as database:
        found = BlockAdministration(database.transactions, database.clock).accounts()
    output.rows((_row(each, settings) for each in found), _COLUMNS)


@account.command("set")
@click.argument("user_id", metavar="USER")
@click.option("--enable/--disable", "is_active", default=None, help="Let the account in, or lock it out.")
@click.option("--quota", type=QUOTA, metavar="BYTES", help="What it may keep, such as 5G; default for that.")
@click.option(
    "--traffic", type=QUOTA, metavar="BYTES", help="What may be read of it in a month; default for that."
)
@click.option("--max-objects", type=NUMBER, metavar="N", help="Most objects, 0 for any; default for that.")
@click.option("--max-prefixes", type=NUMBER, metavar="N", help="Most prefixes, 0 for any; default for that.")
@json_option
@pass_setup
def set_account(
    setup: Setup, output: Output, user_id: str, is_active: bool | None, **limits: int | Unset | None
) -> None:
    """Change what a user of the node may do with blocks.

    An account that is locked out here can still log in to the node; what it offers to everybody can still be
    read.
    """
    changes: dict[str, object] = {} if is_active is None else {"is_active": is_active}
    for option, given in limits.items():
        if given is not None:
            changes[_LIMITS.get(option, option)] = None if isinstance(given, Unset) else given
    name = account_named(user_id)
    with setup.open_database() as database:
        changed = BlockAdministration(database.transactions, database.clock).change_account(name, changes)
        database.record_audit(ACTOR, "blocks.account", name, ", ".join(sorted(changes)))
    output.facts(_row(changed, setup.settings))


@click.command()
@click.argument("user_id", metavar="[USER]", required=False)
@json_option
@pass_setup
def usage(setup: Setup, output: Output, user_id: str | None) -> None:
    """Show what accounts keep, and how many bytes were read of them in each month of UTC, newest first."""
    settings = setup.settings
    name = None if user_id is None else account_named(user_id)
    with setup.open_database(create=False) as database:
        found = BlockAdministration(database.transactions, database.clock).usage(name)
    rows = (
        {**_row(each.account, settings), "month": f"{each.month // 100:04}-{each.month % 100:02}"}
        | {"traffic": each.sent}
        for each in found
    )
    output.rows(rows, ("account", "month", "traffic", "traffic_quota", "used", "quota", "objects"))


def _row(found: AccountRow, settings: Settings) -> Mapping[str, object]:
    """An account for people; a limit that nobody set is the default of the node for its own users."""
    limits = {
        "quota": (found.quota, settings.block_quota_default),
        "traffic_quota": (found.traffic_quota, settings.block_traffic_default),
        "max_objects": (found.max_objects, settings.block_max_objects),
        "max_prefixes": (found.max_prefixes, settings.block_max_prefixes),
    }
    is_local = found.source == LOCAL
    return {
        "account": found.account_id,
        "is_active": found.is_active,
        "used": found.used,
        "objects": found.objects,
        **{name: default if own is None and is_local else own for name, (own, default) in limits.items()},
    }
