"""The other end of a connection, as far as the server that handles the request lets us see it.

Whoever sends is stuck while a reader takes nothing, and while a source says nothing it does not see that the
reader has left. Another thread sees both here, if the server hands on its connection: gunicorn, werkzeug and
the node's own server do.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_CONNECTIONS: Final = ("meteorpi.socket", "gunicorn.socket", "werkzeug.socket")

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
_ACKED_AT: Final = 120


class Reader:
    """One reader; nothing happens where its connection cannot be seen.

    Args:
        connection: its socket, or None.
    """

    def __init__(self, connection: socket.socket | None = None) -> None:
        self._connection = connection

    @classmethod
    def of(cls, environ: WSGIEnvironment) -> Reader:
        """The reader of a request."""
        found = next((environ[name] for name in _CONNECTIONS if name in environ), None)
        return cls(found if isinstance(found, socket.socket) else None)

    def is_gone(self) -> bool:
        """Whether it has closed its side; False where that cannot be seen, as over TLS."""
        if self._connection is None:
            return False
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError, ValueError):
            return False
        except OSError:
            return True

    def drop_after(self, seconds: float) -> None:
        """Have the system end the connection when the reader has taken nothing for so long."""
        if self._connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):
                self._connection.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds)
                )

    def taken_bytes(self) -> int | None:
        """How much it has taken over this connection, counted by the system; None where that cannot be seen.

        Source:
            ``tcpi_bytes_acked`` of ``struct tcp_info``, linux/tcp.h.
        """
        if self._connection is None or _TCP_INFO is None:
            return None
        try:
            found = self._connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED_AT + 8)
        except OSError:
            return None
        return int.from_bytes(found[_ACKED_AT:], sys.byteorder) if len(found) == _ACKED_AT + 8 else None

    def hang_up(self) -> None:
        """End the connection; whoever is writing to it is told so at once."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
