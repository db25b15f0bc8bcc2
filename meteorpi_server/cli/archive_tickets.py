"""``meteorpi archive ticket list``, ``show`` and ``drop``: links that were given out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import click

from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import Place, QueueRules
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tickets import Ticket
from meteorpi_model.values import JsonObject
from meteorpi_server.archive_api.passwords import shown_options
from meteorpi_server.cli.archive_clients import opened
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.parameters import ID
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR
from meteorpi_server.settings import Settings

STATES: Final = ("new", "queued", "available", "active", "done", "failed", "expired", "withdrawn")
_PAGE_TICKETS: Final = 100
_PLACES: Final = {Place.WAITING: "queued", Place.RESERVED: "available", Place.ACTIVE: "active"}
_COLUMNS: Final = ("id", "state", "owner", "entries", "bytes", "created", "expires")


@dataclass(frozen=True)
class _Looker:
    """Says how things are with tickets.

    Attributes:
        register, queue: of the node.
        names: of clients, by identity.
        is_queued: whether tickets wait for their turn.
        now: the time.
    """

    register: ArchiveRegister
    queue: ArchiveQueue
    names: dict[UUID, str]
    is_queued: bool
    now: datetime

    def state_of(self, ticket: Ticket) -> str:
        place = self.queue.standing(ticket.ticket_id).place
        outcome = ticket.outcome(self.now)
        if outcome in ("withdrawn", "expired"):
            return outcome
        if place is not Place.OUTSIDE:
            return _PLACES[place]
        return outcome or ("new" if self.is_queued else "available")

    def owner_of(self, ticket: Ticket) -> str | None:
        if ticket.owner.client_id is not None:
            return f"client {self.names.get(ticket.owner.client_id, '?')}"
        return None if ticket.owner.user_id is None else f"user {ticket.owner.user_id}"

    def row_of(self, ticket: Ticket) -> JsonObject:
        return {
            "id": str(ticket.ticket_id),
            "state": self.state_of(ticket),
            "owner": self.owner_of(ticket),
            "entries": ticket.entries,
            "bytes": ticket.size_bytes,
            "created": ticket.created_at,
            "expires": ticket.expires_at,
        }

    def all_rows(self) -> Iterator[JsonObject]:
        offset = 0
        while page := self.register.tickets(limit=_PAGE_TICKETS, offset=offset):
            yield from map(self.row_of, page)
            offset += len(page)


def _looker(register: ArchiveRegister, queue: ArchiveQueue, settings: Settings, now: datetime) -> _Looker:
    names = {client.client_id: client.name for client in register.clients()}
    return _Looker(register, queue, names, not settings.archive_no_queue, now)


@click.command("list")
@click.option("--state", type=click.Choice(STATES), help="In this state only.")
@json_option
@pass_setup
def list_tickets(setup: Setup, output: Output, state: str | None) -> None:
    """List the links to archives, newest first."""
    with opened(setup) as (database, register):
        queue = ArchiveQueue(database.transactions, QueueRules(), database.clock)
        looker = _looker(register, queue, setup.settings, database.clock())
        output.rows((row for row in looker.all_rows() if state in (None, row["state"])), _COLUMNS)


@click.command("show")
@click.argument("ticket_id", metavar="ID", type=ID)
@json_option
@pass_setup
def show_ticket(setup: Setup, output: Output, ticket_id: UUID) -> None:
    """Show what has become of a ticket."""
    with opened(setup) as (database, register):
        ticket = register.ticket(ticket_id)
        queue = ArchiveQueue(database.transactions, QueueRules(), database.clock)
        row = _looker(register, queue, setup.settings, database.clock()).row_of(ticket)
    output.facts(
        row
        | {
            "etag": ticket.etag,
            "options": shown_options(ticket),
            "downloads": ticket.downloads,
            "bytes_sent": ticket.bytes_sent,
            "entries_done": ticket.entries_done,
            "errors": list(ticket.errors),
        }
    )


@click.command("drop")
@click.argument("ticket_id", metavar="[ID]", type=ID, required=False)
@click.option("--all", "drops_all", is_flag=True, help="All of them.")
@click.option("--expired", is_flag=True, help="Those that have expired.")
@json_option
@pass_setup
def drop_ticket(setup: Setup, output: Output, ticket_id: UUID | None, drops_all: bool, expired: bool) -> None:
    """Delete one ticket, or many; their links are gone, and running downloads end."""
    if (ticket_id is not None) + drops_all + expired != 1:
        raise click.UsageError("name one ID, or --all, or --expired")
    with opened(setup) as (database, register):
        if ticket_id is not None:
            register.drop_ticket(ticket_id)
            removed, subject = 1, str(ticket_id)
        elif drops_all:
            removed, subject = register.drop_all_tickets(), "all"
        else:
            removed, subject = register.sweep(), "expired"
        database.record_audit(ACTOR, "archive-ticket.drop", subject, f"{removed} removed")
    output.facts({"removed": removed})
