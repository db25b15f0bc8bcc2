"""What is told of an archive while it is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meteorpi_server.archiving.entries import Entry
from meteorpi_server.archiving.failures import Reason, SourceFailedError


@dataclass(frozen=True, slots=True)
class EntrySent:
    """The whole content of an entry was right, and has been handed on.

    Attributes:
        index: number of the entry in its plan, from 0.
        size: bytes of its content.
        crc: their CRC-32; worth keeping where the plan did not know it.
    """

    index: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class EntryFailed:
    """The content of an entry could not be had, or was wrong.

    Attributes:
        index: number of the entry in its plan, from 0.
        name: of the entry.
        reason: why.
        detail: the same as a sentence, fit for whoever holds the link.
        sent_bytes: bytes of its content that are in the archive nevertheless.
        expected_bytes: bytes that it should have had, None when not known.
        is_fatal: whether the archive ends here.
    """

    index: int
    name: str
    reason: Reason
    detail: str
    sent_bytes: int
    expected_bytes: int | None
    is_fatal: bool

    def as_dict(self) -> dict[str, object]:
        """The failure as it stands in the report inside an archive."""
        return {
            "index": self.index,
            "name": self.name,
            "reason": self.reason.value,
            "detail": self.detail,
            "bytes": self.sent_bytes,
            "expected_bytes": self.expected_bytes,
        }


Report = Callable[[EntrySent | EntryFailed], None]
"""Is told what happens, in order; must be quick, and must not raise."""


def ignore(_event: EntrySent | EntryFailed) -> None:
    """The report of whoever wants none."""


def failure(
    index: int, entry: Entry, error: SourceFailedError, *, sent_bytes: int = 0, is_fatal: bool = True
) -> EntryFailed:
    """What to tell of `error`, which `entry`, number `index` of its plan, came to."""
    return EntryFailed(index, entry.name, error.reason, error.detail, sent_bytes, entry.size, is_fatal)
