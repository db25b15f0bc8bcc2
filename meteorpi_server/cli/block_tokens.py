"""``meteorpi block token``: what programs send to keep blocks for a user of the node."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import click

from meteorpi_db.blocks.administration import BlockAdministration, account_named
from meteorpi_db.blocks.tokens import BlockToken
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.parameters import TIME
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR


@click.group()
def token() -> None:
    """Tokens of accounts: sent as "Authorization: Token SECRET", good for blocks and nothing else."""


@token.command("add")
@click.argument("user_id", metavar="USER")
@click.argument("name")
@click.option("--expires", type=TIME, help="Until when it is good; without end if not given.")
@json_option
@pass_setup
def add_token(setup: Setup, output: Output, user_id: str, name: str, expires: datetime | None) -> None:
    """Make a token called NAME for a user of the node, and print its secret this one time."""
    account = account_named(user_id)
    with setup.open_database() as database:
        secret = BlockAdministration(database.transactions, database.clock).add_token(account, name, expires)
        database.record_audit(ACTOR, "blocks.token.create", account, name)
    output.facts({"account": account, "name": name, "expires_at": expires, "secret": secret})


@token.command("list")
@click.argument("user_id", metavar="[USER]", required=False)
@json_option
@pass_setup
def list_tokens(setup: Setup, output: Output, user_id: str | None) -> None:
    """List the tokens, of one user or of all; their secrets are not kept and cannot be shown."""
    account = None if user_id is None else account_named(user_id)
    with setup.open_database(create=False) as database:
        found = BlockAdministration(database.transactions, database.clock).tokens_of(account)
    output.rows(map(_row, found), ("account", "name", "created_at", "expires_at", "last_used_at"))


@token.command("revoke")
@click.argument("user_id", metavar="USER")
@click.argument("name")
@pass_setup
def revoke_token(setup: Setup, user_id: str, name: str) -> None:
    """Make the token called NAME of a user useless from now on."""
    account = account_named(user_id)
    with setup.open_database(create=False) as database:
        BlockAdministration(database.transactions, database.clock).revoke_token(account, name)
        database.record_audit(ACTOR, "blocks.token.revoke", account, name)


def _row(found: BlockToken) -> Mapping[str, object]:
    times = {
        "created_at": found.created_at,
        "expires_at": found.expires_at,
        "last_used_at": found.last_used_at,
    }
    shown = {name: None if at is None else milliseconds_to_utc_datetime(at) for name, at in times.items()}
    return {"account": found.account_id, "name": found.name, **shown}
