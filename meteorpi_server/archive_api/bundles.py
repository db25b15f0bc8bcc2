"""Links for browsers: a search, an event or a night, frozen as a ticket to whose download they lead."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from flask import redirect, url_for
from flask.typing import ResponseReturnValue

from meteorpi_model import FileRecordSearch
from meteorpi_model.errors import NotFoundError
from meteorpi_model.nights import parse_day
from meteorpi_server import auth, parsing
from meteorpi_server.archive_api.items import EventItem, Item, NightItem, SearchItem, checked_camera
from meteorpi_server.archive_api.makers import ANYBODY, Maker, maker_of_user
from meteorpi_server.archive_api.options import read_options
from meteorpi_server.archive_api.planning import make_plan
from meteorpi_server.archive_api.routes import blueprint
from meteorpi_server.archive_api.selecting import refuse_without_node
from meteorpi_server.archive_api.service import current_service
from meteorpi_server.archive_api.tickets import keep_ticket, ticket_options
from meteorpi_server.describing import describe

_SEE_OTHER: Final = 303


@blueprint.get("/bundle/files/<path:search>")
@describe(path="file_record_search", problems=[400, 422])
def bundle_search(search: str) -> ResponseReturnValue:
    """Lead to an archive of what a search finds; the document is written as for the search itself."""
    found = parsing.search_segment(FileRecordSearch, search)
    return _redirect([SearchItem(found)], "files")


@blueprint.get("/bundle/event/<event_id>")
@describe(problems=[400, 404, 422])
def bundle_event(event_id: str) -> ResponseReturnValue:
    """Lead to an archive of the files of an event."""
    found_id = parsing.hex_id(event_id, "event id")
    refuse_without_node(current_service().settings, [EventItem(found_id)])
    if not current_service().db.has_event_id(found_id):
        raise NotFoundError("no such event", entity_id=found_id)
    return _redirect([EventItem(found_id)], f"event-{found_id.hex}")


@blueprint.get("/bundle/night/<path:camera_id>/<date>")
@describe(problems=[400, 422])
def bundle_night(camera_id: str, date: str) -> ResponseReturnValue:
    """Lead to an archive of all that a camera recorded from local mean noon of a date to the next."""
    day = parse_day(date)
    cameras = parsing.names_in_path(camera_id, "camera id")
    known = set(current_service().db.get_cameras())
    camera = next((each for each in cameras if each in known), cameras[0])
    return _redirect([NightItem(checked_camera(camera), day)], f"{camera}-{day.isoformat()}")


def _redirect(items: Sequence[Item], name: str) -> ResponseReturnValue:
    """The way to the live ticket of the caller with the same plan, or to a new one."""
    service, maker = current_service(), _maker()
    options = read_options({"filename": f"{name[:150]}.zip"}, service.settings)
    planner = service.planner
    if maker is ANYBODY and service.settings.anonymous_limit:
        most = min(service.settings.archive_max_entries, service.settings.anonymous_limit)
        limited = dataclasses.replace(service.settings, archive_max_entries=most)
        planner = dataclasses.replace(planner, settings=limited)
    planned = make_plan(planner, items, options, service.db.clock())
    kept = ticket_options(options, planned.left_out)
    ticket = service.register.live_ticket(maker.owner, planned.plan.etag or "", kept)
    ticket = ticket or keep_ticket(service, maker, planned, options)
    address = url_for(".download_named_ticket", ticket_id=ticket.ticket_id, file_name=options.filename)
    response = redirect(address, _SEE_OTHER)
    response.headers["Cache-Control"] = "no-store"
    return response


def _maker() -> Maker:
    """The account of the current request; searching is open to all, and so is this."""
    identity = auth.identify()
    return ANYBODY if identity is None else maker_of_user(identity.user)
