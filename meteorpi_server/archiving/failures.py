"""What goes wrong while an archive is made.

::

    UnavailableError
    └── SourceFailedError     the content of one entry is not there, or not what the plan says
    MeteorError
    └── CutShortError         bytes have been sent, and the rest will not come: the connection has to break
"""

from __future__ import annotations

from enum import StrEnum

from meteorpi_model.errors import MeteorError, UnavailableError


class Reason(StrEnum):
    """Why a source failed; travels in the state of a ticket and in the report of an archive."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    SHORT = "short"
    LONG = "long"
    WRONG_DIGEST = "wrong-digest"
    TOO_LARGE = "too-large"
    REFUSED = "refused"
    STATUS = "status"
    TIMEOUT = "timeout"


class SourceFailedError(UnavailableError):
    """The content of an entry is not there, or not what the plan says.

    Args:
        detail: one sentence for a person; no path and no secret, for it may reach whoever holds a link.
        reason: the same in one word.
        retry: whether asking again may help.
    """

    def __init__(
        self,
        detail: str,
        *,
        reason: Reason = Reason.UNREADABLE,
        retry: bool = False,
        **context: object,
    ) -> None:
        super().__init__(detail, **context)
        self.reason = reason
        self.retry = retry

    def of_entry(self, index: int) -> SourceFailedError:
        """The same error, with the number of the entry among its context."""
        context = self.context | {"index": index}
        return SourceFailedError(self.detail, reason=self.reason, retry=self.retry, **context)


class CutShortError(MeteorError):
    """An archive ends before its end. Whoever sends it must break the connection, never end it well.

    Args:
        detail: one sentence for the log.
        index: number of the entry that failed, from 0.
        reason: why.
    """

    def __init__(self, detail: str, *, index: int, reason: Reason, **context: object) -> None:
        super().__init__(detail, index=index, reason=reason.value, **context)
        self.index = index
        self.reason = reason
