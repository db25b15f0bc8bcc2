"""Requests to addresses that somebody else named: every address is checked before it is dialled.

::

    URL -> Location -> AddressPolicy -> addresses -> Transport -> Reply -> Answer
              ^                                                   |
              +----------------- redirect, at most five ----------+
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from meteorpi_server.outbound.addresses import Address
from meteorpi_server.outbound.answer import Answer
from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.headers import check_headers
from meteorpi_server.outbound.locations import Location
from meteorpi_server.outbound.policy import AddressPolicy
from meteorpi_server.outbound.transport import Hop, Reply, Timeouts, Transport

USER_AGENT: Final = "meteorpi"

MAX_HEADER_LENGTH: Final = 1 << 16
"""Characters of all fields of an answer; what libraries read beyond that differs."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SMALLEST_CONNECT_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is wanted of a source.

    Attributes:
        url: address of the source.
        headers: fields sent along, to the origin of `url` only.
        start: first byte wanted, counted from 0.
        stop: one past the last byte; None is the end.
        validator: strong entity tag that the content has to have for a part of it to be sent.
        method: ``GET``, or ``HEAD`` for an answer without content.
    """

    url: str
    headers: Mapping[str, str] | None = None
    start: int = 0
    stop: int | None = None
    validator: str | None = None
    method: str = "GET"

    @property
    def is_partial(self) -> bool:
        """Whether less than the whole is wanted."""
        return self.start > 0 or self.stop is not None


class Outbound:
    """Asks sources; used by several threads at the same time.

    Args:
        transport: makes the connections; closed with this.
        policy: says which addresses may be dialled.
        timeouts: how long a source may take.
        max_redirects: redirects that are followed one after another.
    """

    def __init__(
        self,
        transport: Transport,
        policy: AddressPolicy,
        *,
        timeouts: Timeouts | None = None,
        max_redirects: int = 5,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._timeouts = timeouts or Timeouts()
        self._max_redirects = max_redirects

    def check(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Return when `url` and `headers` look like what may be asked; nothing is looked up or sent.

        Raises:
            OutboundError: the URL, its port, a host written as an address, or a header is refused.
        """
        check_headers(headers or {})
        self._policy.check_name(Location.parse(url))

    def get(self, request: Request, deadline: float | None = None) -> Answer:
        """Ask a source, follow its redirects, and give its answer, the content of which is not read yet.

        Args:
            request: what is wanted. Where a part is wanted the answer may still be the whole: its ``start``
                says so.
            deadline: when the content has to be complete, on the clock of :func:`time.monotonic`; None takes
                the limit of `timeouts`.

        Raises:
            OutboundError: the request is refused, or there is no answer with status 200 or 206.
        """
        check_headers(request.headers or {})
        if deadline is None:
            deadline = time.monotonic() + self._timeouts.total
        location = Location.parse(request.url)
        own = request.headers or {}
        for _ in range(self._max_redirects + 1):
            if time.monotonic() > deadline:
                raise OutboundError(f"{location} takes too long", reason=Reason.TIMEOUT)
            reply = self._ask(location, request, own)
            try:
                _check_header(reply, location)
                target = _redirect(reply, location)
                if target is None:
                    return _checked(reply, location, request, deadline)
            except BaseException:
                reply.close()
                raise
            reply.close()
            own = own if target.origin == location.origin else {}
            location = target
        raise OutboundError(f"{location} is redirected too often", reason=Reason.REDIRECTS)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._transport.close()

    def _ask(self, location: Location, request: Request, own: Mapping[str, str]) -> Reply:
        addresses = self._policy.addresses(location)
        hop = Hop(
            method=request.method,
            location=location,
            address=addresses[0],
            headers=_fields(location, request, own),
            connect_seconds=max(self._timeouts.connect / len(addresses), _SMALLEST_CONNECT_SECONDS),
        )
        return self._first_to_answer(hop, addresses)

    def _first_to_answer(self, hop: Hop, addresses: Sequence[Address]) -> Reply:
        for address in addresses[:-1]:
            try:
                return self._transport.send(replace(hop, address=address))
            except OutboundError as error:
                if error.reason is not Reason.UNREACHABLE:
                    raise
        return self._transport.send(replace(hop, address=addresses[-1]))


def _fields(location: Location, request: Request, own: Mapping[str, str]) -> dict[str, str]:
    fields = {"User-Agent": USER_AGENT, "Accept": "*/*"}
    for name, value in own.items():
        fields = {known: kept for known, kept in fields.items() if known.lower() != name.lower()}
        fields[name] = value
    fields |= {"Host": location.host_header, "Accept-Encoding": "identity"}
    if request.is_partial:
        last = "" if request.stop is None else str(request.stop - 1)
        fields["Range"] = f"bytes={request.start}-{last}"
        if request.validator is not None:
            fields["If-Range"] = request.validator
    return fields


def _check_header(reply: Reply, location: Location) -> None:
    text = "".join(f"{name}{value}" for name, value in reply.headers.items())
    if len(text) > MAX_HEADER_LENGTH or "\0" in text:
        raise OutboundError(f"{location} answers with another header", reason=Reason.CUT_OFF)


def _redirect(reply: Reply, location: Location) -> Location | None:
    """Where `reply` sends on to; None if it does not."""
    if reply.status not in _REDIRECTS or "location" not in reply.headers:
        return None
    return location.joined(reply.headers["location"])


def _checked(reply: Reply, location: Location, request: Request, deadline: float) -> Answer:
    if reply.status not in ((200, 206) if request.is_partial else (200,)):
        detail = f"{location} answers with status {reply.status}"
        raise OutboundError(detail, reason=Reason.STATUS, status=reply.status)
    answer = Answer(reply, location, deadline)
    if reply.status == 206 and answer.start != request.start:
        raise OutboundError(f"{location} sends another part than asked for", reason=Reason.CHANGED)
    return answer
