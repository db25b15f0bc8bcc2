"""A third transport: httpcore2, the engine below httpx, with sockets that are dialled and timed here.

It needs the extra ``archive``. Its pool keeps connections apart by the host they were made for, and a name
given for the handshake alone is not looked at when one is used again: the host of an origin is therefore made
of the name *and* of the address, so that a connection is used again only for the very same two.
"""

from __future__ import annotations

import socket
import ssl
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpcore2
from httpcore2 import SOCKET_OPTION, NetworkBackend, NetworkStream

from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.headers import length
from meteorpi_server.outbound.locations import Location
from meteorpi_server.outbound.pacing import Pace
from meteorpi_server.outbound.transport import MAX_FIELDS, Hop, Reply, Timeouts, Transport, trusting

IDLE_CONNECTIONS: Final = 64
"""Idle connections that are kept, to all addresses together."""

_AT: Final = "@"
_NOT_IMPLEMENTED: Final = 501
_SMALLEST_HANDSHAKE_SECONDS: Final = 0.1


class LayeredTransport(Transport):
    """Requests over HTTP/1.1, with connections kept for the next one.

    Args:
        timeouts: how long a source may take.
        ca_file: PEM file with the certificates to trust instead of the usual ones, or None.

    Raises:
        OSError: `ca_file` cannot be read.
    """

    def __init__(self, timeouts: Timeouts | None = None, *, ca_file: str | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._is_closed = False
        self._pool = httpcore2.ConnectionPool(
            ssl_context=trusting(ca_file),
            max_connections=None,
            max_keepalive_connections=IDLE_CONNECTIONS,
            network_backend=_Dialler(self._timeouts),
        )
        weakref.finalize(self, _close_idle, self._pool)  # as urllib3 does, whoever forgets to close this

    def send(self, hop: Hop) -> Reply:
        """Make the request; a connection that the source closed while it was idle is opened again."""
        try:
            return self._send_once(hop)
        except OutboundError as error:
            if not _may_be_the_connections_fault(error):
                raise
            return self._send_once(hop)

    def _send_once(self, hop: Hop) -> Reply:
        url = httpcore2.URL(
            scheme=hop.location.scheme,
            host=f"{hop.location.host}{_AT}{hop.address}",
            port=hop.location.port,
            target=hop.location.target,
        )
        limits = {"connect": hop.connect_seconds, "write": self._timeouts.first_byte}
        request = httpcore2.Request(
            hop.method,
            url,
            headers=list(hop.headers.items()),
            extensions={"timeout": limits, "sni_hostname": hop.location.host},
        )
        with _own_errors(hop.location):
            response = self._pool.handle_request(request)
        is_known = response.extensions["http_version"].startswith(b"HTTP/1.")
        if len(response.headers) > MAX_FIELDS or not is_known:
            response.close()
            raise OutboundError(f"{hop.location} answers with another header", reason=Reason.CUT_OFF)
        return _LayeredReply(response, hop.location, self._given_back)

    def _given_back(self) -> None:
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._is_closed = True
        _close_idle(self._pool)


def _close_idle(pool: httpcore2.ConnectionPool) -> None:
    for connection in pool.connections:
        if connection.is_idle():
            connection.close()


class _Dialler(NetworkBackend):
    """Dials the address that stands behind the name in the host of an origin."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        seconds = self._timeouts.connect if timeout is None else timeout
        deadline = time.monotonic() + seconds
        address = host.rpartition(_AT)[2]
        stream = self._plain.connect_tcp(address, port, seconds, local_address, socket_options)
        return _PacedStream(stream, self._timeouts, deadline)


class _PacedStream(NetworkStream):
    def __init__(self, stream: NetworkStream, timeouts: Timeouts, connect_deadline: float) -> None:
        self._stream = stream
        self._timeouts = timeouts
        self._connect_deadline = connect_deadline
        self._pace = self._new_pace()

    def _new_pace(self) -> Pace:
        limits = self._timeouts
        return Pace(head_seconds=limits.first_byte, idle_seconds=limits.idle, total_seconds=limits.total)

    def relax(self) -> None:
        """The header of the answer is there."""
        self._pace.relax()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            seconds = self._pace.read_seconds()
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(error) from error
        return self._stream.read(max_bytes, seconds)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)
        self._pace = self._new_pace()  # whatever is written belongs to a new request

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        left = max(self._connect_deadline - time.monotonic(), _SMALLEST_HANDSHAKE_SECONDS)
        try:
            secure = self._stream.start_tls(ssl_context, server_hostname, left)
        except httpcore2.ConnectError as error:
            # The connection was there: this is no reason to try another address.
            raise httpcore2.ReadError(*error.args) from error
        return _PacedStream(secure, self._timeouts, self._connect_deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _LayeredReply(Reply):
    def __init__(
        self, response: httpcore2.Response, location: Location, given_back: Callable[[], None]
    ) -> None:
        self._response = response
        self._location = location
        self._given_back = given_back
        self._chunks = filter(None, response.iter_stream())
        self._stream = response.extensions["network_stream"]
        self._stream.relax()
        self.status = response.status
        self.headers = _joined(response.headers)
        self._left = length(self.headers)

    def read(self) -> bytes:
        """Give what one call of the system gave, less what frames it."""
        with _own_errors(self._location):
            chunk = next(self._chunks, b"")
        if self._left is not None:
            self._left -= len(chunk)
        return chunk

    def interrupt(self) -> None:
        """Shut the reading side of the socket."""
        with suppress(OSError):
            self._stream.get_extra_info("socket").shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Give the connection back, or drop it where something is left to read."""
        if self._left == 0:
            with suppress(OutboundError):  # nothing comes, but the library learns that it is the end
                self.read()
        self._response.close()
        self._given_back()


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@contextmanager
def _own_errors(location: Location) -> Iterator[None]:
    """Turn an error of the library into the project's."""
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise OutboundError(f"{location} did not answer", reason=Reason.TIMEOUT) from error
    except httpcore2.ConnectError as error:
        raise OutboundError(f"{location} did not answer", reason=Reason.UNREACHABLE) from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, ValueError) as error:
        raise _broken(location, _origin_of(error)) from error


def _broken(location: Location, origin: object) -> OutboundError:
    if isinstance(origin, ssl.SSLError):
        return OutboundError(f"{location} is not trusted", reason=Reason.UNTRUSTED)
    if getattr(origin, "error_status_hint", None) == _NOT_IMPLEMENTED:
        return OutboundError(f"{location} frames its content in an unknown way", reason=Reason.CODING)
    return OutboundError(f"{location} broke off", reason=Reason.CUT_OFF)


def _origin_of(error: BaseException) -> object:
    """What the library made `error` of; it drops the cause of what it raises, and keeps it as argument."""
    return error.args[0] if error.args else None


def _may_be_the_connections_fault(error: OutboundError) -> bool:
    """Whether a fresh connection may do better.

    One that waited may have been closed meanwhile, or still hold what came behind the answer before: the
    library keeps that.
    """
    cause = error.__cause__
    if isinstance(cause, httpcore2.RemoteProtocolError):
        return error.reason is Reason.CUT_OFF
    return isinstance(cause, httpcore2.NetworkError) and isinstance(_origin_of(cause), ConnectionError)
