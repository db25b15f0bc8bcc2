"""``meteorpi archive client``: programs that may ask a node for archives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.clients import SELECTORS, Client, Limits, Rights
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import JsonObject
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.passwords import first_line
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR


@contextmanager
def opened(setup: Setup) -> Iterator[tuple[MeteorDatabase, ArchiveRegister]]:
    """The node's database, closed afterwards, and the register in it."""
    with setup.open_database(create=False) as database:
        yield database, ArchiveRegister(database.transactions, database.clock)


@click.group()
def client() -> None:
    """Clients: programs that make links to archives with a secret of their own."""


@client.command("add")
@click.argument("name")
@click.option(
    "--limit",
    "downloads",
    metavar="N",
    type=click.IntRange(min=1),
    help="Archives of this client that are sent at the same time.",
)
@click.option("--prefix", "prefixes", metavar="URL", multiple=True, help="Only addresses that begin so.")
@click.option(
    "--selector",
    "selectors",
    type=click.Choice(SELECTORS),
    multiple=True,
    help="Only sources of this kind; may be repeated.",
)
@click.option(
    "--require-exp",
    "requires_expiry",
    is_flag=True,
    help="Refuse links that it signs without saying until when they are good.",
)
@click.option("--secret-stdin", is_flag=True, help="Take a secret that exists from standard input.")
@click.option(
    "--signing",
    is_flag=True,
    help="Also let a secret of up to 64 bytes sign links; it is then kept as it is.",
)
@json_option
@pass_setup
def add_client(
    setup: Setup,
    output: Output,
    name: str,
    downloads: int | None,
    prefixes: tuple[str, ...],
    selectors: tuple[str, ...],
    requires_expiry: bool,
    secret_stdin: bool,
    signing: bool,
) -> None:
    """Make a client, and print its secret this one time."""
    if signing and not secret_stdin:
        raise click.UsageError("--signing is for a secret that is given with --secret-stdin")
    secret = first_line(sys.stdin.readline()) if secret_stdin else None
    rights = Rights(
        selectors=frozenset(selectors or SELECTORS), prefixes=prefixes, requires_expiry=requires_expiry
    )
    with opened(setup) as (database, register):
        made = register.add_client(name, rights, Limits(downloads=downloads), secret=secret, signing=signing)
        database.record_audit(ACTOR, "archive-client.add", name)
    output.facts({"name": name} if secret_stdin else {"name": name, "secret": made})


@client.command("list")
@json_option
@pass_setup
def list_clients(setup: Setup, output: Output) -> None:
    """List the clients; their secrets are not kept and cannot be shown."""
    with opened(setup) as (_, register):
        rows = [_row(found) for found in register.clients()]
    shown = ("name", "is_enabled", "selectors", "prefixes", "limit", "signs_links", "requires_expiry")
    output.rows(rows, (*shown, "created_at"))


def _row(found: Client) -> JsonObject:
    return {
        "name": found.name,
        "is_enabled": found.is_enabled,
        "selectors": sorted(found.rights.selectors),
        "prefixes": list(found.rights.prefixes),
        "limit": found.limits.downloads,
        "signs_links": found.signing_key is not None,
        "requires_expiry": found.rights.requires_expiry,
        "created_at": found.created_at,
    }


@client.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_setup
def drop_client(setup: Setup, name: str, yes: bool) -> None:
    """Delete a client with all its tickets; their links are gone."""
    with opened(setup) as (database, register):
        if register.client(name) is None:
            raise NotFoundError(f"there is no client {name!r}")
        if not yes:
            click.confirm(f"Delete the client {name} and its links?", abort=True, err=True)
        register.drop_client(name)
        database.record_audit(ACTOR, "archive-client.drop", name)


@client.command("regenerate")
@click.argument("name")
@json_option
@pass_setup
def regenerate_client(setup: Setup, output: Output, name: str) -> None:
    """Give a client another secret, and print it this one time; the old one ends at once."""
    with opened(setup) as (database, register):
        secret = register.regenerate_client(name)
        database.record_audit(ACTOR, "archive-client.regenerate", name)
    output.facts({"name": name, "secret": secret})


@client.command("enable")
@click.argument("name")
@pass_setup
def enable_client(setup: Setup, name: str) -> None:
    """Let a client in again."""
    _set_enabled(setup, name, True)


@client.command("disable")
@click.argument("name")
@pass_setup
def disable_client(setup: Setup, name: str) -> None:
    """Lock a client out; its links stay good until they expire."""
    _set_enabled(setup, name, False)


def _set_enabled(setup: Setup, name: str, is_enabled: bool) -> None:
    with opened(setup) as (database, register):
        register.set_client_enabled(name, is_enabled)
        database.record_audit(ACTOR, f"archive-client.{'enable' if is_enabled else 'disable'}", name)
