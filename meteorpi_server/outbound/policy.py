"""Whom this node may ask on behalf of somebody else: the check that stands before every connection.

A name is looked up once for each request; every address it has is checked, and the connection goes to one of
exactly these. Looking up again while dialling would let a name point to a public address for the check and to
this machine for the connection.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

from meteorpi_server.outbound.addresses import Address, is_own, is_public
from meteorpi_server.outbound.allowed import AllowedSources
from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.locations import STANDARD_PORTS, Location

Resolver = Callable[[str], Iterable[str]]
"""Gives the addresses of a host as text, IPv6 ones with their zone.

Raises:
    OSError: it has none.
"""

MAX_ADDRESSES: Final = 4
"""Addresses of one name that are tried; the rest of a longer answer is checked as well, but not dialled."""

REMEMBER_SECONDS: Final = 10.0
"""How long an answer of the resolver is used, so that a thousand files of one server ask it once."""

_MOST_REMEMBERED: Final = 1000


def resolve(host: str) -> list[str]:
    """The addresses of `host` as the system's resolver orders them, spelled-out and odd forms included."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class AddressPolicy:
    """Decides where a request may go.

    Args:
        allowed: what is allowed beyond public addresses.
        resolver: looks names up.

    Attributes:
        allowed: may be exchanged while requests are made.
    """

    def __init__(self, allowed: AllowedSources | None = None, resolver: Resolver = resolve) -> None:
        self.allowed = allowed or AllowedSources()
        self._resolver = resolver
        self._remembered: dict[str, tuple[float, tuple[Address, ...]]] = {}

    def check_name(self, location: Location) -> None:
        """Refuse what can be refused without asking for addresses: when a request is planned, not made.

        Raises:
            OutboundError: a port or host that is not allowed, or an address written as one that is not.
        """
        is_named = self.allowed.names(location)
        if location.address is not None:
            self._check_address(location, location.address, is_named)
        elif not is_named and location.port not in STANDARD_PORTS.values() and not self.allowed.networks:
            raise _refused_port(location)
        elif not is_named and self.allowed.is_exclusive and not self.allowed.networks:
            raise _refused(f"{location} is not among the allowed sources")

    def addresses(self, location: Location) -> tuple[Address, ...]:
        """The addresses of `location` that may be dialled, in order; every one of them was checked.

        Raises:
            OutboundError: the host is unknown, or one of its addresses is not allowed.
        """
        self.check_name(location)
        found = self._known(location)
        is_named = self.allowed.names(location)
        for address in found:
            self._check_address(location, address, is_named)
        return found[:MAX_ADDRESSES]

    def _known(self, location: Location) -> tuple[Address, ...]:
        if location.address is not None:
            return (location.address,)
        now = time.monotonic()
        until, found = self._remembered.get(location.host, (now, ()))
        if until <= now:
            found = tuple(dict.fromkeys(self._resolved(location)))
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[location.host] = now + REMEMBER_SECONDS, found
        return found

    def _resolved(self, location: Location) -> list[Address]:
        try:
            found = [ip_address(text) for text in self._resolver(location.host)]
        except (OSError, UnicodeError, ValueError) as error:
            raise _unknown(location) from error
        if not found:
            raise _unknown(location)
        return found

    def _check_address(self, location: Location, address: Address, is_named: bool) -> None:
        if is_named or self.allowed.holds(location, address):
            return
        if self.allowed.is_exclusive:
            raise _refused(f"{location} is not among the allowed sources")
        if location.port not in STANDARD_PORTS.values():
            raise _refused_port(location)
        if not is_public(address) or is_own(address):
            # Which address it is would tell a stranger about the network here.
            raise _refused(f"{location} is not a public address")


def _refused_port(location: Location) -> OutboundError:
    return OutboundError(f"port {location.port} is not asked, only 80 and 443", reason=Reason.REFUSED_URL)


def _refused(detail: str) -> OutboundError:
    return OutboundError(detail, reason=Reason.REFUSED_ADDRESS)


def _unknown(location: Location) -> OutboundError:
    return OutboundError(f"the host {location.host} is not known", reason=Reason.UNKNOWN_HOST)
