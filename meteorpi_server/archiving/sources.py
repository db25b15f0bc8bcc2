"""Where the contents of entries come from: the file store, a directory, the plan itself."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from meteorpi_db.filestore import FileStore
from meteorpi_model.errors import MeteorError, NotFoundError
from meteorpi_server.archiving.entries import Entry
from meteorpi_server.archiving.failures import Reason, SourceFailedError

READ_BYTES: Final = 1 << 18
"""Bytes read at once of a file: 256 KiB."""

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe that took the place of a file would be waited for.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Chunks(Protocol):
    """An iterator of bytes that holds something open."""

    def __next__(self) -> bytes:
        """The next chunk."""

    def __iter__(self) -> Iterator[bytes]:
        """The iterator itself."""

    def close(self) -> None:
        """Give back what is held open; harmless when repeated."""


class Source(ABC):
    """Gives the contents of entries of one kind; safe for many threads, with nothing open between calls."""

    @abstractmethod
    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """The content of `entry` from `start` up to, not including, `stop`; of a DEFLATED one, its body.

        Args:
            entry: of the kind that this source is for.
            start: first byte, counted from 0.
            stop: one past the last; None is wherever the content ends. Where `stop` is the size planned
                and the content turns out to be longer, a byte too many comes: whoever sends it counts.

        Returns:
            Chunks that are not empty, in order. What breaks off is raised by them, as the same error.

        Raises:
            SourceFailedError: the content is not there, or another one than was planned.
        """

    def read(self, entry: Entry) -> bytes:
        """The whole content of an entry of known, small size; more or less where it turns out to have that.

        Raises:
            SourceFailedError: as by :meth:`open`, or what its chunks may raise.
        """
        with closing(self.open(entry, 0, entry.size)) as chunks:
            first = next(chunks, b"")
            rest = b"".join(chunks)
            return first + rest if rest else first

    @abstractmethod
    def check(self, entry: Entry) -> None:
        """Return when the content of `entry` is there and has the size planned, without reading it.

        Raises:
            SourceFailedError: it is not.
        """

    def gone(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Those of `entries` that :meth:`check` refuses.

        Raises:
            UnavailableError: nobody can tell at present.
        """
        for entry in entries:
            try:
                self.check(entry)
            except SourceFailedError:
                yield entry


class TextSource(Source):
    """Contents that the plan itself holds, such as a manifest."""

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """See :meth:`Source.open`."""
        part = entry.body[start:stop]
        return (chunk for chunk in (part,) if chunk)

    def check(self, entry: Entry) -> None:
        """See :meth:`Source.check`; a plan always has what it holds."""


