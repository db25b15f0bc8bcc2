"""The quickest transport: sockets of its own, and a parser in C that says where an answer ends.

It needs the extra ``archive``; where that is missing :mod:`~meteorpi_server.outbound.pooled` does the same.
With libraries in Python two thirds of the time for a file of 10 KiB are theirs.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import httptools

from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.locations import Location
from meteorpi_server.outbound.messages import MAX_HEAD_BYTES, Message
from meteorpi_server.outbound.pacing import Pace
from meteorpi_server.outbound.transport import CHUNK_BYTES, Hop, Reply, Timeouts, Transport, trusting

IDLE_CONNECTIONS: Final = 64
"""Idle connections that are kept, to all addresses together."""

_HEAD_BYTES: Final = 1 << 16
_SMALLEST_HANDSHAKE_SECONDS: Final = 0.1
_BREAK: Final = re.compile(r"[\r\n\0]")

_Key = tuple[str, str, str, int]


class DirectTransport(Transport):
    """Requests over HTTP/1.1, with connections kept for the next one.

    Args:
        timeouts: how long a source may take.
        ca_file: PEM file with the certificates to trust instead of the usual ones, or None.

    Raises:
        OSError: `ca_file` cannot be read.
    """

    def __init__(self, timeouts: Timeouts | None = None, *, ca_file: str | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._context = trusting(ca_file)
        self._idle = _Idle()
        weakref.finalize(self, self._idle.close)

    def send(self, hop: Hop) -> Reply:
        """Make the request; a connection that the source closed while it was idle is opened again."""
        try:
            return self._send_once(hop)
        except _NoAnswerError:
            return self._send_once(hop)

    def _send_once(self, hop: Hop) -> Reply:
        # Connections are kept apart by name as well: a certificate was compared with one name only.
        key = (hop.location.scheme, hop.location.host, str(hop.address), hop.location.port)
        connection = self._idle.take(key) or self._connect(hop)
        try:
            reply = _DirectReply(connection, hop, self._timeouts, lambda: self._idle.keep(key, connection))
            reply.begin()
        except BaseException:
            connection.close()
            raise
        return reply

    def _connect(self, hop: Hop) -> socket.socket:
        deadline = time.monotonic() + hop.connect_seconds
        try:
            plain = socket.create_connection((str(hop.address), hop.location.port), hop.connect_seconds)
        except TimeoutError as error:
            raise OutboundError(f"{hop.location} did not answer", reason=Reason.TIMEOUT) from error
        except OSError as error:
            raise OutboundError(f"{hop.location} did not answer", reason=Reason.UNREACHABLE) from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hop.location.scheme == "http":
            return plain
        plain.settimeout(max(deadline - time.monotonic(), _SMALLEST_HANDSHAKE_SECONDS))
        with plain, _own_errors(hop.location):  # what is encrypted has taken the descriptor over
            return self._context.wrap_socket(plain, server_hostname=hop.location.host)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._idle.close()


class _NoAnswerError(OutboundError):
    """The connection ended before a byte of the answer."""


class _Idle:
    """Connections that wait for their next request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[tuple[_Key, socket.socket]] = deque()
        self._is_closed = False

    def take(self, key: _Key) -> socket.socket | None:
        """The connection that was used last, open still; None without one."""
        while (found := self._taken(key)) is not None:
            if not _is_readable(found):
                return found
            found.close()  # nothing is to come, so that is its end
        return None

    def _taken(self, key: _Key) -> socket.socket | None:
        with self._lock:
            for index in range(len(self._kept) - 1, -1, -1):
                if self._kept[index][0] == key:
                    found = self._kept[index][1]
                    del self._kept[index]
                    return found
        return None

    def keep(self, key: _Key, connection: socket.socket) -> None:
        """Keep a connection, and close the one that has waited longest if there are too many."""
        with self._lock:
            if self._is_closed:
                surplus = connection
            else:
                self._kept.append((key, connection))
                if len(self._kept) <= IDLE_CONNECTIONS:
                    return
                surplus = self._kept.popleft()[1]
        surplus.close()

    def close(self) -> None:
        """Close what is kept, and from now on what is given back."""
        with self._lock:
            self._is_closed = True
            kept, self._kept = self._kept, deque()
        for _, connection in kept:
            connection.close()


