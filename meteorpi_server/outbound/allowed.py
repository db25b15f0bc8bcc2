"""What an operator allows beyond the public internet: prefixes of URLs, names of hosts, and networks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.outbound.addresses import Address, Network
from meteorpi_server.outbound.failures import OutboundError
from meteorpi_server.outbound.locations import STANDARD_PORTS, Location

ONLY: Final = "only"
"""The entry that forbids everything the other entries do not name."""

_HIDDEN_STEPS: Final = re.compile("%(2e|2f|5c)", re.IGNORECASE)


@dataclass(frozen=True)
class UrlPrefix:
    """Everything on one server below a path.

    The path ends at a slash, or is the whole path of one document: ``/data`` does not cover ``/database``.
    """

    start: Location

    @classmethod
    def parse(cls, text: str) -> UrlPrefix:
        """Read ``https://host[:port]/path``.

        Raises:
            OutboundError: it is not an http or https URL.
        """
        return cls(Location.parse(text))

    def covers(self, location: Location) -> bool:
        """Whether `location` is below the prefix, for every server that may read it."""
        if location.origin != self.start.origin or _HIDDEN_STEPS.search(location.path):
            return False
        base = self.start.path
        return location.path == base or location.path.startswith(f"{base.rstrip('/')}/")


@dataclass(frozen=True)
class _Host:
    name: str
    port: int | None

    def covers(self, location: Location) -> bool:
        return location.host.rstrip(".") == self.name and _has_port(location, self.port)


@dataclass(frozen=True)
class _Network:
    network: Network
    port: int | None

    def covers(self, location: Location, address: Address) -> bool:
        return address in self.network and _has_port(location, self.port)


@dataclass(frozen=True)
class AllowedSources:
    """What lifts the refusal of addresses that are not public, and of ports other than 80 and 443.

    Attributes:
        prefixes, hosts, networks: what is allowed.
        is_exclusive: nothing else is asked, be it public or not.
    """

    prefixes: tuple[UrlPrefix, ...] = ()
    hosts: tuple[_Host, ...] = ()
    networks: tuple[_Network, ...] = ()
    is_exclusive: bool = False

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowedSources:
        """Read the setting ``allowed_sources``.

        Args:
            entries: each of them ``https://host/path/`` for what is below it, ``host`` or ``host:port``,
                ``192.168.7.0/24`` or ``192.168.7.0/24:12345`` (an IPv6 network with a port in brackets,
                ``[fd00::/8]:12345``, as an address is), or the word ``only``. Without a port 80 and 443 are
                meant.

        Raises:
            ConfigurationError: an entry is none of these; it is named.
        """
        prefixes: list[UrlPrefix] = []
        hosts: list[_Host] = []
        networks: list[_Network] = []
        texts = [text.strip() for text in entries]
        for text in texts:
            try:
                match _read(text):
                    case UrlPrefix() as prefix:
                        prefixes.append(prefix)
                    case _Host() as host:
                        hosts.append(host)
                    case _Network() as network:
                        networks.append(network)
            except (OutboundError, ValueError) as error:
                raise ConfigurationError(f"allowed_sources: {text!r} cannot be read: {error}") from error
        return cls(tuple(prefixes), tuple(hosts), tuple(networks), ONLY in texts)

    def names(self, location: Location) -> bool:
        """Whether `location` is allowed by its prefix or host, wherever that leads."""
        return any(prefix.covers(location) for prefix in self.prefixes) or any(
            host.covers(location) for host in self.hosts
        )

    def holds(self, location: Location, address: Address) -> bool:
        """Whether `location` is allowed because of the `address` it has."""
        return any(entry.covers(location, address) for entry in self.networks)


def _read(text: str) -> UrlPrefix | _Host | _Network | None:
    if text == ONLY:
        return None
    if "://" in text:
        return UrlPrefix.parse(text)
    if found := _network(text):
        return found
    location = Location.parse(f"http://{text}")
    if location.path != "/" or location.query:
        raise ValueError("a host has no path")
    # An explicit 80 cannot be told from none in a parsed URL.
    return _Host(location.host.rstrip("."), _port_of(text))


def _network(text: str) -> _Network | None:
    """The network, or the one address, that `text` is; None for a name.

    Raises:
        ValueError: it looks like one and is none.
    """
    bracketed = re.fullmatch(r"\[([0-9a-fA-F.:]+(?:/\d+)?)\](?::(\d+))?", text)
    plain = bracketed or re.fullmatch(r"(\d+\.\d+\.\d+\.\d+(?:/\d+)?)(?::(\d+))?", text)
    if plain:
        return _Network(ip_network(plain[1]), int(plain[2]) if plain[2] else None)
    if re.fullmatch(r"[0-9a-fA-F.]*:[0-9a-fA-F.:]*:[0-9a-fA-F.:]*(/\d+)?", text):
        return _Network(ip_network(text), None)
    return None


def _port_of(text: str) -> int | None:
    port = text.rpartition(":")[2]
    return int(port) if port.isdigit() and ":" in text else None


def _has_port(location: Location, port: int | None) -> bool:
    return location.port in STANDARD_PORTS.values() if port is None else location.port == port
