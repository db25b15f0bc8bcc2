"""Tickets of type ``stream``: one file as it is, of the node or of another server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import cast
from uuid import UUID

from flask import request
from werkzeug.wrappers import Response

from meteorpi_db.archives.tickets import Ticket
from meteorpi_model.errors import NotFoundError
from meteorpi_server.archive_api.offloading import (
    SENDFILE,
    X_ACCEL,
    header_for,
    is_wanted,
    lend_file,
    local_path_of,
)
from meteorpi_server.archive_api.options import Options
from meteorpi_server.archive_api.readers import Reader
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.signed_links import SignedLink
from meteorpi_server.archive_api.slots import Claim, Slot
from meteorpi_server.archive_api.streams import deliver, disposition, relayed
from meteorpi_server.archiving import Entry, Plan
from meteorpi_server.content import Chunks, Content, content_response


def stream_ticket(service: ArchiveService, ticket: Ticket, most_of_owner: int | None) -> Response:
    """The answer to the current request for the one file of a ticket, as it is.

    Raises:
        NotFoundError: the record is gone.
        NotAllowedError, UnavailableError, TooManyAttemptsError: as for an archive.
    """
    (entry,) = service.plan_of(ticket.ticket_id, ticket.etag).entries
    claim = Claim(
        link=str(ticket.ticket_id),
        owner=ticket.owner.key,
        ticket_id=ticket.ticket_id,
        most_of_owner=most_of_owner,
        reader=Reader.of(request.environ),
    )
    slot = service.slot(claim) if request.method == "GET" else Slot(claim, lambda _: None)
    if entry.kind == "url":
        name = entry.name.rpartition("/")[2]
        wanted = SignedLink(
            url=entry.reference, headers={"content-disposition": disposition("attachment", name)}
        )
        headers = entry.details.get("headers")
        return relayed(service, wanted, headers if isinstance(headers, dict) else {}, slot)
    try:
        response = _record_response(service, entry)
        if request.method == "GET" and isinstance(response.response, Iterator):
            _send(service, response, slot, entry)
        else:
            response.call_on_close(slot.end)
    except BaseException:
        slot.end()
        raise
    return response


def _send(service: ArchiveService, response: Response, slot: Slot, entry: Entry) -> None:
    """Count the body of a response, and have it sent by the kernel or by us."""
    slot.total_bytes = response.content_length
    service.figures.began(is_resumed=response.status_code == 206)
    is_for_kernel = is_wanted(service, SENDFILE, [UUID(entry.reference)])
    if not (is_for_kernel and lend_file(service, response, slot, partial(service.figures.ended, slot))):
        response.response = deliver(service, cast(Chunks, response.response), slot)


def stream_options(options: Options) -> Options:
    """The options of a ticket for one file as it is, which has no manifest and is not deflated.

    Raises:
        RefusedRequestError: the number of its downloads is to be counted, or it is to have a password.
    """
    if options.password is not None:
        raise RefusedRequestError({"options": {"password": ["a stream is sent as it is"]}})
    if options.once or options.max_downloads:
        raise RefusedRequestError({"options": {"once": ["downloads of a stream are not counted"]}})
    return replace(options, manifest=False, compression="store")


def refuse_more_than_one(plan: Plan) -> None:
    """Look whether a plan is that of one file.

    Raises:
        RefusedRequestError: it is not.
    """
    if [entry.kind in ("record", "url") for entry in plan.entries] != [True]:
        raise RefusedRequestError({"type": ["stream takes one file, of the node or of an address"]})


def _record_response(service: ArchiveService, entry: Entry) -> Response:
    file_id = UUID(entry.reference)
    record = service.db.get_file(file_id)
    if record is None or service.db.store.stat(file_id) is None:
        raise NotFoundError("the file is not here any more")
    facts = service.db.content_facts(file_id)
    return content_response(
        Content(
            size=facts.size,
            content_type=record.mime_type,
            md5=facts.md5,
            sha256=facts.sha256,
            file_name=record.file_name or entry.name.rpartition("/")[2],
            open=partial(service.db.store.open, file_id),
            local_path=local_path_of(service, file_id) if is_wanted(service, X_ACCEL, [file_id]) else None,
            offload=header_for(service),
        )
    )


def stream_facts(service: ArchiveService, plan: Plan) -> tuple[str | None, int | None]:
    """Tag and size of the one file of a ticket; no tag where parts of it may not be had."""
    (entry,) = plan.entries
    etag = service.db.content_facts(UUID(entry.reference)).md5 if entry.kind == "record" else None
    return etag, entry.size
