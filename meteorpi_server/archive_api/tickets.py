"""Tickets: made of a selection that is frozen there and then, listed, looked at, withdrawn."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from flask import Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from meteorpi_db.archives.queue_state import Place
from meteorpi_db.archives.register import PAGE_TICKETS
from meteorpi_db.archives.tickets import NewTicket, Ticket
from meteorpi_model.errors import InvalidDocumentError, NotAllowedError, NotFoundError
from meteorpi_model.values import JsonObject, parse_hex_id
from meteorpi_server.archive_api.makers import Maker, current_maker, maker_if_known, needs_maker
from meteorpi_server.archive_api.options import Options
from meteorpi_server.archive_api.passwords import sealed_password
from meteorpi_server.archive_api.planning import Planned, make_plan
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archive_api.requests import check_rights, read_ticket_request
from meteorpi_server.archive_api.routes import blueprint
from meteorpi_server.archive_api.selecting import LeftOut
from meteorpi_server.archive_api.service import ArchiveService, current_service
from meteorpi_server.archive_api.stream_tickets import (
    refuse_more_than_one,
    stream_facts,
    stream_options,
)
from meteorpi_server.describing import describe

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_MOST_KEY_CHARACTERS: Final = 256
_PUBLISHED_BYTES: Final = 20
_STATES: Final = {
    Place.OUTSIDE: "new",
    Place.WAITING: "queued",
    Place.RESERVED: "available",
    Place.ACTIVE: "active",
}


@blueprint.post("/ticket/generate")
@needs_maker
@describe(
    body={"type": {"enum": ["zip", "stream"]}, "items": {"type": "array"}, "options": {"type": "object"}},
    reply={
        "created": _TEXT,
        "type": _TEXT,
        "id": _TEXT,
        "href": _TEXT,
        "status_href": _TEXT,
        "archive_href": _TEXT,
        "expires": _TEXT,
        "entries": _COUNT,
        "sized": _FLAG,
        "bytes": _COUNT,
        "resumable": _FLAG,
        "etag": _TEXT,
        "available": _FLAG,
        "skipped": _OBJECTS,
    },
    problems=[400, 409, 413, 422],
)
def generate_ticket() -> ResponseReturnValue:
    """Freeze a selection of records and directories, and give a link to it as one zip archive.

    Repeated with the same header `Idempotency-Key` within an hour, the same ticket is given.
    """
    service, maker = current_service(), current_maker()
    asked = read_ticket_request(service.settings)
    check_rights(maker, asked.items)
    is_stream = asked.ticket_type == "stream"
    options = stream_options(asked.options) if is_stream else asked.options
    planned = make_plan(service.planner, asked.items, options, service.db.clock())
    if is_stream:
        refuse_more_than_one(planned.plan)
    ticket = keep_ticket(
        service,
        maker,
        planned,
        options,
        ticket_type=asked.ticket_type,
        idempotency_key=_idempotency_key(),
    )
    return _fresh(jsonify(_made_document(ticket, service)))


@blueprint.get("/ticket/")
@needs_maker
@describe(
    parameters=[{"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}}],
    reply={"page": _COUNT, "count": _COUNT, "tickets": _OBJECTS},
    problems=[422],
)
def list_tickets() -> ResponseReturnValue:
    """List the tickets of whoever asks, newest first, ten a page; an administrator sees all."""
    service, maker = current_service(), current_maker()
    page = _page()
    owner = None if maker.manages_all else maker.owner
    found = service.register.tickets(owner, limit=PAGE_TICKETS, offset=PAGE_TICKETS * (page - 1))
    tickets = [
        {"created": iso_time(each.created_at), "type": each.ticket_type, "id": str(each.ticket_id)}
        for each in found
    ]
    return _fresh(jsonify(page=page, count=service.register.count_tickets(owner), tickets=tickets))


@blueprint.get("/ticket/<ticket_id>")
@describe(
    reply={
        "created": _TEXT,
        "type": _TEXT,
        "state": _TEXT,
        "position": {"type": ["integer", "null"]},
        "available": _FLAG,
        "expires": _TEXT,
        "sized": _FLAG,
        "bytes": _COUNT,
        "resumable": _FLAG,
        "etag": _TEXT,
        "entries": _COUNT,
        "entries_done": _COUNT,
        "bytes_sent": _COUNT,
        "active_downloads": _COUNT,
        "errors": _OBJECTS,
        "password_hint": _TEXT,
    },
    problems=[404],
)
def show_ticket(ticket_id: str) -> ResponseReturnValue:
    """Show what has become of a ticket; its owner is told even when its link is gone."""
    service = current_service()
    ticket = find_ticket(service, ticket_id)
    if ticket.is_gone(service.db.clock()):
        maker = maker_if_known()
        if maker is None or not maker.may_see(ticket):
            raise unknown_ticket()
    return _fresh(jsonify(_state_document(ticket, service)))


@blueprint.delete("/ticket/<ticket_id>")
@needs_maker
@describe(problems=[404])
def withdraw_ticket(ticket_id: str) -> ResponseReturnValue:
    """Take a ticket back: its link is gone, and running downloads end."""
    service, maker = current_service(), current_maker()
    ticket = find_ticket(service, ticket_id)
    if not maker.may_see(ticket):
        raise NotAllowedError("only who made a ticket can take it back")
    service.register.withdraw(ticket.ticket_id)
    service.end_downloads(str(ticket.ticket_id))
    return Response(status=204)


def keep_ticket(
    service: ArchiveService,
    maker: Maker,
    planned: Planned,
    options: Options,
    *,
    ticket_type: str = "zip",
    idempotency_key: str | None = None,
    ticket_id: UUID | None = None,
) -> Ticket:
    """Make a ticket of a plan; under a `ticket_id` only if it was given out elsewhere."""
    plan = planned.plan
    try:
        stored = plan.to_bytes()
    except UnicodeEncodeError as error:
        raise RefusedRequestError({"items": ["the name of a file is no text"]}) from error
    etag, size_bytes = (
        stream_facts(service, plan) if ticket_type == "stream" else (plan.etag, plan.total_bytes)
    )
    return service.register.add_ticket(
        NewTicket(
            ticket_type=ticket_type,
            plan=stored,
            entries=len(plan.entries),
            expires_at=service.db.clock() + timedelta(seconds=options.ttl),
            owner=maker.owner,
            options=ticket_options(options, planned.left_out) | sealed_password(service.db, options.password),
            etag=etag,
            size_bytes=size_bytes,
            max_downloads=1 if options.once else options.max_downloads,
            published_as=secrets.token_hex(_PUBLISHED_BYTES) if options.publish else None,
            idempotency_key=idempotency_key,
            ticket_id=ticket_id,
        )
    )


def ticket_options(options: Options, left_out: Sequence[LeftOut]) -> JsonObject:
    """What a ticket keeps of its request, and what could not be put into its archive."""
    return options.as_dict() | {"skipped": [each.as_dict() for each in left_out]}


def find_ticket(service: ArchiveService, text: str) -> Ticket:
    """The ticket with that id, whatever has become of it.

    Raises:
        NotFoundError: there is none, or that is no id.
    """
    try:
        ticket_id: UUID = parse_hex_id(text)
        return service.register.ticket(ticket_id)
    except (InvalidDocumentError, NotFoundError) as error:
        raise unknown_ticket() from error


def live_ticket(service: ArchiveService, text: str) -> Ticket:
    """The ticket with that id, whose link is good.

    Raises:
        NotFoundError: there is none, or not any more; nobody can tell which.
    """
    ticket = find_ticket(service, text)
    if ticket.is_gone(service.db.clock()):
        raise unknown_ticket()
    return ticket


def iso_time(moment: datetime) -> str:
    """A UTC time in ISO 8601."""
    return moment.isoformat(timespec="milliseconds") + "Z"


def unknown_ticket() -> NotFoundError:
    """The error of a link that leads nowhere, whatever it led to once."""
    return NotFoundError("there is no such ticket, or not any more")


def _made_document(ticket: Ticket, service: ArchiveService) -> JsonObject:
    return {
        "created": iso_time(ticket.created_at),
        "type": ticket.ticket_type,
        "id": str(ticket.ticket_id),
        "href": url_for(".download_ticket", ticket_id=ticket.ticket_id),
        "status_href": url_for(".show_ticket", ticket_id=ticket.ticket_id),
        **_published(ticket),
        "expires": iso_time(ticket.expires_at),
        "entries": ticket.entries,
        **_size_document(ticket),
        "available": _is_available(ticket, service),
        "skipped": ticket.options.get("skipped", []),
    }


def _published(ticket: Ticket) -> JsonObject:
    name = ticket.published_as
    return {} if name is None else {"archive_href": url_for(".send_directory", name=name)}


def _state_document(ticket: Ticket, service: ArchiveService) -> JsonObject:
    running = service.watcher.progress_of(ticket.ticket_id)
    standing = None if service.queue is None else service.queue.standing(ticket.ticket_id)
    state = _state(ticket, len(running), service.db.clock())
    if state == "available" and standing is not None:
        state = _STATES[standing.place]
    return {
        "created": iso_time(ticket.created_at),
        "type": ticket.ticket_type,
        "state": state,
        "position": None if standing is None else standing.position,
        "available": _is_available(ticket, service) and not ticket.is_used_up,
        "expires": iso_time(ticket.expires_at),
        **_size_document(ticket),
        "entries": ticket.entries,
        "entries_done": ticket.entries_done,
        "bytes_sent": ticket.bytes_sent + sum(each.sent_bytes for each in running),
        "active_downloads": len(running),
        "errors": list(ticket.errors),
        **_hint_document(ticket),
    }


def _hint_document(ticket: Ticket) -> JsonObject:
    hint = ticket.options.get("password_hint")
    return {"password_hint": hint} if hint else {}


def _size_document(ticket: Ticket) -> JsonObject:
    return {
        "sized": ticket.size_bytes is not None,
        "bytes": ticket.size_bytes,
        "resumable": ticket.etag is not None,
        "etag": ticket.etag,
    }


def _is_available(ticket: Ticket, service: ArchiveService) -> bool:
    """Whether it can be downloaded at once."""
    if ticket.is_gone(service.db.clock()):
        return False
    return service.queue is None or service.queue.standing(ticket.ticket_id).is_available


def _state(ticket: Ticket, active: int, now: datetime) -> str:
    if ticket.is_withdrawn:
        return "withdrawn"
    if ticket.expires_at <= now:
        return "expired"
    if active:
        return "active"
    if ticket.is_used_up or ticket.downloads:
        return "done"
    return "failed" if ticket.errors else "available"


def _page() -> int:
    text = request.args.get("page", "1")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise RefusedRequestError({"page": ["must be a whole number of 1 or more"]}, member="query")
    return int(text)


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= _MOST_KEY_CHARACTERS:
        raise InvalidDocumentError(f"Idempotency-Key has 1 to {_MOST_KEY_CHARACTERS} characters")
    return key


def _fresh(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
