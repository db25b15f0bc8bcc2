"""``meteorpi users``: the accounts of a node."""

from __future__ import annotations

import click

from meteorpi_model import User
from meteorpi_model.errors import NotFoundError
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.passwords import ask_password, password_options
from meteorpi_server.cli.setup import Setup, pass_setup

ACTOR = "command line"
_ROLES = click.Choice(User.roles)


@click.group()
def users() -> None:
    """Accounts: who may log in, administrate, or push data to this node."""


@users.command("list")
@json_option
@pass_setup
def list_users(setup: Setup, output: Output) -> None:
    """List the accounts, their roles, and the cameras that they are restricted to."""
    with setup.open_database() as database:
        accounts = database.get_accounts()
    rows = [
        account.user.as_dict()
        | {"is_enabled": account.is_enabled, "cameras": account.cameras, "created_at": account.created_at}
        for account in accounts
    ]
    output.rows(rows, ("user_id", "roles", "is_enabled", "cameras", "created_at"))


@users.command("set")
@click.argument("user_id")
@click.option(
    "--role", "roles", type=_ROLES, multiple=True, help="Give exactly these roles; may be repeated."
)
@click.option("--camera", "cameras", multiple=True, help="Restrict imports to this camera; may be repeated.")
@click.option("--any-camera", is_flag=True, help="Lift the restriction to cameras.")
@click.option("--enable/--disable", "is_enabled", default=None, help="Let the account in, or lock it out.")
@password_options
@json_option
@pass_setup
def set_user(
    setup: Setup,
    output: Output,
    user_id: str,
    roles: tuple[str, ...],
    cameras: tuple[str, ...],
    any_camera: bool,
    is_enabled: bool | None,
    password: str | None,
) -> None:
    """Create an account, or change the given parts of one.

    A new account needs a password, which is asked for when no option gives it, and has role user unless
    others are given.
    """
    with setup.open_database() as database:
        is_new = user_id not in {user.user_id for user in database.get_users()}
        if is_new and password is None:
            password = ask_password(f"Password of {user_id}")
        result = database.create_or_update_user(user_id, password, list(roles) or None)
        if cameras or any_camera:
            database.set_user_cameras(user_id, None if any_camera else list(cameras))
        if is_enabled is not None:
            database.set_user_enabled(user_id, is_enabled)
        database.record_audit(ACTOR, f"user.{result}", user_id)
        (user,) = (user for user in database.get_users() if user.user_id == user_id)
    output.facts(user.as_dict() | {"change": result})


@users.command("delete")
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_setup
def delete_user(setup: Setup, user_id: str, yes: bool) -> None:
    """Delete an account and its tokens."""
    with setup.open_database() as database:
        if user_id not in {user.user_id for user in database.get_users()}:
            raise NotFoundError(f"there is no account {user_id!r}", entity_id=user_id)
        if not yes:
            click.confirm(f"Delete the account {user_id}?", abort=True, err=True)
        database.delete_user(user_id)
        database.record_audit(ACTOR, "user.delete", user_id)
