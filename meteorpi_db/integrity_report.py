"""What is to be verified, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from meteorpi_db.sweeping import ORPHAN_GRACE

_LISTED = ("missing", "torn", "unreadable", "mended", "recovered", "orphaned")


@dataclass(frozen=True, kw_only=True)
class VerifyPlan:
    """What is to be verified, and what may be done about it.

    Args:
        deep: read every content and compare its SHA-256, in place of sizes only, those first that were not
            read for the longest time.
        since: leave out what was read, or stored, since then; only with `deep`. Naive UTC.
        most: read only so many; only with `deep`.
        repair: mark what is missing or damaged, mend what can be mended, and note what was read.
        sweep: remove contents without a record, and what dead writers left.
        orphan_grace: age from which a content without record is left over.
    """

    deep: bool = False
    since: datetime | None = None
    most: int | None = None
    repair: bool = False
    sweep: bool = False
    orphan_grace: timedelta = ORPHAN_GRACE


@dataclass(kw_only=True)
class VerifyReport:
    """What was found, and what was done about it.

    Attributes:
        records: number of records looked at.
        is_deep: contents were read, not only looked at.
        read_bytes: of contents that were read and are right.
        missing, torn: ids of records; the mended ones are not among them.
        unreadable: ids of contents that the store has and cannot give, while it gives others.
        mended, recovered: ids of records whose content was copied from an equal one, or was right again.
        orphaned: ids of contents without a record, older than the grace time.
        waiting: number of younger ones, which may be uploads under way.
        temporary: number of left-over temporary files; without a sweep they are not counted.
        is_repaired: whether what can be mended was mended.
        is_swept: whether what is left over was removed.
        is_interrupted: it was ended before its end.
    """

    records: int = 0
    is_deep: bool = False
    read_bytes: int = 0
    missing: list[UUID] = field(default_factory=list)
    torn: list[UUID] = field(default_factory=list)
    unreadable: list[UUID] = field(default_factory=list)
    mended: list[UUID] = field(default_factory=list)
    recovered: list[UUID] = field(default_factory=list)
    orphaned: list[UUID] = field(default_factory=list)
    waiting: int = 0
    temporary: int = 0
    is_repaired: bool = False
    is_swept: bool = False
    is_interrupted: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong now: records without their content stay wrong also after a repair."""
        return (
            not (self.missing or self.torn or self.unreadable)
            and (self.is_repaired or not self.recovered)
            and (self.is_swept or not self.orphaned)
        )

    def as_dict(self) -> dict[str, object]:
        """For people and scripts; ids as hex."""
        listed = {name: [entity_id.hex for entity_id in getattr(self, name)] for name in _LISTED}
        return {
            "records": self.records,
            "deep": self.is_deep,
            "read_bytes": self.read_bytes,
            **listed,
            "waiting": self.waiting,
            "temporary": self.temporary,
            "repaired": self.is_repaired,
            "interrupted": self.is_interrupted,
            "clean": self.is_clean,
        }
