"""WebSockets, in servers that hand on their connection: werkzeug's, gunicorn's threads, and our own.

It needs simple-websocket, which the extras ``archive`` and ``websocket`` bring. Elsewhere nothing is
accepted, and whoever asks for an upgrade has to be told another way.

Source:
    RFC 6455. Messages are sent whole, and one after the other, which the library leaves to chance: it sends
    from two threads, and takes it that a connection takes everything at once.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from socket import SHUT_RDWR, SHUT_WR, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socket
from typing import TYPE_CHECKING, Any, Final

from werkzeug.wrappers import Response

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.fronting import CONNECTION, GIVE_AWAY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LINGER_SECONDS: Final = 10
SEND_SECONDS: Final = 20
"""So long somebody who reads nothing is waited for."""

_CONNECTIONS: Final = ("werkzeug.socket", "gunicorn.socket")
_GUNICORN: Final = "gunicorn"


def can_accept(environ: WSGIEnvironment, *, is_leaving: bool = False) -> bool:
    """Whether the current request can become a socket; `is_leaving` as for :func:`accept_socket`."""
    return _connection_of(environ, is_leaving) is not None and has_library()


def has_library() -> bool:
    """Whether the library that sockets need is installed."""
    return find_spec("simple_websocket") is not None


def keeps_thread(environ: WSGIEnvironment) -> bool:
    """Whether a socket keeps the thread of its request; else it can go on in another one."""
    return any(name in environ for name in _CONNECTIONS)


def accept_socket(
    environ: WSGIEnvironment,
    *,
    most_bytes: int,
    subprotocols: Sequence[str] = (),
    ping_seconds: float | None = None,
    on_end: Callable[[], None] | None = None,
    is_leaving: bool = False,
) -> Any | None:
    """The socket that the current request asks for, of simple-websocket; None where none can be had.

    Args:
        most_bytes: longest message that is taken; who sends a longer one is sent away.
        subprotocols: of which the first that is offered is chosen.
        ping_seconds: how often to ask whether the other side is there; who does not answer is sent away.
        on_end: called, in another thread, when nothing more comes.
        is_leaving: the socket will go on in a thread of its own where :func:`keeps_thread` says so; then our
            own server can give its connection away.

    Raises:
        InvalidDocumentError: the request is not what RFC 6455 section 4.1 wants.
    """
    name = _connection_of(environ, is_leaving)
    if name is None or not can_accept(environ, is_leaving=is_leaving):
        return None
    import simple_websocket
    from wsproto.utilities import ProtocolError

    connection, is_ours = _own_descriptor(environ[name])
    before = connection.gettimeout()
    connection.settimeout(None)
    key = name if name in _CONNECTIONS else _CONNECTIONS[0]
    try:
        accepted = simple_websocket.Server.accept(
            {**environ, key: _Wire(connection)},
            subprotocols=list(subprotocols),
            max_message_size=most_bytes,
            ping_interval=ping_seconds,
            thread_class=partial(_Reader, on_end),
        )
    except (ProtocolError, ConnectionError) as error:
        connection.settimeout(before)
        if is_ours:
            connection.close()
        raise InvalidDocumentError("this is not how a WebSocket is asked for") from error
    if name == CONNECTION:
        environ[GIVE_AWAY]()
    return accepted


def end_socket(accepted: Any) -> None:
    """Let the other side see that nothing more comes, and wait no longer than a while for it to hang up.

    The web server does not: it closes its own descriptor of the connection, and the library has another.
    """
    with suppress(OSError):  # the other side was faster
        accepted.sock.end(LINGER_SECONDS)


def cut_socket(accepted: Any) -> None:
    """End a connection, whatever the other side does."""
    accepted.connected = False
    with suppress(OSError):
        accepted.sock.cut()


class UsedConnection(Response):
    """The answer to a request whose connection has been used up, or has gone elsewhere.

    Args:
        accepted: the socket that it was used for.
    """

    def __init__(self, accepted: Any) -> None:
        super().__init__(status=200)
        self._mode = accepted.mode

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Tell the web server, each in its way."""
        if self._mode == _GUNICORN:
            raise StopIteration  # gunicorn's threads take it for the end of the connection
        return super().__call__(environ, start_response)


class _Wire:
    """A connection as the library uses it, that sends everything or fails."""

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        connection.setsockopt(SOL_SOCKET, SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))

    def send(self, data: bytes) -> int:
        with self._turn:
            self._connection.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        return self._connection.recv(size)

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def end(self, seconds: int) -> None:
        self._connection.setsockopt(SOL_SOCKET, SO_RCVTIMEO, struct.pack("ll", seconds, 0))
        self._connection.shutdown(SHUT_WR)

    def cut(self) -> None:
        self._connection.shutdown(SHUT_RDWR)


class _Reader(threading.Thread):
    """The thread in which the library reads; it tells somebody when that is over."""

    def __init__(self, on_end: Callable[[], None] | None, **options: Any) -> None:
        super().__init__(daemon=True, **options)
        self._on_end = on_end

    def run(self) -> None:
        try:
            super().run()
        finally:
            if self._on_end is not None:
                self._on_end()


def _connection_of(environ: WSGIEnvironment, is_leaving: bool) -> str | None:
    names = (*_CONNECTIONS, CONNECTION) if is_leaving else _CONNECTIONS
    return next((name for name in names if name in environ), None)


def _own_descriptor(connection: socket) -> tuple[socket, bool]:
    """A descriptor that the library may close, as the server closes its own; whether it is another one."""
    try:
        return connection.dup(), True
    except NotImplementedError:  # an encrypted one cannot be duplicated
        return connection, False
