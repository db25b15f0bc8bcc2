"""What may be pruned, and what a run did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from meteorpi_db.records.retention import Candidate
from meteorpi_db.sql_builder import EVENTS, Kind
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject

_DAY_MILLISECONDS = 24 * 3600 * 1000


@dataclass(frozen=True, kw_only=True)
class RetentionRule:
    """What may go.

    Attributes:
        keep_frames_days: age, by the time of the recording, from which files that belong to no event may go;
            0 keeps them for ever.
        keep_events_days: likewise for events, with their files.
        keep_free_bytes: room that the file store should have; below it the oldest files that belong to no
            event go, whatever their age. 0 does not look at the room.
        prune_events_for_space: when that is not enough, the oldest events go too.
        ignore_disabled: export configurations that a person disabled protect nothing.
        limit: most files and events that one run deletes; 0 sets no limit.

    Raises:
        InvalidDocumentError: events would be kept shorter than other files (a ``ValueError``).
    """

    keep_frames_days: int = 0
    keep_events_days: int = 0
    keep_free_bytes: int = 0
    prune_events_for_space: bool = False
    ignore_disabled: bool = False
    limit: int = 0

    def __post_init__(self) -> None:
        for name in ("keep_frames_days", "keep_events_days", "keep_free_bytes", "limit"):
            if getattr(self, name) < 0:
                raise InvalidDocumentError(f"{name} must not be negative", pointer=f"/{name}")
        if self.keep_events_days and not 0 < self.keep_frames_days <= self.keep_events_days:
            raise InvalidDocumentError(
                f"keep_events_days ({self.keep_events_days}) must not be shorter than keep_frames_days"
                f" ({self.keep_frames_days or 'for ever'}): events are what is kept longest",
                pointer="/keep_events_days",
            )

    def frames_before(self, now: int) -> int | None:
        """The time before which free-standing files may go, milliseconds; None for never."""
        return _before(now, self.keep_frames_days)

    def events_before(self, now: int) -> int | None:
        """The time before which events may go, milliseconds; None for never."""
        return _before(now, self.keep_events_days)


def _before(now: int, days: int) -> int | None:
    return now - days * _DAY_MILLISECONDS if days else None


@dataclass
class Tally:
    """How much of something there is.

    Attributes:
        files, events: numbers of records; files of events count too.
        size_bytes: contents of the files.
        oldest, newest: times of the recordings, UTC; None when there are none.
    """

    files: int = 0
    events: int = 0
    size_bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, kind: Kind, candidate: Candidate) -> None:
        """Count an entity."""
        time = milliseconds_to_utc_datetime(candidate.time)
        self.events += kind is EVENTS
        self.files += candidate.files
        self.size_bytes += candidate.size_bytes
        self.oldest = time if self.oldest is None else min(self.oldest, time)
        self.newest = time if self.newest is None else max(self.newest, time)


class Protection(NamedTuple):
    """What one export configuration kept from going."""

    config_id: UUID
    name: str
    tally: Tally


@dataclass(kw_only=True)
class PruneReport:
    """What a run deleted, or would delete.

    Attributes:
        is_dry_run: nothing was deleted.
        deleted: by camera.
        kept: what old age or want of room would have taken and export configurations protected.
        protections: the same by configuration; what two of them protect is counted for both.
        free_bytes: room in the store afterwards (in a dry run: that there would be), where it was looked at.
        missing_bytes: room that is still wanting.
        is_limited: the limit of the run was reached.
        is_interrupted: the run was told to stop.
    """

    is_dry_run: bool = False
    deleted: dict[str, Tally] = field(default_factory=dict)
    kept: Tally = field(default_factory=Tally)
    protections: dict[int, Protection] = field(default_factory=dict)
    free_bytes: int | None = None
    missing_bytes: int = 0
    is_limited: bool = False
    is_interrupted: bool = False

    @property
    def total(self) -> Tally:
        """Everything deleted."""
        total = Tally()
        for tally in self.deleted.values():
            total.files += tally.files
            total.events += tally.events
            total.size_bytes += tally.size_bytes
        total.oldest = min((t.oldest for t in self.deleted.values() if t.oldest), default=None)
        total.newest = max((t.newest for t in self.deleted.values() if t.newest), default=None)
        return total

    def as_dict(self) -> JsonObject:
        """For scripts."""
        return {
            "dry_run": self.is_dry_run,
            "deleted": vars(self.total),
            "cameras": [{"camera_id": name, **vars(self.deleted[name])} for name in sorted(self.deleted)],
            "kept": vars(self.kept),
            "protected_by": [
                {"config_id": each.config_id, "name": each.name, **vars(each.tally)}
                for each in self.protections.values()
            ],
            "free_bytes": self.free_bytes,
            "missing_bytes": self.missing_bytes,
            "limited": self.is_limited,
            "interrupted": self.is_interrupted,
        }
