"""What an import of an original did, or would find."""

from __future__ import annotations

from dataclasses import dataclass, field

from meteorpi_model.values import JsonObject

USERS = "users"
STATUSES = "statuses"
FILES = "files"
EVENTS = "events"
EXPORTS = "export_configurations"
TASKS = "export_tasks"
MARKS = "high_water_marks"
KINDS = (USERS, STATUSES, FILES, EVENTS, EXPORTS, TASKS, MARKS)


@dataclass(frozen=True)
class OriginalTrouble:
    """Something that could not be taken, or not wholly.

    Attributes:
        kind: one of `KINDS`.
        identity: hex id or name.
        reason: one sentence.
    """

    kind: str
    identity: str
    reason: str


@dataclass
class Counts:
    """Numbers of one kind of record.

    Attributes:
        found: in the original.
        taken: recorded by this run.
        present: held already.
    """

    found: int = 0
    taken: int = 0
    present: int = 0


@dataclass(kw_only=True)
class OriginalReport:
    """The result of one run.

    Attributes:
        is_dry_run: nothing was recorded.
        counts: by kind.
        size_bytes: contents stored by this run; in a dry run, those that the original has.
        troubles: what could not be taken, or not wholly; empty when all is here.
    """

    is_dry_run: bool = False
    counts: dict[str, Counts] = field(default_factory=lambda: {kind: Counts() for kind in KINDS})
    size_bytes: int = 0
    troubles: list[OriginalTrouble] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything could be taken."""
        return not self.troubles

    def note(self, kind: str, identity: str, reason: str) -> None:
        """Add a trouble."""
        self.troubles.append(OriginalTrouble(kind, identity, reason))

    def as_dict(self) -> JsonObject:
        """For scripts."""
        return {
            "dry_run": self.is_dry_run,
            **{kind: vars(counts) for kind, counts in self.counts.items()},
            "size_bytes": self.size_bytes,
            "troubles": [vars(trouble) for trouble in self.troubles],
            "complete": self.is_complete,
        }
