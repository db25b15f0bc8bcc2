"""A store whose operations are timed, whichever store it is.

What counts is the time that the store takes: neither that of a sender whose bytes are waited for, nor that of
a reader who is slow to take them.

Source: A.12 and K-171 of the storage contract.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from meteorpi_db.filestore.base import (
    PARTS_SECONDS,
    TEMPORARY_SECONDS,
    ContentReader,
    ContentStat,
    FileStore,
    PartialContent,
    StoredContent,
    SweepReport,
)
from meteorpi_db.filestore.fallback import FallbackFileStore
from meteorpi_db.filestore.hashing import ContentFacts, Digests

STORE: Final = "store"
RETRIEVE: Final = "retrieve"
META: Final = "meta"
DELETE: Final = "delete"


class StoreObserver(Protocol):
    """Is told of what a store did, by whatever thread asked for it."""

    def operation(self, kind: str, seconds: float) -> None:
        """An operation (`STORE`, `RETRIEVE`, `META` or `DELETE`) that has ended, well or not."""

    def received(self, size: int) -> None:
        """Bytes that were taken in."""


def kind_of(store: FileStore) -> str:
    """What a store is called, such as ``local`` or ``s3``; the one that is written to where there are two."""
    while isinstance(store, FallbackFileStore | MeasuredFileStore):
        store = store.primary if isinstance(store, FallbackFileStore) else store.measured
    return type(store).__name__.removesuffix("FileStore").lower()


class MeasuredFileStore(FileStore):
    """Hands everything on to `measured`, and tells `observer` how long it took.

    Args:
        measured: the store.
        observer: is told.
    """

    def __init__(self, measured: FileStore, observer: StoreObserver) -> None:
        self.measured = measured
        self._observer = observer

    @property
    def location(self) -> str:
        """See :meth:`FileStore.location`."""
        return self.measured.location

    @property
    def capabilities(self) -> frozenset[str]:
        """See :meth:`FileStore.capabilities`."""
        return self.measured.capabilities

    def prepare(self) -> None:
        """See :meth:`FileStore.prepare`."""
        self.measured.prepare()

    def put(
        self,
        file_id: UUID,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        digests: Digests | None = None,
    ) -> StoredContent:
        """See :meth:`FileStore.put`."""
        with _Incoming(chunks, self._observer) as incoming:
            return self.measured.put(file_id, incoming, size=size, digests=digests)

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
        """See :meth:`FileStore.put_file`."""
        with self._timed(STORE):
            stored = self.measured.put_file(file_id, path, move, may_link, size=size, digests=digests)
        self._observer.received(stored.size)
        return stored

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        """See :meth:`FileStore.open`; what is read is timed until the reader is closed."""
        begun = time.perf_counter()
        try:
            reader = self.measured.open(file_id, start, stop)
        except BaseException:
            self._observer.operation(RETRIEVE, time.perf_counter() - begun)
            raise
        return _MeasuredReader(reader, self._observer, time.perf_counter() - begun)

    def read(self, file_id: UUID, most: int) -> bytes:
        """See :meth:`FileStore.read`."""
        with self._timed(RETRIEVE):
            return self.measured.read(file_id, most)

    def stat(self, file_id: UUID) -> ContentStat | None:
        """See :meth:`FileStore.stat`."""
        with self._timed(META):
            return self.measured.stat(file_id)

    def sizes(self, names: Iterable[str]) -> Iterator[int | None]:
        """See :meth:`FileStore.sizes`; many at once are not timed."""
        return self.measured.sizes(names)

    def delete(self, file_id: UUID) -> bool:
        """See :meth:`FileStore.delete`."""
        with self._timed(DELETE):
            return self.measured.delete(file_id)

    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        """See :meth:`FileStore.ids`; many at once are not timed."""
        return self.measured.ids(after)

    def parts(self, file_id: UUID) -> PartialContent:
        """See :meth:`FileStore.parts`."""
        return _MeasuredParts(self.measured.parts(file_id), self._observer)

    def sweep(
        self,
        older_than_seconds: float = TEMPORARY_SECONDS,
        *,
        parts_older_than_seconds: float = PARTS_SECONDS,
        now: datetime | None = None,
    ) -> SweepReport:
        """See :meth:`FileStore.sweep`."""
        return self.measured.sweep(
            older_than_seconds, parts_older_than_seconds=parts_older_than_seconds, now=now
        )

    def free_bytes(self) -> int | None:
        """See :meth:`FileStore.free_bytes`."""
        return self.measured.free_bytes()

    def check(self, *, probe: bool = False) -> None:
        """See :meth:`FileStore.check`."""
        with self._timed(META):
            self.measured.check(probe=probe)

    def digests_of(self, file_id: UUID) -> ContentFacts:
        """See :meth:`FileStore.digests_of`."""
        with self._timed(RETRIEVE):
            return self.measured.digests_of(file_id)

    def local_path(self, file_id: UUID) -> AbstractContextManager[Path]:
        """See :meth:`FileStore.local_path`."""
        return self.measured.local_path(file_id)

    def url(
        self,
        file_id: UUID,
        method: str = "GET",
        expires_seconds: int = 300,
        *,
        size: int | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """See :meth:`FileStore.url`."""
        return self.measured.url(file_id, method, expires_seconds, size=size, content_type=content_type)

    def remote_time(self) -> datetime | None:
        """See :meth:`FileStore.remote_time`."""
        return self.measured.remote_time()

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._observer.operation(kind, time.perf_counter() - begun)


class _Incoming(Iterator[bytes]):
    """Chunks on their way into a store; whoever sends them is not what is measured."""

    def __init__(self, chunks: Iterable[bytes], observer: StoreObserver) -> None:
        self._chunks = iter(chunks)
        self._observer = observer
        self._received = 0
        self._waited = 0.0
        self._begun = 0.0

    def __next__(self) -> bytes:
        begun = time.perf_counter()
        try:
            chunk = next(self._chunks)
        finally:
            self._waited += time.perf_counter() - begun
        self._received += len(chunk)
        return chunk

    def __enter__(self) -> _Incoming:
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._begun - self._waited
        self._observer.operation(STORE, max(0.0, seconds))
        self._observer.received(self._received)


class _MeasuredReader(ContentReader):
    """A content on its way out; whoever takes it is not what is measured."""

    def __init__(self, reader: ContentReader, observer: StoreObserver, seconds: float) -> None:
        self.chunk_bytes = reader.chunk_bytes
        self._reader = reader
        self._observer: StoreObserver | None = observer
        self._seconds = seconds

    def __next__(self) -> bytes:
        self._reader.chunk_bytes = self.chunk_bytes
        begun = time.perf_counter()
        try:
            return next(self._reader)
        except StopIteration:
            self.close()
            raise
        finally:
            self._seconds += time.perf_counter() - begun

    @property
    def descriptor(self) -> int | None:
        """See :attr:`ContentReader.descriptor`."""
        return self._reader.descriptor

    def close(self) -> None:
        """See :meth:`ContentReader.close`."""
        self._reader.close()
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.operation(RETRIEVE, self._seconds)


class _MeasuredParts(PartialContent):
    """A resumable write."""

    def __init__(self, parts: PartialContent, observer: StoreObserver) -> None:
        self._parts = parts
        self._observer = observer

    @property
    def offset(self) -> int:
        """See :attr:`PartialContent.offset`."""
        return self._parts.offset

    def append(self, offset: int, chunks: Iterable[bytes]) -> int:
        """See :meth:`PartialContent.append`."""
        with _Incoming(chunks, self._observer) as incoming:
            return self._parts.append(offset, incoming)

    def finish(self, size: int, digests: Digests | None = None) -> StoredContent:
        """See :meth:`PartialContent.finish`."""
        begun = time.perf_counter()
        try:
            return self._parts.finish(size, digests)
        finally:
            self._observer.operation(STORE, time.perf_counter() - begun)

    def discard(self) -> None:
        """See :meth:`PartialContent.discard`."""
        self._parts.discard()
