"""The steps a local write is made of, each one call of the operating system and its rules.

:class:`Disk` decides how a step is done (modes, flushing, free space, locks); the order of the steps is
:mod:`meteorpi_db.filestore.local`'s. Tests give the store a subclass that stops, or fails, at a step.

Source: S-120 to S-126 of the storage contract.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, get_args

from meteorpi_db.filestore.failures import NO_FLUSH, NO_LINKS, NO_LOCKS
from meteorpi_model.errors import InvalidDocumentError, StoreFullError

logger = logging.getLogger("meteorpi.db.filestore")

Durability = Literal["full", "data", "none"]
"""``full`` flushes data and directories, ``data`` data only, ``none`` leaves all to the system."""

LOCK_PREFIX = ".lock-"
"""Names of lock files begin so; the id follows."""

_NO_MODES = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class Disk:
    """One file system as the store uses it. Its methods let ``OSError`` pass.

    Args:
        durability: see :data:`Durability`.
        file_mode: permissions of contents, whatever the umask.
        directory_mode: permissions of created directories, whatever the umask.
        min_free_bytes: refuse writes that would leave less than this free.
    """

    def __init__(
        self,
        *,
        durability: Durability = "full",
        file_mode: int = 0o640,
        directory_mode: int = 0o750,
        min_free_bytes: int = 0,
    ) -> None:
        if durability not in get_args(Durability):
            raise InvalidDocumentError(f"durability is full, data or none, not {durability!r}")
        if min_free_bytes < 0:
            raise InvalidDocumentError(f"{min_free_bytes} bytes cannot be kept free")
        self.durability = durability
        self.file_mode = file_mode
        self.directory_mode = directory_mode
        self.min_free_bytes = min_free_bytes
        self._warned: set[str] = set()

    def create(self, path: Path, *, exclusive: bool = True) -> int:
        """Create a file for writing and lock it; the descriptor is the caller's to close.

        The lock tells a sweep that the file is in use; it ends with the process.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_EXCL if exclusive else 0)
        descriptor = os.open(path, flags, self.file_mode & 0o700)
        try:
            self.lock(descriptor)
            self.set_mode(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def set_mode(self, descriptor: int) -> None:
        """Give an open file the mode of contents."""
        mode = self.file_mode
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            with self._tolerated(_NO_MODES, "permissions"):
                os.fchmod(descriptor, mode)

    def write(self, descriptor: int, block: bytes) -> None:
        """Write all of `block`, refusing to eat up the space that is to stay free."""
        if self.min_free_bytes:
            self.require_room(descriptor, len(block))
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view) :]

    def require_room(self, place: int | Path, size: int) -> None:
        """Refuse a write of `size` bytes that would go below what is to stay free.

        Raises:
            StoreFullError: it would.
        """
        if self.min_free_bytes and self.free_bytes(place) - size < self.min_free_bytes:
            raise StoreFullError(f"less than {self.min_free_bytes} bytes would stay free in the file store")

    def free_bytes(self, place: int | Path) -> int:
        """Bytes that a process without special rights may still write."""
        found = os.statvfs(place)
        return found.f_bavail * found.f_frsize

    def flush(self, descriptor: int) -> None:
        """Wait until the data of an open file is on the disk. A failure is a failed write (S-122)."""
        if self.durability != "none":
            with self._tolerated(NO_FLUSH, "flushing of files"):
                os.fsync(descriptor)

    def flush_directory(self, path: Path) -> None:
        """Wait until the names in a directory are on the disk."""
        if self.durability != "full":
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self._tolerated(NO_FLUSH, "flushing of directories"):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_directory(self, path: Path) -> None:
        """Create one directory unless it exists."""
        try:
            path.mkdir(0o700)
        except FileExistsError:
            if not path.is_dir():
                raise
            return
        with self._tolerated(_NO_MODES, "permissions"):
            path.chmod(self.directory_mode)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; ``FileExistsError`` when the name is taken."""
        target.hardlink_to(source)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, replacing what is there: only ever called under the lock of :meth:`publish`."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name if it is there."""
        path.unlink(missing_ok=True)

    def publish(self, temporary: Path, final: Path) -> None:
        """Make a complete file visible under its final name in one step and drop the temporary name.

        Raises:
            FileExistsError: the final name is taken; what has it is untouched.
        """
        try:
            self.link(temporary, final)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            self._rename_under_lock(temporary, final)
        else:
            self.unlink(temporary)

    def lock(self, descriptor: int, *, wait: bool = False) -> None:
        """Take the lock of an open file; ``BlockingIOError`` when another has it and `wait` is not set."""
        with self._tolerated(NO_LOCKS, "locks"):
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def _rename_under_lock(self, temporary: Path, final: Path) -> None:
        with self._lock_file(final.with_name(f"{LOCK_PREFIX}{final.name}")):
            if final.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
            self.rename(temporary, final)

    @contextmanager
    def _lock_file(self, path: Path) -> Iterator[None]:
        descriptor = self._locked(path)
        try:
            yield
        finally:
            # While the lock is still held: afterwards the name may be another's.
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)

    def _locked(self, path: Path) -> int:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self.lock(descriptor, wait=True)
                # Whoever had the lock before may have removed the file: then it locks nothing any more.
                if is_same_file(descriptor, path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    @contextmanager
    def _tolerated(self, codes: frozenset[int], what: str) -> Iterator[None]:
        """Go on where the file system does not know a feature, and say so once."""
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in codes:
                raise
            if what not in self._warned:
                self._warned.add(what)
                logger.warning("file system of the file store has no %s: %s", what, error.strerror)


def is_same_file(descriptor: int, path: Path) -> bool:
    """True while `path` still names the file that is open as `descriptor`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