class RecordSource(Source):
    """Contents of file records, read through the interface of the file store.

    Args:
        store: of the node; any kind.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """See :meth:`Source.open`."""
        if stop is not None and stop == entry.size:
            stop += 1
            if start > 0:
                self.check(entry)
        elif stop is not None:
            self.check(entry)
        try:
            reader = self._store.open(UUID(entry.reference), start, stop)
        except (MeteorError, ValueError) as error:
            raise _store_failure(error) from error
        reader.chunk_bytes = READ_BYTES  # what fits into a processor's cache is read and checked faster
        return reader

    def read(self, entry: Entry) -> bytes:
        """See :meth:`Source.read`; without what a reader costs."""
        try:
            return self._store.read(UUID(entry.reference), (entry.size or 0) + 1)
        except (MeteorError, ValueError) as error:
            raise _store_failure(error) from error

    def check(self, entry: Entry) -> None:
        """See :meth:`Source.check`."""
        try:
            found = self._store.stat(UUID(entry.reference))
        except (MeteorError, ValueError) as error:
            raise _store_failure(error) from error
        if found is None:
            raise SourceFailedError("no content is held", reason=Reason.MISSING)
        _compare_sizes(found.size, entry)

    def gone(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """See :meth:`Source.gone`; told by sizes alone, for there may be thousands."""
        listed = list(entries)
        sizes = self._store.sizes(entry.reference for entry in listed)
        for entry, size in zip(listed, sizes, strict=True):
            if size is None or (size != entry.size and entry.size is not None):
                yield entry


def _store_failure(error: Exception) -> SourceFailedError:
    if isinstance(error, NotFoundError):
        return SourceFailedError("no content is held", reason=Reason.MISSING)
    return SourceFailedError("the file store cannot give the content", retry=True)


def file_identity(found: os.stat_result) -> dict[str, object]:
    """What tells whether a file is still the same; belongs into the details of a ``path`` entry."""
    return {"device": found.st_dev, "inode": found.st_ino, "mtime_ns": found.st_mtime_ns}


class PathSource(Source):
    """Files below a directory that nobody can be led out of: no symbolic link is followed on the way.

    Args:
        root: the directory; itself may be reached through links.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """See :meth:`Source.open`."""
        descriptor = self._descriptor(entry)
        try:
            found = os.fstat(descriptor)
            _compare_files(found, entry)
            if start:
                os.lseek(descriptor, start, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        surplus = 1 if stop is None or stop == entry.size else 0
        end = found.st_size if stop is None else stop
        return _file_chunks(descriptor, max(end - start, 0) + surplus, found)

    def read(self, entry: Entry) -> bytes:
        """See :meth:`Source.read`; without what a reader costs."""
        descriptor = self._descriptor(entry)
        try:
            found = os.fstat(descriptor)
            _compare_files(found, entry)
            content = os.read(descriptor, found.st_size + 1)
            if len(content) != found.st_size:
                raise SourceFailedError("the file was changed while it was read", reason=Reason.CHANGED)
            return content
        except OSError as error:
            raise SourceFailedError(f"the file cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def check(self, entry: Entry) -> None:
        """See :meth:`Source.check`."""
        descriptor = self._descriptor(entry)
        try:
            _compare_files(os.fstat(descriptor), entry)
        finally:
            os.close(descriptor)

    def _descriptor(self, entry: Entry) -> int:
        parts = entry.reference.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\0" in entry.reference:
            raise SourceFailedError("that is no path below the storage", reason=Reason.REFUSED)
        try:
            return _open_below(self._root, parts)
        except FileNotFoundError as error:
            raise SourceFailedError("the file is gone", reason=Reason.MISSING) from error
        except OSError as error:
            raise SourceFailedError(f"the file cannot be opened: {error.strerror}") from error


def _open_below(root: Path, parts: list[str]) -> int:
    """A descriptor of a file; each directory on the way is opened as such, and closed."""
    # The root is the operator's choice, and may be a link; what lies below is anybody's.
    directory = os.open(root, _DIRECTORY_FLAGS & ~os.O_NOFOLLOW)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY_FLAGS, dir_fd=directory)
            os.close(directory)
            directory = inner
        return os.open(parts[-1], _FILE_FLAGS, dir_fd=directory)
    finally:
        os.close(directory)


def _file_chunks(descriptor: int, length: int, opened: os.stat_result) -> _FileChunks:
    return _FileChunks(os.fdopen(descriptor, "rb", buffering=0), length, opened)


class _FileChunks(Iterator[bytes]):
    """Chunks of an open file, which must be at their end what it was at their beginning."""

    def __init__(self, stream: RawReader, length: int, opened: os.stat_result) -> None:
        self._stream = stream
        self._left = length
        self._opened = opened
        self._is_done = False

    def __next__(self) -> bytes:
        if self._left > 0 and not self._is_done:
            try:
                chunk = self._stream.read(min(self._left, READ_BYTES))
            except OSError as error:
                raise SourceFailedError(f"the file cannot be read: {error.strerror}") from error
            if chunk:
                self._left -= len(chunk)
                return chunk
        self._end()
        raise StopIteration

    def _end(self) -> None:
        if self._is_done:
            return
        self._is_done = True
        with closing(self._stream):
            if file_identity(os.fstat(self._stream.fileno())) != file_identity(self._opened):
                raise SourceFailedError("the file was changed while it was read", reason=Reason.CHANGED)

    def close(self) -> None:
        """Give the descriptor back."""
        self._is_done = True
        self._stream.close()


class RawReader(Protocol):
    """An unbuffered file."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes."""

    def fileno(self) -> int:
        """Its descriptor."""

    def close(self) -> None:
        """Give the descriptor back."""


def _compare_sizes(size: int, entry: Entry) -> None:
    if entry.size is not None and size != entry.size:
        reason = Reason.SHORT if size < entry.size else Reason.LONG
        detail = f"the content has {size} bytes, not the {entry.size} planned"
        raise SourceFailedError(detail, reason=reason)


def _compare_files(found: os.stat_result, entry: Entry) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SourceFailedError("that is no regular file", reason=Reason.REFUSED)
    _compare_sizes(found.st_size, entry)
    planned: Mapping[str, object] = entry.details
    if planned and any(
        name in planned and planned[name] != value for name, value in file_identity(found).items()
    ):
        raise SourceFailedError("the file is not the one that was planned", reason=Reason.CHANGED)
