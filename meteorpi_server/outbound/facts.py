"""What sources say about themselves before anything of them is read: length, validators, name."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Protocol

from meteorpi_server.outbound.answer import Answer
from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.fetching import Outbound, Request
from meteorpi_server.outbound.headers import file_name

AT_ONCE: Final = 8
"""Sources that are asked at the same time."""

SECONDS: Final = 60.0
"""When no further source is asked: somebody waits for the answer."""

_NOT_FOR_HEAD: Final = frozenset({400, 403, 405, 501})
"""What servers say to HEAD that would answer GET; addresses signed for one method are among them."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A source as it was when it was asked.

    Attributes:
        size: bytes of the content; None when the source does not say, or sends it coded.
        validator: strong entity tag, or None.
        modified: last change in seconds since 1970, or None.
        name: of the file, from ``Content-Disposition``, as the source gives it; None without one.
        content_type: MIME type without parameters, or empty.
        crc32: CRC-32 of the content, where somebody who knows was asked for it; else None.
    """

    size: int | None
    validator: str | None
    modified: int | None
    name: str | None
    content_type: str
    crc32: int | None = None


class Ask(Protocol):
    """A way of asking one source."""

    def __call__(self, outbound: Outbound, request: Request, deadline: float | None = None) -> Facts:
        """What the source of `request` says until `deadline`; raises OutboundError."""


def ask(outbound: Outbound, request: Request, deadline: float | None = None) -> Facts:
    """Ask one source with HEAD, and where that is not understood with GET for one byte.

    Raises:
        OutboundError: as :meth:`Outbound.get` does.
    """
    try:
        with outbound.get(replace(request, method="HEAD"), deadline) as answer:
            for _ in answer:  # there is no content; reading it gives the connection back
                continue
            return _facts(answer)
    except OutboundError as error:
        if error.status not in _NOT_FOR_HEAD and error.reason is not Reason.CUT_OFF:
            raise
    with outbound.get(replace(request, start=0, stop=1), deadline) as answer:
        return _facts(answer)


def ask_all(
    outbound: Outbound,
    requests: Sequence[Request],
    *,
    at_once: int = AT_ONCE,
    seconds: float = SECONDS,
    way: Ask = ask,
) -> list[Facts | OutboundError]:
    """Ask several sources at the same time.

    Args:
        outbound: asks them.
        requests: what is asked; the method does not matter.
        at_once: how many at the same time.
        seconds: after this time no further source is asked; those left over have failed with a timeout.
        way: how one is asked.

    Returns:
        What each of `requests` came to, in their order.
    """
    deadline = time.monotonic() + seconds
    is_stopped = threading.Event()

    def one(request: Request) -> Facts | OutboundError:
        if is_stopped.is_set() or time.monotonic() > deadline:
            return OutboundError("the source was not asked in time", reason=Reason.TIMEOUT)
        try:
            return way(outbound, request, deadline)
        except OutboundError as error:
            return error

    with ThreadPoolExecutor(max_workers=max(1, min(at_once, len(requests)))) as pool:
        try:
            return list(pool.map(one, requests))
        finally:
            is_stopped.set()


def _facts(answer: Answer) -> Facts:
    return Facts(
        size=answer.size,
        validator=None if answer.is_coded else answer.validator,
        modified=answer.modified,
        name=file_name(answer.headers),
        content_type=answer.headers.get("content-type", "").partition(";")[0].strip().lower(),
    )
