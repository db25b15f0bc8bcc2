"""The transport that is always there: pools of urllib3, each for one checked address.

A pool is made for an address, not for a name, so there is nothing left to look up; the name goes into the
field ``Host``, and for https into the handshake, where the certificate is compared with it. Proxies of the
environment are not used: they would look the name up again.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.locations import Location
from meteorpi_server.outbound.pacing import PacedResponse
from meteorpi_server.outbound.transport import CHUNK_BYTES, Hop, Reply, Timeouts, Transport, trusting

POOLS: Final = 64
"""Addresses to which idle connections are kept."""

IDLE_CONNECTIONS: Final = 16
"""Idle connections to one address."""


class _PlainConnection(HTTPConnection):
    def __init__(self, *arguments: Any, idle_seconds: float, total_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.response_class = partial(  # type: ignore[assignment]  # called, and nothing else
            PacedResponse, idle_seconds=idle_seconds, total_seconds=total_seconds
        )


class _SecureConnection(HTTPSConnection):
    def __init__(self, *arguments: Any, idle_seconds: float, total_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.response_class = partial(  # type: ignore[assignment]  # called, and nothing else
            PacedResponse, idle_seconds=idle_seconds, total_seconds=total_seconds
        )


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class PacedPools(urllib3.PoolManager):
    """Pools of connections whose answers have to keep a pace, see :class:`.pacing.Pace`.

    Args:
        timeouts: how long an answer may take.
        context: says which certificates are trusted.
    """

    def __init__(self, timeouts: Timeouts, context: ssl.SSLContext) -> None:
        super().__init__(POOLS, maxsize=IDLE_CONNECTIONS, ssl_context=context)
        self.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        self._limits = {"idle_seconds": timeouts.idle, "total_seconds": timeouts.total}

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        # Made to be overridden; an option that is no option of urllib3 cannot come in another way.
        options = {**(request_context or self.connection_pool_kw), **self._limits}
        return super()._new_pool(scheme, host, port, options)


class PooledTransport(Transport):
    """Requests over HTTP/1.1, with connections kept for the next one.

    Args:
        timeouts: how long a source may take.
        ca_file: PEM file with the certificates to trust instead of the usual ones, or None.

    Raises:
        OSError: `ca_file` cannot be read.
    """

    def __init__(self, timeouts: Timeouts | None = None, *, ca_file: str | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._pools = PacedPools(self._timeouts, trusting(ca_file))

    def send(self, hop: Hop) -> Reply:
        """Make the request; a connection that the source closed while it was idle is opened again."""
        try:
            return self._send_once(hop)
        except OutboundError as error:
            if not _was_closed_while_idle(error):
                raise
            return self._send_once(hop)

    def _send_once(self, hop: Hop) -> Reply:
        with _own_errors(hop.location):
            reply = self._pool(hop).urlopen(
                hop.method,
                hop.location.target,
                headers=hop.headers,
                timeout=urllib3.Timeout(connect=hop.connect_seconds, read=self._timeouts.first_byte),
                retries=False,
                redirect=False,
                assert_same_host=False,  # the host of the pool is an address
                preload_content=False,
                decode_content=False,
            )
        return _PooledReply(reply, hop.location)

    def _pool(self, hop: Hop) -> HTTPConnectionPool:
        is_named = hop.location.scheme == "https" and hop.location.address is None
        return self._pools.connection_from_host(
            str(hop.address),
            hop.location.port,
            hop.location.scheme,
            {"server_hostname": hop.location.host} if is_named else None,
        )

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for key in self._pools.pools.keys():  # noqa: SIM118  # a container that cannot be iterated
            self._pools.pools[key].close()
        self._pools.clear()


class _PooledReply(Reply):
    def __init__(self, reply: urllib3.BaseHTTPResponse, location: Location) -> None:
        self._reply = reply
        self._location = location
        self.status = reply.status
        self.headers = {name.lower(): text.strip() for name, text in reply.headers.itermerged()}

    def read(self) -> bytes:
        """Read with one call of the system, so that little is as quick as much."""
        with _own_errors(self._location):
            return self._reply.read1(CHUNK_BYTES)

    def interrupt(self) -> None:
        """Shut the reading side of the socket; nothing to do where the content has been read."""
        with suppress(OSError, RuntimeError, ValueError):
            self._reply.shutdown()

    def close(self) -> None:
        """Give the connection back, or drop it where something is left to read."""
        if self._reply.connection is not None:
            self._reply.close()
        self._reply.release_conn()


@contextmanager
def _own_errors(location: Location) -> Iterator[None]:
    """Turn an error of urllib3 into the project's; its text is left out, it may hold the whole URL."""
    try:
        yield
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        # NewConnectionError is derived from the first of the two.
        reason = Reason.UNREACHABLE if isinstance(error, NewConnectionError) else Reason.TIMEOUT
        raise OutboundError(f"{location} did not answer", reason=reason) from error
    except SSLError as error:
        raise OutboundError(f"{location} is not trusted", reason=Reason.UNTRUSTED) from error
    except (HTTPError, OSError, ValueError) as error:
        raise OutboundError(f"{location} broke off", reason=Reason.CUT_OFF) from error


def _was_closed_while_idle(error: OutboundError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ProtocolError) and any(
        isinstance(argument, ConnectionError) for argument in cause.args
    )
