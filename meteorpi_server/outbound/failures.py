"""What goes wrong with a request to somebody else's address, and whether trying again may help."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from meteorpi_model.errors import MeteorError


class Reason(StrEnum):
    """Why a request failed; stable, shown to whoever asked for it."""

    REFUSED_URL = "refused-url"
    REFUSED_ADDRESS = "refused-address"
    REFUSED_HEADER = "refused-header"
    UNKNOWN_HOST = "unknown-host"
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted-certificate"
    TIMEOUT = "timeout"
    STATUS = "status"
    REDIRECTS = "redirects"
    CUT_OFF = "cut-off"
    CODING = "coding"
    CHANGED = "changed"


_AGAIN: Final = frozenset({Reason.UNKNOWN_HOST, Reason.UNREACHABLE, Reason.TIMEOUT, Reason.CUT_OFF})
_STATUS_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class OutboundError(MeteorError):
    """A request to an address that somebody else named failed.

    Args:
        detail: one sentence for a person; without the headers of the request and the query of its URL, which
            may hold secrets.
        reason: the kind of failure.
        status: HTTP status of the answer, for :attr:`Reason.STATUS`.
    """

    code = "unavailable"

    def __init__(self, detail: str, *, reason: Reason, status: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.status = status

    @property
    def is_worth_retrying(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.reason in _AGAIN or self.status in _STATUS_AGAIN
