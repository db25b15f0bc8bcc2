"""``meteorpi tokens``: keys for programs, in place of passwords."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import click

from meteorpi_model import User
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.parameters import ID, TIME
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR


@click.group()
def tokens() -> None:
    """API tokens: what programs send in place of a password."""


@tokens.command("list")
@click.option("--user", "user_id", help="Of this account only.")
@json_option
@pass_setup
def list_tokens(setup: Setup, output: Output, user_id: str | None) -> None:
    """List the tokens; their secrets are not kept and cannot be shown."""
    with setup.open_database() as database:
        rows = [asdict(token) for token in database.get_api_tokens(user_id)]
    output.rows(rows, ("token_id", "user_id", "name", "roles", "created_at", "expires_at", "last_used_at"))


@tokens.command("create")
@click.argument("user_id")
@click.argument("name")
@click.option(
    "--role", "roles", type=click.Choice(User.roles), multiple=True, help="Fewer roles than the account has."
)
@click.option("--expires", type=TIME, help="Until when it is good; without end if not given.")
@json_option
@pass_setup
def create_token(
    setup: Setup, output: Output, user_id: str, name: str, roles: tuple[str, ...], expires: datetime | None
) -> None:
    """Make a token for an account, and print its secret this one time."""
    with setup.open_database() as database:
        token_id, secret = database.create_api_token(user_id, name, list(roles) or None, expires)
        database.record_audit(ACTOR, "token.create", user_id, f"{name} ({token_id.hex})")
    output.facts({"token_id": token_id, "secret": secret})


@tokens.command("revoke")
@click.argument("token_id", type=ID)
@pass_setup
def revoke_token(setup: Setup, token_id: UUID) -> None:
    """Make a token useless from now on."""
    with setup.open_database() as database:
        database.revoke_api_token(token_id)
        database.record_audit(ACTOR, "token.revoke", token_id.hex)
