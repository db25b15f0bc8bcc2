"""Limits of time that hold against a source that sends a byte now and then.

The timeout of a socket begins anew with every byte, so a server that sends its header one letter a minute
would never be given up, nor one that sends trailers for ever behind its content. Here the header has a
deadline, and after it each read has a limit of its own and all of them together another.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES: Final = 1 << 16
_SWITCHING: Final = http.HTTPStatus.SWITCHING_PROTOCOLS
_DIGITS: Final = re.compile("[0-9]+")


class Pace:
    """How long each read of one answer may take; begun when the request has been sent.

    Args:
        head_seconds: time until the header has to be there.
        idle_seconds: time for each read after it.
        total_seconds: time for everything.
    """

    def __init__(self, *, head_seconds: float, idle_seconds: float, total_seconds: float) -> None:
        self._begun = time.monotonic()
        self._deadline = self._begun + min(head_seconds, total_seconds)
        self._total_seconds = total_seconds
        self._read_seconds = head_seconds
        self._idle_seconds = idle_seconds

    def relax(self) -> None:
        """The header is there: from now on each read has its own limit."""
        self._deadline = self._begun + self._total_seconds
        self._read_seconds = self._idle_seconds

    def read_seconds(self) -> float:
        """The timeout of the next read, more than 0; a TimeoutError when the time is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, self._read_seconds)


class PacedReader(io.RawIOBase):
    """The bytes of a socket, read at a pace.

    Args:
        raw: reads from `sock`; closed with this.
        sock: its timeout is set before every read.
        pace: says how long each may take.

    Attributes:
        has_ended: whether the other side has closed the connection.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, pace: Pace) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._pace = pace
        self.has_ended = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Read as :class:`io.RawIOBase` says; a TimeoutError when the time is over."""
        self._sock.settimeout(self._pace.read_seconds())
        count = self._raw.readinto(buffer)
        self.has_ended = count == 0
        return count

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
        self._pace = Pace(
            head_seconds=idle_seconds if (limit := sock.gettimeout()) is None else limit,
            idle_seconds=idle_seconds,
            total_seconds=total_seconds,
        )
        self._reader = PacedReader(self.fp.detach(), sock, self._pace)
        self.fp = io.BufferedReader(self._reader, _BUFFER_BYTES)

    def begin(self) -> None:
        """Read the header.

        Raises:
            http.client.HTTPException: it cannot be read to its end, is of another protocol, or announces two
                lengths or what is none. The standard library would go on without what it has not read, and
                urllib3 leave the socket open.
        """
        super().begin()
        while http.HTTPStatus.CONTINUE < self.status < http.HTTPStatus.OK and self.status != _SWITCHING:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first call
            super().begin()  # by itself it passes over 100 only, not over other announcements
        lengths = ",".join(self.headers.get_all("content-length", [])).split(",")
        is_whole = not self._reader.has_ended and not self.headers.get_payload()
        if not is_whole or self.status == _SWITCHING or (lengths != [""] and not _is_one_number(lengths)):
            raise http.client.HTTPException("that is no header of an answer")
        self._pace.relax()


def _is_one_number(values: list[str]) -> bool:
    """Whether all of `values` are the same whole number."""
    found = {value.strip() for value in values}
    return all(map(_DIGITS.fullmatch, found)) and len(found) == 1
