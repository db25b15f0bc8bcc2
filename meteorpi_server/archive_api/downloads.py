"""The bytes behind a ticket."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from meteorpi_db.archives.tickets import Ticket
from meteorpi_model.errors import NotAllowedError
from meteorpi_server.archive_api.answers import archive_response
from meteorpi_server.archive_api.conditions import goes_on_with
from meteorpi_server.archive_api.makers import current_maker
from meteorpi_server.archive_api.passwords import password_of
from meteorpi_server.archive_api.routes import blueprint
from meteorpi_server.archive_api.service import ArchiveService, current_service
from meteorpi_server.archive_api.stream_tickets import stream_ticket
from meteorpi_server.archive_api.tickets import live_ticket, unknown_ticket
from meteorpi_server.describing import describe


@blueprint.get("/ticket/<ticket_id>/download")
@describe(content=True, problems=[404, 409, 412, 416, 429, 503])
def download_ticket(ticket_id: str) -> ResponseReturnValue:
    """Send the archive of a ticket: whole, in ranges, or not at all when the caller has it already."""
    service = current_service()
    ticket = live_ticket(service, ticket_id)
    return ticket_response(service, ticket)


@blueprint.get("/ticket/<ticket_id>/download/<path:file_name>")
@describe(content=True, problems=[404, 409, 412, 416, 429, 503])
def download_named_ticket(ticket_id: str, file_name: str) -> ResponseReturnValue:
    """Send the archive of a ticket; the name is there for programs that save files and may be any."""
    return download_ticket(ticket_id)


def ticket_response(service: ArchiveService, ticket: Ticket) -> ResponseReturnValue:
    """The answer to the current request for the archive of a ticket whose link is good.

    Raises:
        NotFoundError: it is used up, and this does not go on with the download that used it up.
        NotAuthenticatedError, NotAllowedError: it is bound to its maker, and somebody else is asking.
    """
    if ticket.is_used_up and not goes_on_with(ticket.etag):
        raise unknown_ticket()
    if ticket.options.get("bind") == "client" and current_maker().owner != ticket.owner:
        raise NotAllowedError("this archive is for who made the ticket only")
    client_id = ticket.owner.client_id
    client = None if client_id is None else service.register.client_of_id(client_id)
    most_of_owner = None if client is None else client.limits.downloads
    if ticket.ticket_type == "stream":
        return stream_ticket(service, ticket, most_of_owner)
    return archive_response(
        service,
        service.plan_of(ticket.ticket_id, ticket.etag),
        name=str(ticket.options.get("filename", "")),
        link=str(ticket.ticket_id),
        ticket_id=ticket.ticket_id,
        owner=ticket.owner.key,
        most_of_owner=most_of_owner,
        is_counted=ticket.max_downloads > 0,
        password=password_of(service.db, ticket),
    )
