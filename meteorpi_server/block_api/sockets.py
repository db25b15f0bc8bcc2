"""Events over WebSockets.

Under werkzeug and gunicorn a socket keeps the thread of its request. Our own server gives the connection
away, and the socket goes on in a thread of its own.

Source: A.1, A.9, K-150, K-154 and K-155 of the storage contract; RFC 6455 for the codes.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any, Final

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from meteorpi_model.errors import InvalidDocumentError, UnavailableError
from meteorpi_server import problems
from meteorpi_server.block_api.current import current_service, needs_account
from meteorpi_server.block_api.listening import known_number, message, require_listenable
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.block_events import End, EventFigures, Listener
from meteorpi_server.block_events.listeners import TRY_AGAIN_LATER
from meteorpi_server.websockets import (
    UsedConnection,
    accept_socket,
    can_accept,
    cut_socket,
    end_socket,
    has_library,
    keeps_thread,
)

logger = logging.getLogger("meteorpi.block.events")

SUBPROTOCOLS: Final = ("v0.ws.block.qabel.de", "v0.events.block")
"""What published clients offer, and the same under a name that belongs to nobody."""

_MOST_BYTES: Final = 1 << 16
_LOOK_SECONDS: Final = 30.0
_HANG_UP_SECONDS: Final = 5.0


def add_views(blueprint: Blueprint) -> None:
    """Attach the views of this module; without `Upgrade` they say what is missing."""
    needs_account(listen_to_prefix)
    for is_socket in (True, False):
        blueprint.add_url_rule(
            "/websocket/<prefix>", view_func=listen_to_prefix, methods=["GET"], websocket=is_socket
        )
        blueprint.add_url_rule(
            "/websocket/<prefix>/<path:path>",
            view_func=listen_to_object,
            methods=["GET"],
            websocket=is_socket,
        )


def tell_of_absence() -> None:
    """Say in the log when there can be no sockets, whatever the server."""
    if not has_library():
        logger.info("no WebSockets here: pip install 'meteorpi[websocket]'")


def listen_to_prefix(prefix: str) -> ResponseReturnValue:
    """A WebSocket with the changes of all objects below a prefix, for its owner."""
    return _listen(prefix, None)


def listen_to_object(prefix: str, path: str) -> ResponseReturnValue:
    """A WebSocket with the changes of one object, for whoever may read it."""
    return _listen(prefix, path)


def _listen(prefix: str, path: str | None) -> ResponseReturnValue:
    service = current_service()
    who = require_listenable(service, prefix, path)
    since = known_number()
    if request.headers.get("Upgrade", "").lower() != "websocket" or not can_accept(
        request.environ, is_leaving=True
    ):
        return _no_socket()
    _require_known_subprotocol()
    is_staying = keeps_thread(request.environ)
    with ExitStack() as stack:
        listener = service.events.join(prefix, path, who, since, occupies_thread=is_staying)
        stack.callback(service.events.leave, listener, occupies_thread=is_staying)
        socket = accept_socket(
            request.environ,
            most_bytes=_MOST_BYTES,
            subprotocols=SUBPROTOCOLS,
            ping_seconds=service.settings.block_socket_ping_seconds,
            on_end=listener.poke,
            is_leaving=True,
        )
        assert socket is not None
        stack.enter_context(_Counted(service.events.figures))
        kept = stack.pop_all()
    if is_staying:
        _converse(service, listener, socket, kept)
    else:
        _converse_elsewhere(service, listener, socket, kept)
    return UsedConnection(socket)


def _converse_elsewhere(service: BlockService, listener: Listener, socket: Any, kept: ExitStack) -> None:
    """Go on in another thread; no daemon, so that a process that ends waits until the other side was told."""
    thread = threading.Thread(
        target=_converse, args=(service, listener, socket, kept), name="block socket", daemon=False
    )
    try:
        thread.start()
    except RuntimeError:  # there are too many
        with kept:
            cut_socket(socket)
        raise


def _no_socket() -> ResponseReturnValue:
    # An answer with the header `Upgrade`, as RFC 9110 wants it, is not for WSGI applications to give.
    return problems.problem(
        426,
        "upgrade-required",
        "sockets need `Upgrade: websocket`, and a server that can have them with meteorpi[websocket]; "
        "the same events are at /events",
    )


def _require_known_subprotocol() -> None:
    """Whoever offers some, and none that is known, would understand nothing."""
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if any(offered) and not set(offered) & set(SUBPROTOCOLS):
        raise InvalidDocumentError(f"the subprotocols here are {', '.join(SUBPROTOCOLS)}")


def _converse(service: BlockService, listener: Listener, socket: Any, kept: ExitStack) -> None:
    """Tell what happens until one side ends it."""
    from simple_websocket import ConnectionClosed

    with kept:
        socket.input_buffer = _Nowhere()
        try:
            with suppress(ConnectionClosed, OSError):  # the other side has left
                end = _tell(listener, socket, service.events.figures)
                socket.close(end.code, end.reason)
                end_socket(socket)
                socket.thread.join(_HANG_UP_SECONDS)
        finally:
            cut_socket(socket)


def _tell(listener: Listener, socket: Any, figures: EventFigures) -> End:
    while True:
        try:
            told = listener.take(_LOOK_SECONDS)
        except UnavailableError:
            return End(TRY_AGAIN_LATER, "what was missed cannot be read now")
        if told is not None:
            socket.send(json.dumps(message(told)))
            figures.add(messages=1)
        elif listener.has_ended is not None:
            return listener.has_ended
        elif not socket.connected:
            raise ConnectionResetError("the other side has left")


class _Counted:
    """An open socket, as figures have it."""

    def __init__(self, figures: EventFigures) -> None:
        self._figures = figures

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._figures.add(open_sockets=1)

    def __exit__(self, *_: object) -> None:
        self._figures.socket_closed(time.monotonic() - self._began)


class _Nowhere(list[object]):
    """Where messages of the other side go: nobody reads them, so they must not be kept."""

    def append(self, _message: object) -> None:
        """Forget it."""
