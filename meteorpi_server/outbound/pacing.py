"""Limits of time that hold against a source that sends a byte now and then.

The timeout of a socket begins anew with every byte, so a server that sends its header one letter a minute
would never be given up. Here the header as a whole has a deadline, and only after it each read has its own.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES: Final = 1 << 16


class PacedReader(io.RawIOBase):
    """The bytes of a socket, by a deadline first and with a limit for every read after `relax`.

    Args:
        raw: reads from `sock`; closed with this.
        sock: its timeout is set before every read.
        head_seconds: time until the header has to be there.
        idle_seconds: time for each read after it.
    """

    def __init__(
        self, raw: io.RawIOBase, sock: socket.socket, *, head_seconds: float, idle_seconds: float
    ) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline: float | None = time.monotonic() + head_seconds
        self._idle_seconds = idle_seconds

    def relax(self) -> None:
        """The header is there: from now on each read has its own limit."""
        self._deadline = None
        self._sock.settimeout(self._idle_seconds)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Read as :class:`io.RawIOBase` says; a TimeoutError when the time is over."""
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close what is read from."""
        if not self.closed:
            self._raw.close()
        super().close()


class PacedResponse(http.client.HTTPResponse):
    """A response that reads through a :class:`PacedReader`.

    The timeout that the socket has when this is made is the one for the whole header.

    Args:
        idle_seconds: time for each read of the content.
    """

    def __init__(self, sock: socket.socket, *arguments: Any, idle_seconds: float, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._paced = PacedReader(
            self.fp.detach(),
            sock,
            head_seconds=idle_seconds if (limit := sock.gettimeout()) is None else limit,
            idle_seconds=idle_seconds,
        )
        self.fp = io.BufferedReader(self._paced, _BUFFER_BYTES)

    def begin(self) -> None:
        """Read the header."""
        super().begin()
        self._paced.relax()
