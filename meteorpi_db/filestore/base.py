"""The interface of every file store, and the values it gives back.

A store keeps contents: bytes named by a UUID and nothing else, so no name chosen by somebody outside ever
reaches a disk. A content is written once, then only read or deleted; whatever changes lives in the
database. Implementations run :class:`meteorpi_db.testing.filestore_contract.FileStoreContract`.

Instances are safe for many threads and for use after ``fork``: they open nothing before first use and keep
nothing open between calls.

Source: part B of the storage contract (S-101 to S-112).
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from uuid import UUID

from meteorpi_db.filestore.failures import from_os_error
from meteorpi_db.filestore.hashing import CHUNK_BYTES, ContentFacts, Digests, facts_of
from meteorpi_db.filestore.sources import SourceFile
from meteorpi_db.filestore.temporary import temporary_copy

TEMPORARY_SECONDS = 3600
"""Left-over temporary files older than this are swept."""

PARTS_SECONDS = 24 * 3600
"""Unfinished resumable writes older than this are swept."""


@dataclass(frozen=True, kw_only=True)
class StoredContent(ContentFacts):
    """What a store knows after it took a content.

    Args:
        stored_at: when, naive UTC.
    """

    stored_at: datetime


@dataclass(frozen=True, kw_only=True)
class ContentStat:
    """What a store knows about a content without reading it.

    Args:
        size: number of bytes.
        stored_at: when it was stored, naive UTC.
        md5: hexadecimal, or None where the store does not keep digests; so the next two.
        sha256: hexadecimal.
        crc32: unsigned number.
    """

    size: int
    stored_at: datetime
    md5: str | None = None
    sha256: str | None = None
    crc32: int | None = None


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What a sweep did.

    Args:
        removed: left-over temporary files and expired resumable writes that were removed.
        freed_bytes: their bytes.
        kept: those that are too young or still in use.
    """

    removed: int = 0
    freed_bytes: int = 0
    kept: int = 0


class ContentReader(Iterator[bytes]):
    """Chunks of one content, 1 to CHUNK_BYTES bytes each.

    Closes itself after the last chunk; a reader given up earlier is closed by ``close`` or ``with``.

    Args:
        stream: positioned at the first byte; closed together with the reader.
        length: bytes to give at most.

    Attributes:
        chunk_bytes: largest chunk, CHUNK_BYTES unless the caller wants smaller ones.
    """

    chunk_bytes = CHUNK_BYTES

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self._left = length

    def __next__(self) -> bytes:
        if self._left > 0:
            try:
                chunk = self._stream.read(min(self._left, self.chunk_bytes))
            except OSError as error:
                raise from_os_error(error, "read content") from error
            self._left -= len(chunk)
            if chunk:
                return chunk
        self.close()
        raise StopIteration

    @property
    def descriptor(self) -> int | None:
        """Of the file that is read, at the next byte; None where there is none. Closed with the reader."""
        return self._stream.fileno() if isinstance(self._stream, io.FileIO) else None

    def close(self) -> None:
        """Give the underlying file back; harmless when done already."""
        self._left = 0
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PartialContent(ABC):
    """A resumable write: bytes arrive in several calls, perhaps of several processes.

    Nothing is visible under the id before :meth:`finish`. What :attr:`offset` says has survived; a new
    handle from :meth:`FileStore.parts` continues there, also after a restart where the store is persistent.
    """

    @property
    @abstractmethod
    def offset(self) -> int:
        """Bytes held so far, never ahead of what survives a power cut; 0 when nothing came yet."""

    @abstractmethod
    def append(self, offset: int, chunks: Iterable[bytes]) -> int:
        """Add bytes at the end.

        Args:
            offset: where the caller believes the end to be.
            chunks: the bytes; when the iterator raises, what came before is kept.

        Returns:
            The new offset.

        Raises:
            ConflictError: the end is elsewhere (``offset`` of the context), or the content is complete.
            StoreFullError: no room; what was written before is kept.
            UnavailableError: somebody else is writing to it, or the store fails.
        """

    @abstractmethod
    def finish(self, size: int, digests: Digests | None = None) -> StoredContent:
        """Make the content visible. Repeated after a lost answer it gives the same result.

        Raises:
            IncompleteBodyError: not `size` bytes are held; they are kept.
            DigestMismatchError: the bytes are wrong; they are discarded, since no continuation mends them.
            ConflictError: another content is complete under this id.
            UnavailableError: somebody else is writing to it, or the store fails.
        """

    @abstractmethod
    def discard(self) -> None:
        """Forget the bytes held so far; harmless when there are none.

        Raises:
            UnavailableError: somebody else is writing to it.
        """


