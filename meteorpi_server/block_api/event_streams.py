"""Events as a stream of server-sent events, which every web server can send.

A stream keeps the thread of its request.

Source: part C and K-151 of the storage contract; the HTML standard, "Server-sent events".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from meteorpi_model.errors import UnavailableError
from meteorpi_server.block_api.current import current_service, needs_account
from meteorpi_server.block_api.listening import known_number, message, require_listenable
from meteorpi_server.block_events import EventHub, Listener, Told

EVENTS_TYPE: Final = "text/event-stream"
SIGN_OF_LIFE: Final = b": listening\n\n"


def add_views(blueprint: Blueprint) -> None:
    """Attach the views of this module."""
    needs_account(stream_prefix)
    blueprint.add_url_rule("/events/<prefix>", view_func=stream_prefix, methods=["GET"])
    blueprint.add_url_rule("/events/<prefix>/<path:path>", view_func=stream_object, methods=["GET"])


def stream_prefix(prefix: str) -> ResponseReturnValue:
    """A stream of the changes of all objects below a prefix, for its owner."""
    return _stream(prefix, None)


def stream_object(prefix: str, path: str) -> ResponseReturnValue:
    """A stream of the changes of one object, for whoever may read it."""
    return _stream(prefix, path)


def _stream(prefix: str, path: str | None) -> ResponseReturnValue:
    service = current_service()
    who = require_listenable(service, prefix, path)
    listener = service.events.join(prefix, path, who, known_number())
    events = EventStream(service.events, listener, service.settings.block_socket_ping_seconds)
    response = Response(events, content_type=EVENTS_TYPE)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events back until there are many
    return response


class EventStream(Iterator[bytes]):
    """What a listener is told, as a stream; closing it leaves.

    Args:
        hub: that the listener has joined.
        listener: is told.
        ping_seconds: how often something is sent in any case, to notice that the reader has left.
    """

    def __init__(self, hub: EventHub, listener: Listener, ping_seconds: float) -> None:
        self._hub = hub
        self._listener = listener
        self._ping_seconds = ping_seconds
        self._has_begun = False
        self._leave: Callable[[Listener], None] | None = hub.leave
        hub.figures.add(open_streams=1)

    def __next__(self) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            return SIGN_OF_LIFE
        try:
            told = self._listener.take(self._ping_seconds)
        except UnavailableError as error:  # whoever reads comes back with the number of what it knows
            raise StopIteration from error
        if told is not None:
            self._hub.figures.add(messages=1)
            return _event(told)
        if self._listener.has_ended is not None:
            raise StopIteration
        return SIGN_OF_LIFE

    def close(self) -> None:
        """Leave; harmless when repeated."""
        leave, self._leave = self._leave, None
        if leave is not None:
            self._hub.figures.add(open_streams=-1)
            leave(self._listener)


def _event(told: Told) -> bytes:
    return f"id: {told.number}\ndata: {json.dumps(message(told))}\n\n".encode()
