"""The address of one request, read once: what is checked, dialled and asked comes from the same value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Final
from urllib.parse import urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from meteorpi_server.outbound.addresses import Address
from meteorpi_server.outbound.failures import OutboundError, Reason

STANDARD_PORTS: Final = {"http": 80, "https": 443}
MAX_URL_LENGTH: Final = 8192

_AUTHORITY_END: Final = re.compile("[/?#]")


@dataclass(frozen=True)
class Location:
    """An http or https address.

    Attributes:
        scheme: ``http`` or ``https``.
        host: in lower case, in ASCII (RFC 5891); an IPv6 address without brackets.
        port: 1 to 65535.
        path: begins with a slash; dot segments are resolved.
        query: with its question mark, or empty.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read `url`; a fragment is left out, for it is never sent.

        Raises:
            OutboundError: it is not an http or https URL, has no host, carries a user or password, or cannot
                be read; reason ``refused-url``.
        """
        try:
            parts = _parts(url)
        except (LocationParseError, UnicodeError, ValueError) as error:
            raise refused("the URL cannot be read") from error
        if parts.scheme not in STANDARD_PORTS:
            raise refused("only http and https are fetched")
        if parts.auth is not None or "@" in _authority(url):
            raise refused("a URL must not carry a user or a password")
        port = STANDARD_PORTS[parts.scheme] if parts.port is None else parts.port
        host = (parts.host or "").strip("[]")
        if not host.rstrip(".") or not 0 < port <= 65535:
            raise refused("the URL names no host that can be asked")
        return cls(parts.scheme, host, port, parts.path or "/", f"?{parts.query}" if parts.query else "")

    def joined(self, reference: str) -> Location:
        """The address that `reference`, a field of an answer, means here; raises as :meth:`parse` does."""
        try:
            # Fields are read as Latin-1; what is not ASCII in an address was meant as UTF-8.
            return self.parse(urljoin(self.url, reference.encode("latin-1").decode()))
        except ValueError as error:
            raise refused("the address of a redirect cannot be read") from error

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what headers meant for one server must not leave (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def target(self) -> str:
        """What is asked of the server (RFC 9112 section 3.2.1)."""
        return self.path + self.query

    @property
    def host_header(self) -> str:
        """The field ``Host``: without the port where it is the usual one (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == STANDARD_PORTS[self.scheme] else f"{host}:{self.port}"

    @cached_property
    def address(self) -> Address | None:
        """The address that the host is written as; None for a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def url(self) -> str:
        """The whole as text."""
        return f"{self.scheme}://{self.host_header}{self.target}"

    def __str__(self) -> str:
        """For messages: the query may hold a signature."""
        return f"{self.scheme}://{self.host_header}{self.path}"


def _parts(url: str) -> Url:
    if len(url) > MAX_URL_LENGTH or "\\" in url or not url.isprintable():
        raise ValueError("too long, or with characters that readers disagree about")
    if "%" in _authority(url):
        raise ValueError("a host is not written in percent signs, and a zone means nothing to others")
    return parse_url(url)


def _authority(url: str) -> str:
    """User, host and port of `url` as they are written."""
    return _AUTHORITY_END.split(url.partition("://")[2], maxsplit=1)[0]


def refused(detail: str) -> OutboundError:
    """The error for a URL that is not asked at all."""
    return OutboundError(detail, reason=Reason.REFUSED_URL)
