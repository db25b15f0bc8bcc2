"""One request to one address: the interface that transports share.

A transport makes a single request to the address it is given and looks nothing up. Addresses, redirects,
headers and retries are decided above it (:mod:`~meteorpi_server.outbound.fetching`), so that they are the
same whichever transport is used.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import requests.utils

from meteorpi_server.outbound.addresses import Address
from meteorpi_server.outbound.locations import Location

MAX_FIELDS: Final = 100
"""Fields of the header of an answer: as many as the standard library reads."""

CHUNK_BYTES: Final = 1 << 18
"""Most bytes that are read from a source at once."""


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long a source may keep a request waiting, in seconds.

    Attributes:
        connect: to take a connection, its encryption included.
        first_byte: from the request to the end of the header of the answer.
        idle: between two bytes of the content.
        total: for the whole.
    """

    connect: float = 10.0
    first_byte: float = 30.0
    idle: float = 60.0
    total: float = 21600.0


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One request.

    Attributes:
        method: ``GET`` or ``HEAD``.
        location: what is asked; its host is the field ``Host`` and the name in the certificate.
        address: what is dialled.
        headers: every field that is sent, ``Host`` included.
        connect_seconds: time to take the connection.
    """

    method: str
    location: Location
    address: Address
    headers: Mapping[str, str]
    connect_seconds: float


class Reply(ABC):
    """The answer to one request, its content not read yet. Closing it before the end drops the connection.

    Attributes:
        status: HTTP status.
        headers: fields by their names in lower case; of repeated ones the values joined by commas.
    """

    status: int
    headers: Mapping[str, str]

    @abstractmethod
    def read(self) -> bytes:
        """Give the next 1 to `CHUNK_BYTES` bytes as they are on the wire, framing removed; empty at the end.

        Raises:
            OutboundError: fewer bytes came than announced, or none for too long.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Make a `read` that waits in another thread fail at once."""

    @abstractmethod
    def close(self) -> None:
        """Free the connection; for the next request if everything was read."""


class Transport(ABC):
    """Makes requests and keeps connections; used by several threads at the same time."""

    @abstractmethod
    def send(self, hop: Hop) -> Reply:
        """Make the request and wait for the header of the answer; no redirect is followed.

        Raises:
            OutboundError: no connection, no trust in the certificate, or no answer in time.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connections that nobody uses; those in use as soon as they are given back."""


@lru_cache(maxsize=8)  # reading the usual certificates takes longer than a hundred files
def trusting(ca_file: str | None = None) -> ssl.SSLContext:
    """What certificates are compared with, the same for every transport.

    Args:
        ca_file: PEM file with the certificates to trust instead of the usual ones, or None.

    Raises:
        OSError: `ca_file` cannot be read.
    """
    return ssl.create_default_context(cafile=ca_file or requests.utils.DEFAULT_CA_BUNDLE_PATH)
