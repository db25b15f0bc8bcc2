"""What a reader of directories is, and what it hands over.

A reader looks at one directory and turns what it finds into a row of items: set-ups of cameras, files,
events, and what is damaged or passed over. It reads, it never writes: storing is the business of
:mod:`meteorpi_db.ingest.taker`, so that every reader gets copying, identities, quarantine and repetition
for nothing.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import ClassVar, TypeAlias
from uuid import UUID

from meteorpi_model.records import Meta
from meteorpi_model.status import Location, Orientation, Polygon
from meteorpi_model.values import NSString

PICTURE_TYPE = NSString("timelapse/frame")
VIDEO_TYPE = NSString("video")


@dataclass(frozen=True, kw_only=True)
class StatusFacts:
    """What is known of the set-up of a camera; None for what is not, which leaves it as it was.

    Attributes:
        location: where it stands.
        orientation: how it points.
        regions: where the picture shows sky.
        lens, sensor, inst_name, inst_url: as in :class:`~meteorpi_model.status.CameraStatus`.
        defaults: texts for a camera that had no status before, by the names of the line above.
    """

    location: Location | None = None
    orientation: Orientation | None = None
    regions: list[Polygon] | None = None
    lens: str | None = None
    sensor: str | None = None
    inst_name: str | None = None
    inst_url: str | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """How to take in; the defaults suit a node that takes in its own camera's files.

    Attributes:
        camera_id: camera of everything that does not name its own; None is the node's installation.
        facts: what the caller knows of its set-up.
        time_zone: zone of file names and EXIF times that do not name one.
        picture_type, video_type: semantic types of plain pictures and videos.
        quarantine_path: where copies of damaged files go; None is beside the file store.
        move: remove a source file once it is stored durably; otherwise the source is never touched.
        workers: files prepared at the same time; None chooses.
        keep_frames_days, keep_events_days: leave out files, and events, that are older; 0 leaves out none.
            What pruning lets go must not come back with the next look at its directory.
    """

    camera_id: str | None = None
    facts: StatusFacts = field(default_factory=StatusFacts)
    time_zone: tzinfo = UTC
    picture_type: NSString = PICTURE_TYPE
    video_type: NSString = VIDEO_TYPE
    quarantine_path: Path | None = None
    move: bool = False
    workers: int | None = None
    keep_frames_days: int = 0
    keep_events_days: int = 0


@dataclass(frozen=True, kw_only=True)
class StatusItem:
    """A camera was set up so, from some time on.

    Attributes:
        camera_id: the camera.
        valid_from: naive UTC; not after anything else of the folder.
        facts: the set-up.
    """

    camera_id: str
    valid_from: datetime
    facts: StatusFacts


@dataclass(frozen=True, kw_only=True)
class FileItem:
    """A file to be kept.

    Attributes:
        source: the file, or the bytes of one that the reader made up.
        name: its name.
        camera_id, mime_type, semantic_type, file_time, meta: of the file record.
        is_mark: the directory is recognised by this file. A move takes it away last, so that what is left
            when it is interrupted, or cannot be taken, is read as what it is the next time.
    """

    source: Path | bytes
    name: str
    camera_id: str
    mime_type: str
    semantic_type: NSString
    file_time: datetime
    meta: tuple[Meta, ...] = ()
    is_mark: bool = False


@dataclass(frozen=True, kw_only=True)
class EventItem:
    """An event to be kept, with its files; those that turn out damaged are left out of it.

    Attributes:
        event_id: derived from what identifies the event, so that it is the same each time.
        camera_id, event_time, event_type, meta: of the event.
        files: in order.
    """

    event_id: UUID
    camera_id: str
    event_time: datetime
    event_type: NSString
    meta: tuple[Meta, ...]
    files: tuple[FileItem, ...]


@dataclass(frozen=True, kw_only=True)
class DamageItem:
    """A file of which at least a part cannot be used.

    Attributes:
        path: the file.
        reason: one sentence.
        details: more of them, such as one a line.
        is_secret: True when no copy may be made, since the file may hold passwords.
    """

    path: Path
    reason: str
    details: tuple[str, ...] = ()
    is_secret: bool = False


@dataclass(frozen=True, kw_only=True)
class LeftOutItem:
    """A file that is passed over on purpose.

    Attributes:
        path: the file.
        reason: a few words, the same for all files of a sort.
    """

    path: Path
    reason: str


Item: TypeAlias = StatusItem | FileItem | EventItem | DamageItem | LeftOutItem


class Folder:
    """One directory as a reader sees it.

    Args:
        path: the directory.
        is_wanted: says of a name whether that file should be taken now; None wants all. A watcher leaves
            out what it took before.
        unsettled: files that are still being written.

    Attributes:
        path: the directory.
        held_back: files that the reader will take only when nothing of the directory is being written.
    """

    def __init__(
        self,
        path: Path,
        is_wanted: Callable[[str], bool] | None = None,
        unsettled: Collection[str] = frozenset(),
    ) -> None:
        self.path = path
        self.held_back: set[str] = set()
        self._is_wanted = is_wanted
        self._unsettled = unsettled

    @property
    def is_quiet(self) -> bool:
        """Whether no file of the directory is being written."""
        return not self._unsettled

    def is_settled(self, name: str) -> bool:
        """Whether the file is complete, as far as can be seen from outside."""
        return name not in self._unsettled

    def is_wanted(self, name: str) -> bool:
        """Whether the file should be taken now."""
        return self.is_settled(name) and (self._is_wanted is None or self._is_wanted(name))

    def names(self) -> Iterator[str]:
        """The regular files of the directory, and links to such, lazily and in no order."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.is_file():
                    yield entry.name

    def wanted_names(self) -> Iterator[str]:
        """Of :meth:`names` those that should be taken now."""
        return (name for name in self.names() if self.is_wanted(name))

    def find(self, name: str) -> Path | None:
        """The file of this name, or None."""
        path = self.path / name
        return path if path.is_file() else None

    def hold_back(self, names: Iterable[str]) -> None:
        """Note wanted files that have to wait until the directory is quiet."""
        self.held_back.update(names)


class Reader(ABC):
    """Knows one kind of directory."""

    name: ClassVar[str]
    """A word for messages."""

    has_events: ClassVar[bool] = False
    """Whether it may find events; then the files of a folder are remembered until its end."""

    @abstractmethod
    def recognises(self, folder: Folder) -> bool:
        """Whether the directory is of this kind, judged by what its files hold.

        Raises:
            OSError: the directory cannot be read.
        """

    @abstractmethod
    def read(self, folder: Folder, options: IngestOptions) -> Iterator[Item]:
        """The items of the directory, lazily; a status comes before what depends on it.

        Raises:
            ConfigurationError: the directory as a whole cannot be taken; the detail says what is missing.
            OSError: it cannot be read.
        """