class FileStore(ABC):
    """Keeps contents; see the module for the rules all methods share.

    Every method may raise ``UnavailableError`` when the store cannot answer. An error is never reported
    as a missing content.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the store is, fit to be logged and shown: never with credentials (S-112)."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[str]:
        """What this store can do beyond the contract.

        ``persistent`` (contents outlive the process), ``atomic-create`` (never replaces complete content,
        whoever writes), ``local-path`` (``local_path`` copies nothing), ``adopt`` (``put_file`` can take a
        file over without copying), ``presign`` (``url`` gives URLs), ``server-copy``.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Make the place exist. Called once at start-up, harmless when repeated.

        Raises:
            InvalidDocumentError: the place is taken by something else (a ``ValueError``).
        """

    @abstractmethod
    def put(
        self,
        file_id: UUID,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        digests: Digests | None = None,
    ) -> StoredContent:
        """Store a content. When this returns it is complete, durable and visible; until then invisible.

        An exception of `chunks` leaves unchanged and nothing is stored.

        Args:
            chunks: the bytes, in pieces of any size.
            size: announced number of bytes.
            digests: announced digests.

        Raises:
            IncompleteBodyError: not `size` bytes came; nothing is stored.
            DigestMismatchError: a digest differs; nothing was or is visible.
            ConflictError: other bytes are complete under this id. Equal bytes are no error.
            StoreFullError: no room; nothing is stored.
        """

    def put_file(
        self,
        file_id: UUID,
        path: str | os.PathLike[str],
        move: bool = True,
        may_link: bool = False,
        *,
        size: int | None = None,
        digests: Digests | None = None,
    ) -> StoredContent:
        """Store the content of a local file; otherwise as :meth:`put`.

        Args:
            move: remove `path` once the content is durable; before that, never.
            may_link: the caller never changes the file again and will remove it, so a store on the same
                file system need not copy it. Implied by `move`.

        Raises:
            NotFoundError: there is no such file.
            InvalidDocumentError: `path` is something else than a regular file.
            UnavailableError: the file cannot be read, changed meanwhile, or cannot be removed.
        """
        with SourceFile(path) as source:
            stored = self.put(file_id, source.blocks(), size=size, digests=digests)
        if move:
            source.remove()
        return stored

    @abstractmethod
    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        """Give the bytes from `start` up to, not including, `stop`.

        A reader that was opened sees the content to its end, whatever is deleted meanwhile.

        Args:
            start: first byte, counted from 0; beyond the end gives nothing.
            stop: one past the last byte; None and what is beyond the end read to the end.

        Returns:
            Chunks of 1 to CHUNK_BYTES bytes, in order.

        Raises:
            NotFoundError: no content is held; raised here, so that a view can still answer 404.
            InvalidDocumentError: `start` is negative or beyond `stop`.

        Source:
            RFC 9110 section 14.1.2 (there the last position is inclusive; here it is not).
        """

    def read(self, file_id: UUID, most: int) -> bytes:
        """The first `most` bytes of a content, or all it has, in one piece: for what is small.

        Raises:
            NotFoundError: no content is held.
        """
        with self.open(file_id, 0, most) as chunks:
            return b"".join(chunks)

    @abstractmethod
    def stat(self, file_id: UUID) -> ContentStat | None:
        """What is known without reading the content, None when none is held."""

    def sizes(self, names: Iterable[str]) -> Iterator[int | None]:
        """How large many contents are; a store that can tell for less than by so many :meth:`stat` does so.

        Args:
            names: ids, each as its 32 hexadecimal digits in lower case.

        Returns:
            Bytes of each, in that order; None where no content is held.

        Raises:
            ValueError: a name is no id; raised where it comes.
        """
        for name in names:
            found = self.stat(UUID(name))
            yield None if found is None else found.size

    @abstractmethod
    def delete(self, file_id: UUID) -> bool:
        """Remove the content; True when there was one. Readers that have started finish."""

    @abstractmethod
    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        """Every complete content, in order of id, lazily; `after` leaves out ids up to and including it."""

    @abstractmethod
    def parts(self, file_id: UUID) -> PartialContent:
        """A resumable write for `file_id`, new or continued."""

    @abstractmethod
    def sweep(
        self,
        older_than_seconds: float = TEMPORARY_SECONDS,
        *,
        parts_older_than_seconds: float = PARTS_SECONDS,
        now: datetime | None = None,
    ) -> SweepReport:
        """Remove what dead processes left behind: temporary files and unfinished resumable writes.

        What is in use is kept, whatever its age. Complete contents are never touched.

        Args:
            older_than_seconds: age from which a temporary file is left over.
            parts_older_than_seconds: age since its last byte from which a resumable write has expired.
            now: the time to reckon from, naive UTC; None asks the clock.
        """

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Bytes that can still be stored, None when the store cannot tell."""

    @abstractmethod
    def check(self, *, probe: bool = False) -> None:
        """Return when the store can be used.

        Args:
            probe: also write, read and delete a small content.

        Raises:
            UnavailableError: it cannot; the detail says why.
        """

    def digests_of(self, file_id: UUID) -> ContentFacts:
        """Size and digests of a content, from reading all of it.

        Raises:
            NotFoundError: no content is held.
        """
        with self.open(file_id) as chunks:
            return facts_of(chunks)

    def local_path(self, file_id: UUID) -> AbstractContextManager[Path]:
        """A path where the content can be read inside the ``with``; never write to it.

        Raises:
            NotFoundError: no content is held.
        """
        return temporary_copy(lambda: self.open(file_id), file_id)

    def url(
        self,
        file_id: UUID,
        method: str = "GET",
        expires_seconds: int = 300,
        *,
        size: int | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """A URL that lets its holder read (or PUT) the content directly, None when there is no such thing.

        Args:
            size: bytes that a PUT has to bring, where the service sees to that; None for any.
            content_type: what a reader is told that the bytes are.
        """
        return None

    def remote_time(self) -> datetime | None:
        """What time it is where the contents are kept, naive UTC; None where nobody there can be asked."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"
