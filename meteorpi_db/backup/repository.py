"""A directory of backups::

    meteorpi-backups          says that this is one, and is locked while it is used
    contents/ab/ab12...       contents of all snapshots, by SHA-256
    snapshots/TIME/           manifest.json, SHA256SUMS, contents.jsonl.gz, secret.key,
                              and database/TABLE.jsonl.gz for each table

A snapshot gets its name when it is complete, by a rename; what is still written, or being removed, has a name
that begins with a dot and is cleared away by the next one who writes.
"""

from __future__ import annotations

import fcntl
import heapq
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meteorpi_db.backup.contents_list import ContentLine, read_contents
from meteorpi_db.backup.depot import ContentDepot
from meteorpi_db.backup.manifest import CONTENTS_PART, DATABASE
from meteorpi_db.backup.parts import backup_errors, private_disk, write_file
from meteorpi_db.filestore import Disk
from meteorpi_db.filestore.failures import NO_LOCKS
from meteorpi_model.errors import InvalidDocumentError, NotFoundError, UnavailableError

logger = logging.getLogger("meteorpi.db.backup")

MARKER = "meteorpi-backups"
SNAPSHOTS = "snapshots"
CONTENTS = "contents"
_UNFINISHED = ".unfinished-"
_REMOVED = ".removed-"
_MARKER_TEXT = b"Backups of a MeteorPi node; see `meteorpi restore --help`. Format 1.\n"
_NAME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z")


class Repository:
    """The backups in one directory.

    Args:
        path: the directory.
        disk: how each step of writing is done.
    """

    def __init__(self, path: str | os.PathLike[str], disk: Disk | None = None) -> None:
        if "://" in os.fspath(path):
            raise InvalidDocumentError("backups go to a directory; object stores are for a later release")
        self.path = Path(path).absolute()
        self.disk = disk if disk is not None else private_disk()
        self.depot = ContentDepot(self.path / CONTENTS, self.disk)
        self._snapshots = self.path / SNAPSHOTS

    def prepare(self) -> None:
        """Make an empty or missing directory a repository; the directory above it must be there.

        Raises:
            InvalidDocumentError: the directory holds something else.
            UnavailableError: it cannot be made.
        """
        with backup_errors("begin"):
            self.disk.make_directory(self.path)
            if not (self.path / MARKER).exists():
                self._begin()
            for directory in (self._snapshots, self.depot.root):
                if not directory.is_dir():
                    self.disk.make_directory(directory)
            self.disk.flush_directory(self.path)
            self.disk.flush_directory(self.path.parent)

    def _begin(self) -> None:
        temporary = self.path / f".{MARKER}"
        if any(path != temporary for path in self.path.iterdir()):
            raise InvalidDocumentError(f"{self.path} is not empty and has no backups: name another place")
        temporary.unlink(missing_ok=True)
        write_file(self.disk, temporary, [_MARKER_TEXT])
        self.disk.rename(temporary, self.path / MARKER)

    @contextmanager
    def locked(self, *, shared: bool) -> Iterator[None]:
        """Keep others from writing to the repository, and unless `shared` from reading, or raise at once.

        Raises:
            NotFoundError: there is no repository.
            UnavailableError: another one uses it.
        """
        try:
            descriptor = os.open(self.path / MARKER, (os.O_RDONLY if shared else os.O_RDWR) | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"there are no backups in {self.path}") from error
        except OSError as error:
            raise UnavailableError(f"the backups in {self.path} cannot be used: {error.strerror}") from error
        try:
            self._lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int, kind: int) -> None:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(f"another backup or restore uses {self.path}; try again later") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise UnavailableError(f"{self.path} cannot be locked: {error.strerror}") from error
            logger.warning("file system of the backups has no locks: run one backup at a time")

    def names(self) -> list[str]:
        """The complete snapshots, oldest first."""
        with backup_errors("list"):
            return sorted(path.name for path in self._snapshots.iterdir() if _NAME.fullmatch(path.name))

    def snapshot(self, name: str) -> Path:
        """The directory of a snapshot."""
        return self._snapshots / name

    def find(self, wanted: str | None = None) -> Path:
        """The snapshot whose name begins with `wanted`; None for the newest.

        Raises:
            NotFoundError: there is none.
            InvalidDocumentError: several begin so.
        """
        names = [name for name in self.names() if wanted is None or name.startswith(wanted)]
        if not names:
            raise NotFoundError(f"there is no backup {wanted or ''} in {self.path}".replace("  ", " "))
        if wanted is not None and len(names) > 1:
            raise InvalidDocumentError(f"several backups begin with {wanted}: {', '.join(names)}")
        return self.snapshot(names[-1])

    def sweep(self) -> None:
        """Clear away what was not finished; only under the exclusive lock."""
        self.depot.sweep()
        with backup_errors("clean up"):
            for path in self._snapshots.iterdir():
                if path.name.startswith((_UNFINISHED, _REMOVED)):
                    shutil.rmtree(path)

    @contextmanager
    def new_snapshot(self, time: datetime) -> Iterator[Path]:
        """A directory to fill, which becomes the snapshot of `time` when the block ends without an error.

        Names only grow, also where the clock was put back: the newest by name is the one made last.
        """
        name = self._new_name(time)
        unfinished = self._snapshots / f"{_UNFINISHED}{name}"
        with backup_errors("begin a snapshot"):
            self.disk.make_directory(unfinished)
            self.disk.make_directory(unfinished / DATABASE)
        try:
            yield unfinished
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        with backup_errors("complete a snapshot"):
            self.disk.flush_directory(unfinished / DATABASE)
            self.disk.flush_directory(unfinished)
            self.disk.rename(unfinished, self.snapshot(name))
            self.disk.flush_directory(self._snapshots)

    def _new_name(self, time: datetime) -> str:
        name, newest = name_of(time), max(self.names(), default="")
        return name if name > newest else name_of(time_of(newest) + timedelta(milliseconds=1))

    def forget(self, keep: int) -> list[str]:
        """Remove all but the `keep` newest snapshots; their contents go with :meth:`collect`."""
        names = self.names()
        removed = names[: max(0, len(names) - keep)]
        with backup_errors("remove a snapshot"):
            for name in removed:
                gone = self._snapshots / f"{_REMOVED}{name}"
                self.disk.rename(self.snapshot(name), gone)
                self.disk.flush_directory(self._snapshots)
                shutil.rmtree(gone)
        return removed

    def collect(self) -> tuple[int, int]:
        """Remove the contents that no snapshot names; their number and bytes.

        Raises:
            BackupDamagedError: the list of a snapshot cannot be read; then nothing is removed.
        """
        lists = [self.snapshot(name) / CONTENTS_PART for name in self.names()]
        for path in lists:
            for _ in read_contents(path):
                pass
        named: Iterator[ContentLine] = heapq.merge(*map(read_contents, lists), key=lambda line: line.sha256)
        count = size = 0
        wanted = next(named, None)
        for held in self.depot.names():
            while wanted is not None and wanted.sha256 < held:
                wanted = next(named, None)
            if wanted is None or wanted.sha256 != held:
                size += self.depot.remove(held)
                count += 1
        return count, size


def name_of(time: datetime) -> str:
    """The name of a snapshot made at `time`."""
    return f"{time:%Y%m%dT%H%M%S}.{time.microsecond // 1000:03}Z"


def time_of(name: str) -> datetime:
    """The time in the name of a snapshot, naive UTC."""
    return datetime.strptime(name, _NAME_FORMAT).replace(tzinfo=UTC).replace(tzinfo=None)
