"""``meteorpi archive import-fpx``: clients and links of a service that this node takes the place of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import click

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.clients import Rights
from meteorpi_db.archives.fpx import FpxClient, FpxTicket, read_fpx
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tickets import Owner
from meteorpi_model.errors import ConflictError, InvalidDocumentError, NotFoundError
from meteorpi_model.values import JsonObject, parse_hex_id
from meteorpi_server.archive_api.items import read_items
from meteorpi_server.archive_api.makers import Maker
from meteorpi_server.archive_api.options import Options, read_options
from meteorpi_server.archive_api.planning import make_plan
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.stream_tickets import refuse_more_than_one, stream_options
from meteorpi_server.archive_api.tickets import keep_ticket
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR

_URLS: Final = frozenset({"url"})
_NOBODY: Final = Maker(owner=Owner(), selectors=_URLS)
"""FPX did not keep who made a ticket."""


@dataclass
class _Taken:
    """What came of an import."""

    clients: int = 0
    tickets: int = 0
    known: int = 0
    left_out: list[JsonObject] = field(default_factory=list)


@click.command("import-fpx")
@click.argument("db_url")
@click.option(
    "--signing",
    is_flag=True,
    help="Also let secrets of up to 64 bytes, as FPX makes them, sign links; they are then kept as they are.",
)
@json_option
@pass_setup
def import_fpx(setup: Setup, output: Output, db_url: str, signing: bool) -> int:
    """Take over the clients of the FPX database at DB_URL, and the links that nobody has followed yet.

    Clients keep their secrets, links their addresses. FPX may go on running: nothing is changed there.
    Repeated, it takes what has come since. Ends with 1 when something could not be taken over.
    """
    found = read_fpx(db_url)
    taken = _Taken()
    with setup.open_database(create=False) as database:
        # Whoever has thousands of links would wait for every source; FPX did not know lengths either.
        service = ArchiveService(database, dataclasses.replace(setup.settings, archive_preflight=0))
        for client in found.clients:
            with _left_out(taken, {"client": client.name}):
                _take_client(database, service.register, client, taken, signing=signing)
        for ticket in found.tickets:
            with _left_out(taken, {"ticket": ticket.ticket_id}):
                _take_ticket(service, ticket, taken)
    _tell(output, taken)
    return 1 if taken.left_out else 0


def _tell(output: Output, taken: _Taken) -> None:
    counts = {"clients": taken.clients, "tickets": taken.tickets, "known": taken.known}
    if output.as_json:
        output.facts({**counts, "left_out": taken.left_out})
        return
    for each in taken.left_out:
        output.warn("left out: " + ": ".join(f"{name} {value}" for name, value in each.items()))
    output.facts({**counts, "left_out": len(taken.left_out)})


@contextmanager
def _left_out(taken: _Taken, what: JsonObject) -> Iterator[None]:
    try:
        yield
    except (InvalidDocumentError, ConflictError) as error:
        taken.left_out.append(what | {"reason": error.detail})


def _take_client(
    database: MeteorDatabase, register: ArchiveRegister, client: FpxClient, taken: _Taken, *, signing: bool
) -> None:
    known = register.client_of_secret(client.secret)
    if known is not None and known.name == client.name:
        taken.known += 1
        return
    register.add_client(client.name, Rights(selectors=_URLS), secret=client.secret, signing=signing)
    database.record_audit(ACTOR, "archive-client.add", client.name)
    taken.clients += 1


def _take_ticket(service: ArchiveService, ticket: FpxTicket, taken: _Taken) -> None:
    ticket_id = _id_of(ticket)
    if _is_known(service.register, ticket_id):
        taken.known += 1
        return
    items = read_items(ticket.items, service.settings.archive_max_items)
    options = _options_of(service, ticket)
    planned = make_plan(service.planner, items, options, service.db.clock())
    if ticket.ticket_type == "stream":
        refuse_more_than_one(planned.plan)
    keep_ticket(service, _NOBODY, planned, options, ticket_type=ticket.ticket_type, ticket_id=ticket_id)
    taken.tickets += 1


def _is_known(register: ArchiveRegister, ticket_id: UUID) -> bool:
    with suppress(NotFoundError):
        register.ticket(ticket_id)
        return True
    return False


def _id_of(ticket: FpxTicket) -> UUID:
    ticket_id: UUID = parse_hex_id(ticket.ticket_id, "ticket")
    return ticket_id


def _options_of(service: ArchiveService, ticket: FpxTicket) -> Options:
    """What FPX would have done: a file name, and what fails left out; all else was passed over."""
    name = ticket.options.get("filename") if isinstance(ticket.options, dict) else None
    if ticket.ticket_type == "stream":
        return stream_options(read_options({}, service.settings))
    wanted = {"on_error": "skip"} | ({"filename": name} if name else {})
    return read_options(wanted, service.settings)
