"""A local file on its way into a store."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from meteorpi_db.filestore.hashing import BLOCK_BYTES
from meteorpi_model.errors import InvalidDocumentError, NotFoundError, UnavailableError


class SourceFile:
    """An open local file that must not change while it is taken in.

    Args:
        path: where it is; a symbolic link is followed for reading, and removed itself by :meth:`remove`.

    Raises:
        NotFoundError: when entered: there is no such file.
        InvalidDocumentError: when entered: it is a directory, a pipe or another special file.
        UnavailableError: when entered or read: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.descriptor = -1

    def __enter__(self) -> Self:
        try:
            # Without O_NONBLOCK opening a pipe would wait for somebody to write to it.
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._open_error(error) from error
        self.stat = os.fstat(self.descriptor)
        if not stat.S_ISREG(self.stat.st_mode):
            self._close()
            raise InvalidDocumentError(f"{self.path} is not a regular file")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def blocks(self) -> Iterator[bytes]:
        """The content from its start.

        Raises:
            UnavailableError: it cannot be read, or changed since it was opened.
        """
        position = 0
        while True:
            try:
                block = os.pread(self.descriptor, BLOCK_BYTES, position)
            except OSError as error:
                raise self._error("cannot be read", error) from error
            if not block:
                break
            position += len(block)
            yield block
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """Raise when somebody wrote to the file since it was opened.

        Raises:
            UnavailableError: its size or time of change moved: the digests belong to no version of it.
        """
        self._require_same(os.fstat(self.descriptor))

    def remove(self) -> None:
        """Remove the file from where it was; harmless when somebody else did.

        Raises:
            UnavailableError: it cannot be removed, or was written to or replaced since it was read.
                Whatever was stored stays stored.
        """
        try:
            self._require_same(self.path.stat())
            self.path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error("is stored but cannot be removed from there", error) from error

    def _require_same(self, now: os.stat_result) -> None:
        if _version(now) != _version(self.stat):
            raise UnavailableError(f"{self.path} changed while it was read; try again when it is complete")

    def _open_error(self, error: OSError) -> NotFoundError | InvalidDocumentError | UnavailableError:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return NotFoundError(f"there is no file {self.path}")
        if error.errno in (errno.EISDIR, errno.ENXIO):
            return InvalidDocumentError(f"{self.path} is not a regular file")
        return self._error("cannot be read", error)

    def _error(self, problem: str, error: OSError) -> UnavailableError:
        return UnavailableError(f"{self.path} {problem}: {error.strerror}")

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _version(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
