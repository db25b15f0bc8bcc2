"""The answer to a request for the bytes of an archive: headers, conditions, ranges."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from flask import request
from werkzeug.http import http_date
from werkzeug.wrappers import Response

from meteorpi_server.archive_api.conditions import is_not_modified, wanted_ranges
from meteorpi_server.archive_api.offloading import is_for_mod_zip, mod_zip_list
from meteorpi_server.archive_api.readers import Reader
from meteorpi_server.archive_api.refusals import MissingContentsError
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.slots import Claim
from meteorpi_server.archive_api.transfers import Shipment, transfer
from meteorpi_server.archiving import Entry, Plan
from meteorpi_server.archiving.entry_names import clean_component
from meteorpi_server.ranges import MultipartRanges

ZIP_TYPE: Final = "application/zip"
_ENDING: Final = ".zip"
_FALLBACK_NAME: Final = "collection"


def archive_response(
    service: ArchiveService,
    plan: Plan,
    *,
    name: str,
    link: str,
    ticket_id: uuid.UUID | None = None,
    owner: str = "",
    most_of_owner: int | None = None,
    is_counted: bool = False,
    password: str | None = None,
) -> Response:
    """The answer to the current GET or HEAD request for the archive of `plan`.

    Args:
        service: of the route.
        plan: what to send.
        name: what to call the file; cleaned here.
        link: what the archive is asked for by; its connections share a slot.
        ticket_id: of the ticket whose state is kept, or None.
        owner: of the ticket, whose downloads are counted together.
        most_of_owner: so many at the same time; None for no limit of its own.
        is_counted: whether it has to be known that all of it was sent.
        password: what the contents are encrypted with, or None.

    Raises:
        PreconditionFailed, RequestedRangeNotSatisfiable: as the headers of the request demand.
        MissingContentsError: contents are not what they were when the plan was made.
        UnavailableError, TooManyAttemptsError: too much is being sent already.
        NotAllowedError: the ticket has to wait for its turn.
    """
    claim = Claim(
        link=link,
        owner=owner,
        ticket_id=ticket_id,
        most_of_owner=most_of_owner,
        reader=Reader.of(request.environ),
    )
    if not is_counted and is_for_mod_zip(service, plan):
        return _listed(service, plan, name, claim)
    response = Response(content_type=ZIP_TYPE)
    if plan.is_sized and is_not_modified(plan.etag, plan.newest):
        response = Response(status=304)
    elif plan.is_sized:
        _set_length(response, plan)
    if request.method == "GET" and response.status_code != 304:
        shipment = replace(_shipment(plan, link, ticket_id, response), password=password)
        slot = service.slot(claim)
        try:
            if shipment.is_whole:
                _check_contents(service, plan)
        except BaseException:
            slot.end()
            raise
        response.response = transfer(service, shipment, slot)
    _set_headers(response, plan, name)
    return response


def _listed(service: ArchiveService, plan: Plan, name: str, claim: Claim) -> Response:
    """The archive as a list that nginx makes it from: other bytes, so without our length, parts and tag."""
    response = Response(content_type=ZIP_TYPE)
    if request.method == "GET":
        slot = service.slot(claim)
        response.call_on_close(slot.end)
        try:
            _check_contents(service, plan)
            response.set_data(mod_zip_list(service, plan))
        except BaseException:
            slot.end()
            raise
        response.headers["X-Archive-Files"] = "zip"
    _set_headers(response, plan, name)
    for mark in ("ETag", "Accept-Ranges", "Last-Modified"):
        response.headers.pop(mark, None)
    return response


def disposition(name: str) -> str:
    """``Content-Disposition`` of an archive called `name`, in both forms; ends in ``.zip`` once."""
    cleaned = clean_component(name)
    stem = cleaned[: -len(_ENDING)] if cleaned.lower().endswith(_ENDING) else cleaned
    full = (stem or _FALLBACK_NAME) + _ENDING
    # The characters that would need quoting are gone already; those outside of ASCII are for the second form.
    plain = full.encode("ascii", "replace").decode("ascii").replace("?", "_").replace("%", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(full, safe='!#$&+-.^_`|~')}"


def _set_length(response: Response, plan: Plan) -> None:
    response.headers["Content-Length"] = str(plan.total_bytes)


def _shipment(plan: Plan, link: str, ticket_id: uuid.UUID | None, response: Response) -> Shipment:
    """What to send; status and headers of `response` are made to fit."""
    total, etag = plan.total_bytes, plan.etag
    ranges = [] if etag is None or total is None else wanted_ranges(etag, plan.newest, total)
    several = None
    if ranges and total is not None:
        response.status_code = 206
        response.headers["Content-Length"] = str(sum(each.length for each in ranges))
        if len(ranges) == 1:
            response.headers["Content-Range"] = ranges[0].content_range(total)
        else:
            several = MultipartRanges(ranges, total, ZIP_TYPE, uuid.uuid4().hex)
            response.headers["Content-Length"] = str(several.length)
            response.headers["Content-Type"] = several.content_type
    return Shipment(plan=plan, link=link, ticket_id=ticket_id, ranges=ranges, several=several)


def _set_headers(response: Response, plan: Plan, name: str) -> None:
    headers = response.headers
    headers["Cache-Control"] = "private, no-transform"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Accel-Buffering"] = "no"
    headers["Accept-Ranges"] = "bytes" if plan.etag is not None else "none"
    if plan.is_sized:
        headers["Last-Modified"] = http_date(max(plan.newest, 0))
    if plan.etag is not None:
        response.set_etag(plan.etag)
    if response.status_code != 304:
        headers["Content-Disposition"] = disposition(name)


def _check_contents(service: ArchiveService, plan: Plan) -> None:
    """Look whether every content is there and as long as it was, before anything is promised."""
    gone: list[Entry] = []
    for kind in ("record", "path"):
        entries = [entry for entry in plan.entries if entry.kind == kind]
        source = service.sources.get(kind)
        gone += entries if source is None else source.gone(entries)
    if gone:
        raise MissingContentsError([entry.name for entry in gone])
