"""Limits of time that hold against a source that sends a byte now and then.

The timeout of a socket begins anew with every byte, so a server that sends its header one letter a minute
would never be given up, nor one that sends trailers for ever behind its content. Here the header has a
deadline, and after it each read has a limit of its own and all of them together another.
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
    """The bytes of a socket, by a deadline first, and with a limit for every read and for all after `relax`.

    Args:
        raw: reads from `sock`; closed with this.
        sock: its timeout is set before every read.
        head_seconds: time until the header has to be there.
        idle_seconds: time for each read after it.
        total_seconds: time for everything.
    """

    def __init__(
        self,
        raw: io.RawIOBase,
        sock: socket.socket,
        *,
        head_seconds: float,
        idle_seconds: float,
        total_seconds: float,
    ) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._begun = time.monotonic()
        self._deadline = self._begun + min(head_seconds, total_seconds)
        self._total_seconds = total_seconds
        self._read_seconds = head_seconds
        self._idle_seconds = idle_seconds

    def relax(self) -> None:
        """The header is there: from now on each read has its own limit."""
        self._deadline = self._begun + self._total_seconds
        self._read_seconds = self._idle_seconds

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Read as :class:`io.RawIOBase` says; a TimeoutError when the time is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(min(left, self._read_seconds))
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
        total_seconds: time for everything.
    """

    def __init__(
        self,
        sock: socket.socket,
        *arguments: Any,
        idle_seconds: float,
        total_seconds: float,
        **options: Any,
    ) -> None:
        super().__init__(sock, *arguments, **options)
        self._paced = PacedReader(
            self.fp.detach(),
            sock,
            head_seconds=idle_seconds if (limit := sock.gettimeout()) is None else limit,
            idle_seconds=idle_seconds,
            total_seconds=total_seconds,
        )
        self.fp = io.BufferedReader(self._paced, _BUFFER_BYTES)

    def begin(self) -> None:
        """Read the header."""
        super().begin()
        self._paced.relax()
