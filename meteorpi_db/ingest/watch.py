"""Taking in what appears in a directory, as long as the process runs.

The tree is looked through again and again. That costs a few system calls a file, works on network mounts
where the kernel tells nothing of changes made elsewhere, and needs no memory of what happened while nobody
watched; notifications (inotify) would have to be backed by the same walk anyway. A file is taken once
neither its size nor its time of change has moved for a while.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from meteorpi_db.ingest.base import Folder, IngestOptions
from meteorpi_db.ingest.folders import walk
from meteorpi_db.ingest.report import IngestReport, Progress
from meteorpi_db.ingest.runner import ingest_folders, own_directories, refuse
from meteorpi_model.errors import (
    InvalidDocumentError,
    StoreFullError,
    UnavailableError,
    WorkStoppedError,
)

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

logger = logging.getLogger("meteorpi.ingest.watch")

SETTLE_SECONDS = 10.0
"""How long a file must rest; longer than the pauses with which any camera writes a file."""

INTERVAL_SECONDS = 5.0
"""From the end of one look to the next."""

REFUSED_SECONDS = 300.0
"""Until a file is tried again that was refused, such as for want of a camera status."""

_REST_SECONDS = 1.0

_Stamp: TypeAlias = tuple[int, int, int]
"""Inode, size and nanoseconds of the last change: what tells one state of a file from the next."""


@dataclass
class _Seen:
    """A file as it was last seen.

    Attributes:
        stamp: its state.
        since: when that state was first seen.
        not_before: when it is to be tried; never again in this state once it was taken or found damaged.
    """

    stamp: _Stamp
    since: float
    not_before: float = -math.inf


class Watcher:
    """Watches one directory tree; starts nothing by itself.

    Args:
        db: where to.
        path: the directory; it may appear later, as a mount does.
        options: as for `ingest`.
        settle_seconds: how long a file must rest before it is taken.
        monotonic: a clock in seconds that only goes forward; tests pass one they control.
        on_progress: called at every directory, after every group of files, and every second between two
            looks; a watch that hangs falls silent.

    Raises:
        InvalidDocumentError: `path` is a file (a ``ValueError``).
    """

    def __init__(
        self,
        db: MeteorDatabase,
        path: str | Path,
        options: IngestOptions | None = None,
        *,
        settle_seconds: float = SETTLE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._path = Path(path)
        self._options = options or IngestOptions()
        self._settle_seconds = settle_seconds
        self._monotonic = monotonic
        self._on_progress = on_progress
        self._seen: dict[Path, dict[str, _Seen]] = {}
        if self._path.is_file():
            raise InvalidDocumentError(f"{path} is a file; only directories can be watched", path=str(path))

    def look(self, progress: Progress | None = None) -> IngestReport:
        """Look through the tree once and take what has settled since; empty report when nothing has.

        Raises:
            StoreFullError, UnavailableError: the node cannot go on; the same files are tried next time.
        """
        report = IngestReport()
        if not self._path.is_dir():
            return report
        directories = list(
            walk(self._path, own_directories(self._db, self._options), lambda *args: refuse(report, *args))
        )
        for gone in self._seen.keys() - set(directories):
            del self._seen[gone]
        for directory in directories:
            self._on_progress()
            self._look_into(directory, report, progress)
        return report

    def run(
        self,
        stop: threading.Event,
        interval_seconds: float = INTERVAL_SECONDS,
        reported: Callable[[IngestReport], None] | None = None,
    ) -> None:
        """Look again and again until `stop` is set; troubles of the node are logged and outlived.

        Args:
            stop: ends the watch, at once while it waits, else after the group of files under way; what is
                not recorded by then is found again by the next watch.
            interval_seconds: pause between two looks.
            reported: told of each look that did something.
        """

        def go_on(_report: IngestReport) -> None:
            self._on_progress()
            if stop.is_set():
                raise WorkStoppedError("the watch was stopped")

        while not stop.is_set():
            try:
                report = self.look(go_on)
            except WorkStoppedError:
                return
            except (StoreFullError, UnavailableError) as error:
                logger.warning("watch waits path=%s reason=%s", self._path, error.detail)
            else:
                if reported is not None and (report.folders or report.refused):
                    reported(report)
            self._rest(stop, interval_seconds)

    def _rest(self, stop: threading.Event, seconds: float) -> None:
        """Wait until it is time for the next look, or `stop` is set."""
        until = time.monotonic() + seconds
        self._on_progress()
        while not stop.wait(min(max(until - time.monotonic(), 0), _REST_SECONDS)):
            if time.monotonic() >= until:
                return
            self._on_progress()

    def _look_into(self, directory: Path, report: IngestReport, progress: Progress | None) -> None:
        before, now = self._seen.get(directory, {}), self._monotonic()
        seen = {name: _noted(before.get(name), stamp, now) for name, stamp in _stamps(directory)}
        self._seen[directory] = seen
        unsettled = {name for name, state in seen.items() if now - state.since < self._settle_seconds}
        ready = {name for name in seen.keys() - unsettled if now >= seen[name].not_before}
        if not ready:
            return
        folder = Folder(directory, ready.__contains__, unsettled)
        found = ingest_folders(self._db, [folder], self._options, IngestReport(), progress)
        report.add(found)
        refused = {trouble.path for trouble in found.refused}
        for name in ready - folder.held_back:
            is_refused = directory in refused or directory / name in refused
            seen[name].not_before = now + REFUSED_SECONDS if is_refused else math.inf
        if folder.held_back:
            logger.debug("files wait for others path=%s count=%d", directory, len(folder.held_back))


def _noted(before: _Seen | None, stamp: _Stamp, now: float) -> _Seen:
    return before if before is not None and before.stamp == stamp else _Seen(stamp, since=now)


def _stamps(directory: Path) -> Iterator[tuple[str, _Stamp]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file():
                    status = entry.stat()
                    yield entry.name, (status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        logger.debug("directory changed while it was looked at path=%s reason=%s", directory, error)