def _is_readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


class _DirectReply(Reply):
    def __init__(
        self, connection: socket.socket, hop: Hop, timeouts: Timeouts, give_back: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._hop = hop
        self._give_back = give_back
        self._timeouts = timeouts
        self._message = Message(has_content=hop.method != "HEAD")
        self._is_closed = False

    def begin(self) -> None:
        """Send the request, and read the header of the answer."""
        with _own_errors(self._hop.location):
            self._connection.settimeout(self._timeouts.first_byte)
            with suppress(ConnectionError):  # a source may answer and close before it has read all
                self._connection.sendall(_request(self._hop))
        limits = self._timeouts
        self._pace = Pace(
            head_seconds=limits.first_byte, idle_seconds=limits.idle, total_seconds=limits.total
        )
        received = 0
        while not self._message.is_begun:
            received += (count := self._receive(_HEAD_BYTES))
            if count == 0 or received > MAX_HEAD_BYTES:
                kind = OutboundError if received else _NoAnswerError
                raise kind(f"{self._hop.location} broke off", reason=Reason.CUT_OFF)
        self._pace.relax()
        self.status = self._message.status
        self.headers = self._message.headers

    def read(self) -> bytes:
        """Give what one call of the system gave, less what frames it."""
        while not (content := self._message.taken()) and not self._message.is_done:
            if self._receive(CHUNK_BYTES) == 0 and not self._message.is_whole_at_end:
                raise OutboundError(f"{self._hop.location} broke off", reason=Reason.CUT_OFF)
        return content

    def _receive(self, most: int) -> int:
        """Read once; the number of bytes."""
        try:
            with _own_errors(self._hop.location):
                if self._message.failure is not None:
                    raise self._message.failure
                self._connection.settimeout(self._pace.read_seconds())
                data = self._connection.recv(most)
                self._message.feed(data)
        except OutboundError as error:
            if isinstance(error.__cause__, ConnectionError) and not self._message.has_bytes:
                raise _NoAnswerError(error.detail, reason=error.reason) from error
            raise
        return len(data)

    def interrupt(self) -> None:
        """Shut the reading side of the socket."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Give the connection back, or drop it where something is left to read."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._message.can_be_followed:
            self._give_back()
        else:
            self._connection.close()

    def __del__(self) -> None:
        """Drop the connection of an answer that nobody closed, as urllib3 does."""
        if not self._is_closed:
            self._connection.close()


def _request(hop: Hop) -> bytes:
    """The request; a ValueError for a field that would be several."""
    lines = [f"{hop.method} {hop.location.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in hop.headers.items()]
    if any(map(_BREAK.search, lines)):
        raise ValueError("a field with a line break")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@contextmanager
def _own_errors(location: Location) -> Iterator[None]:
    """Turn an error of the system, or of the parser, into the project's."""
    try:
        yield
    except TimeoutError as error:
        raise OutboundError(f"{location} did not answer", reason=Reason.TIMEOUT) from error
    except ssl.SSLError as error:
        raise OutboundError(f"{location} is not trusted", reason=Reason.UNTRUSTED) from error
    except httptools.HttpParserError as error:
        is_framing = "transfer-encoding" in str(error).lower()
        what = "frames its content in an unknown way" if is_framing else "broke off"
        reason = Reason.CODING if is_framing else Reason.CUT_OFF
        raise OutboundError(f"{location} {what}", reason=reason) from error
    except (OSError, ValueError) as error:
        raise OutboundError(f"{location} broke off", reason=Reason.CUT_OFF) from error
