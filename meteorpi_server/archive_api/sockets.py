"""Waiting over a WebSocket, in servers that hand on their connection: werkzeug's and gunicorn's threads.

It needs the extra ``archive``. Elsewhere an upgrade is answered with 426, and the other two ways remain.

Source:
    Section 3.9 of the archive contract; what is said is what FPX said. RFC 6455 for the codes below 4000.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any, Final

from werkzeug.wrappers import Response

from meteorpi_db.archives.queue import AlreadyWaitingError
from meteorpi_db.archives.queue_state import Standing
from meteorpi_model.errors import NotFoundError, UnavailableError
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.tickets import live_ticket
from meteorpi_server.archive_api.waiting import WaitingRoom, Watch, standing_document
from meteorpi_server.websockets import UsedConnection, end_socket

DONE: Final = 1000
GOING_AWAY: Final = 1001
BUSY: Final = 1013
UNKNOWN_TICKET: Final = 4404
WAITED_TOO_LONG: Final = 4408

MOST_BYTES: Final = 4096


def tell_turn(service: ArchiveService, ticket_id: str, socket: Any) -> Response:
    """Tell over `socket` how things are with a ticket until it is available, then close it.

    Returns:
        What a view has to answer once the connection was used for something else.
    """
    from simple_websocket import ConnectionClosed

    with suppress(ConnectionClosed, OSError):  # the other side has left; its place is given up by then
        code, reason = _conversation(service, ticket_id, socket)
        socket.close(code, reason)
        end_socket(socket)
    return UsedConnection(socket)


def _conversation(service: ArchiveService, ticket_id: str, socket: Any) -> tuple[int, str]:
    """Everything but the end, which is returned."""
    try:
        ticket = live_ticket(service, ticket_id)
        if service.room is None:
            _say(socket, {"position": -1, "available": True})
            return DONE, "available"
        watch = service.room.watch(ticket.ticket_id)
    except NotFoundError as error:
        _say(socket, {"errors": {"id": [error.detail]}})
        return UNKNOWN_TICKET, "unknown ticket"
    except AlreadyWaitingError:
        _say(socket, {"error": "Already waiting"})
        return DONE, "already waiting"
    except UnavailableError as error:
        _say(socket, {"errors": {"access": [error.detail]}})
        return BUSY, "try again later"
    with closing(watch):
        return _follow(watch, socket, service.room)


def _follow(watch: Watch, socket: Any, room: WaitingRoom) -> tuple[int, str]:
    last: Standing | None = None
    for standing in watch:
        # Now and then the last one is said again, which shows that both sides are there.
        last = standing or last
        if last is not None:
            _say(socket, standing_document(last))
    if last is not None and last.is_available:
        return DONE, "available"
    if room.is_closing:
        return GOING_AWAY, "ask again"
    return WAITED_TOO_LONG, "waited too long"


def _say(socket: Any, message: Mapping[str, object]) -> None:
    socket.send(json.dumps(message))
