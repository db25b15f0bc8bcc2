"""What an ingest did, counted while it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from meteorpi_model.values import JsonObject


@dataclass(frozen=True)
class Trouble:
    """A file that was not taken in, or not wholly.

    Attributes:
        path: the file or folder.
        reason: one sentence.
        details: more of them.
        copy: where its copy lies, or None.
    """

    path: Path
    reason: str
    details: tuple[str, ...] = ()
    copy: Path | None = None

    def as_dict(self) -> JsonObject:
        """A JSON form for scripts."""
        return {
            "path": str(self.path),
            "reason": self.reason,
            "details": list(self.details),
            "copy": None if self.copy is None else str(self.copy),
        }


@dataclass
class IngestReport:
    """Counts of one ingest.

    Attributes:
        folders: folders read, by the name of their reader.
        statuses: camera statuses stored.
        files: file records stored, those inside events included.
        events: events stored.
        files_present: files that were held before.
        events_present: events that were held before.
        files_restored: those of them whose content had to be put into the file store again.
        bytes: content stored.
        cameras: cameras that files or events came from.
        quarantined: damaged files.
        refused: files and folders that could not be taken for another reason, such as a missing status.
        left_out: numbers of files passed over on purpose, by reason.
        seconds: how long it took.
    """

    folders: Counter[str] = field(default_factory=Counter)
    statuses: int = 0
    files: int = 0
    events: int = 0
    files_present: int = 0
    events_present: int = 0
    files_restored: int = 0
    bytes: int = 0
    cameras: set[str] = field(default_factory=set)
    quarantined: list[Trouble] = field(default_factory=list)
    refused: list[Trouble] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether everything that should be taken in is held now."""
        return not self.quarantined and not self.refused

    def add(self, other: IngestReport) -> None:
        """Count what `other` counted, too."""
        for name in (
            "statuses",
            "files",
            "events",
            "files_present",
            "events_present",
            "files_restored",
            "bytes",
            "seconds",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.folders.update(other.folders)
        self.left_out.update(other.left_out)
        self.cameras |= other.cameras
        self.quarantined += other.quarantined
        self.refused += other.refused

    def as_dict(self) -> JsonObject:
        """A JSON form for scripts."""
        return {
            "folders": dict(self.folders),
            "statuses": self.statuses,
            "files": self.files,
            "events": self.events,
            "files_present": self.files_present,
            "events_present": self.events_present,
            "files_restored": self.files_restored,
            "bytes": self.bytes,
            "cameras": sorted(self.cameras),
            "quarantined": [trouble.as_dict() for trouble in self.quarantined],
            "refused": [trouble.as_dict() for trouble in self.refused],
            "left_out": dict(self.left_out),
            "seconds": round(self.seconds, 3),
        }


Progress: TypeAlias = Callable[[IngestReport], None]
"""Called with the growing report whenever it changed; must be quick and must not change it.

What it raises ends the ingest, with everything reported so far recorded.
"""
