"""The route where tickets wait for their turn."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from meteorpi_db.archives.queue_state import Place, Standing
from meteorpi_server import problems
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archive_api.routes import blueprint
from meteorpi_server.archive_api.service import ArchiveService, current_service
from meteorpi_server.archive_api.sockets import MOST_BYTES, tell_turn
from meteorpi_server.archive_api.tickets import live_ticket
from meteorpi_server.archive_api.waiting import Events, standing_document, standing_event
from meteorpi_server.describing import describe
from meteorpi_server.websockets import accept_socket

LONGEST_POLL_SECONDS: Final = 60
EVENTS_TYPE: Final = "text/event-stream"

_AT_ONCE: Final = Standing(Place.OUTSIDE, -1)
_NUMBER: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?")


@blueprint.get("/ticket/<ticket_id>/wait")
@describe(
    parameters=[{"name": "timeout", "in": "query", "schema": {"type": "number", "maximum": 60}}],
    reply={
        "position": {"type": "integer"},
        "available": {"type": "boolean"},
        "eta_seconds": {"type": "integer"},
    },
    problems=[404, 409, 422, 503],
)
def wait_for_ticket(ticket_id: str) -> ResponseReturnValue:
    """Wait for the turn of a ticket: an answer at the next change, or a stream of events.

    Negative positions mean that it can be downloaded. The turn is kept for a short while only.
    """
    service = current_service()
    ticket = live_ticket(service, ticket_id)
    seconds = _timeout()
    if request.accept_mimetypes.best_match(("application/json", EVENTS_TYPE)) == EVENTS_TYPE:
        return _events(service, ticket.ticket_id)
    standing = _AT_ONCE if service.room is None else service.room.poll(ticket.ticket_id, seconds)
    answer = jsonify(standing_document(standing))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.get("/ticket/<ticket_id>/wait", websocket=True)
def wait_over_socket(ticket_id: str) -> ResponseReturnValue:
    """Wait over a WebSocket, where one can be had; the same address without `Upgrade` does as much."""
    socket = accept_socket(request.environ, most_bytes=MOST_BYTES)
    if socket is not None:
        return tell_turn(current_service(), ticket_id, socket)
    return problems.problem(426, "upgrade-required", "there are no sockets here; ask without Upgrade")


def _events(service: ArchiveService, ticket_id: UUID) -> Response:
    events = (
        iter([standing_event(_AT_ONCE)]) if service.room is None else Events(service.room.watch(ticket_id))
    )
    response = Response(events, content_type=EVENTS_TYPE)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _timeout() -> float:
    """Seconds that the caller is ready to wait.

    Raises:
        RefusedRequestError: the parameter is no number of seconds.
    """
    text = request.args.get("timeout", str(LONGEST_POLL_SECONDS))
    if not _NUMBER.fullmatch(text):
        raise RefusedRequestError({"timeout": ["must be a number of seconds"]}, member="query")
    return min(float(text), LONGEST_POLL_SECONDS)
