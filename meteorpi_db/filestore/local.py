"""Contents as files in a local directory.

A write goes through these steps, and a kill, a full disk or a power cut between any two leaves either the
complete content or nothing visible (S-105)::

    create   .incoming-<id>-<random> in the directory of the content, exclusively, and lock it
    write    the bytes, hashing them on the way
    flush    the data
    link     to <id>, which fails when the name is taken; a rename under a lock where links do not exist
    unlink   the temporary name
    flush    the directory

A file that is taken over instead of copied is linked to the temporary name first and flushed there.

Source: S-120 to S-126 of the storage contract; docs/decisions/0006 says why so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

from meteorpi_db.filestore.base import (
    PARTS_SECONDS,
    TEMPORARY_SECONDS,
    ContentReader,
    ContentStat,
    FileStore,
    StoredContent,
    SweepReport,
)
from meteorpi_db.filestore.directory import ContentDirectory, stored_milliseconds
from meteorpi_db.filestore.disk import Disk
from meteorpi_db.filestore.failures import NO_LINKS, storage_errors
from meteorpi_db.filestore.hashing import (
    ContentFacts,
    DigestPass,
    Digests,
    Expectation,
    HashedContent,
    gather_blocks,
)
from meteorpi_db.filestore.layout import Layout, LayoutName
from meteorpi_db.filestore.local_parts import LocalPartialContent
from meteorpi_db.filestore.local_sweep import sweep_directory
from meteorpi_db.filestore.probing import check_range, probe_store
from meteorpi_db.filestore.sources import SourceFile
from meteorpi_model.errors import InvalidDocumentError, NotFoundError
from meteorpi_model.values import milliseconds_to_utc_datetime
from meteorpi_model.values import now as current_time


@dataclass(frozen=True)
class _Incoming:
    """A temporary file on its way to becoming content."""

    path: Path
    descriptor: int


class LocalFileStore(FileStore):
    """A directory of contents, as flat as a node's always was, or a tree.

    Args:
        root: the directory; :meth:`prepare` creates it, nothing else does, so that a disk which is not
            mounted is noticed instead of filling the mount point.
        layout: where new contents go; both layouts are read.
        disk: durability, modes and space to keep free.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, layout: LayoutName = "flat", disk: Disk | None = None
    ) -> None:
        self.root = Path(root).absolute()
        self.layout = Layout(self.root, layout)
        self.disk = disk if disk is not None else Disk()
        self._directory = ContentDirectory(self.layout, self.disk)

    @property
    def location(self) -> str:
        """The ``file:`` URL that opens this store."""
        options = {"layout": self.layout.name, "durability": self.disk.durability}
        return f"file://{quote(str(self.root))}?{urlencode(options)}"

    @property
    def capabilities(self) -> frozenset[str]:
        """See :class:`FileStore`."""
        return frozenset({"persistent", "atomic-create", "local-path", "adopt"})

    def prepare(self) -> None:
        """Create the directory with its parents."""
        self._directory.prepare()

    def put(
        self,
        file_id: UUID,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        digests: Digests | None = None,
    ) -> StoredContent:
        """See :meth:`FileStore.put`."""
        return self._write(file_id, chunks, Expectation(size, digests), room_bytes=size or 0)

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
        """See :meth:`FileStore.put_file`; a file on the same file system is linked instead of copied.

        It is copied all the same when that would be unsafe: it has further names, or another owner.
        """
        expectation = Expectation(size, digests)
        with SourceFile(path) as source:
            if self.layout.is_content(source.path):
                raise InvalidDocumentError(f"{source.path} is itself a content of the file store")
            stored = self._adopt(file_id, source, expectation) if move or may_link else None
            if stored is None:
                stored = self._write(file_id, source.blocks(), expectation, room_bytes=source.stat.st_size)
        if move:
            source.remove()
        return stored

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        """See :meth:`FileStore.open`."""
        check_range(start, stop)
        stream = os.fdopen(self._directory.open(file_id), "rb", buffering=0)
        try:
            with storage_errors("read content", entity_id=file_id):
                size = os.fstat(stream.fileno()).st_size
                if start:
                    stream.seek(start)
        except BaseException:
            stream.close()
            raise
        return ContentReader(stream, (size if stop is None else min(stop, size)) - start)

    def read(self, file_id: UUID, most: int) -> bytes:
        """See :meth:`FileStore.read`; without what a reader costs."""
        return self._directory.read(file_id, most)

    def stat(self, file_id: UUID) -> ContentStat | None:
        """See :meth:`FileStore.stat`; a directory keeps no digests."""
        try:
            found = self._directory.stat(file_id)
        except NotFoundError:
            return None
        stored_at = milliseconds_to_utc_datetime(stored_milliseconds(found))
        return ContentStat(size=found.st_size, stored_at=stored_at)

    def sizes(self, names: Iterable[str]) -> Iterator[int | None]:
        """See :meth:`FileStore.sizes`; one look at the directory for each."""
        return self._directory.sizes(names)

    def delete(self, file_id: UUID) -> bool:
        """See :meth:`FileStore.delete`. Not flushed: after a power cut content may be back, unreferenced."""
        removed = False
        with storage_errors("delete content", entity_id=file_id):
            for path in (self.layout.path(file_id), self.layout.other_path(file_id)):
                with suppress(FileNotFoundError):
                    path.unlink()
                    removed = True
        if not removed:
            self._directory.require_root()
        return removed

    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        """See :meth:`FileStore.ids`."""
        with storage_errors("list its contents"):
            yield from self.layout.ids(after)

    @contextmanager
    def local_path(self, file_id: UUID) -> Iterator[Path]:
        """See :meth:`FileStore.local_path`; the file of the store itself."""
        yield self._directory.find(file_id)

    def parts(self, file_id: UUID) -> LocalPartialContent:
        """See :meth:`FileStore.parts`."""
        return LocalPartialContent(file_id, self._directory)

    def sweep(
        self,
        older_than_seconds: float = TEMPORARY_SECONDS,
        *,
        parts_older_than_seconds: float = PARTS_SECONDS,
        now: datetime | None = None,
    ) -> SweepReport:
        """See :meth:`FileStore.sweep`."""
        with storage_errors("be swept"):
            return sweep_directory(
                self.layout, self.disk, now or current_time(), older_than_seconds, parts_older_than_seconds
            )

    def free_bytes(self) -> int:
        """What a process without special rights may still write, less what is to stay free."""
        with storage_errors("tell its free space"):
            return max(0, self.disk.free_bytes(self.root) - self.disk.min_free_bytes)

    def check(self, *, probe: bool = False) -> None:
        """See :meth:`FileStore.check`."""
        self._directory.require_root()
        if probe:
            probe_store(self, uuid4())

    def _write(
        self, file_id: UUID, chunks: Iterable[bytes], expectation: Expectation, *, room_bytes: int
    ) -> StoredContent:
        with self._incoming(file_id, room_bytes) as incoming:
            if isinstance(chunks, HashedContent):
                facts = self._receive_hashed(file_id, incoming, chunks, expectation)
            else:
                facts = self._receive(file_id, incoming, chunks, expectation)
            expectation.check(facts)
            return self._directory.publish(file_id, incoming.path, incoming.descriptor, facts)

    def _receive(
        self, file_id: UUID, incoming: _Incoming, chunks: Iterable[bytes], expectation: Expectation
    ) -> ContentFacts:
        with DigestPass() as digests:
            for block in gather_blocks(chunks):
                digests.update(block)
                expectation.refuse_excess(digests.size)
                with storage_errors("write content", entity_id=file_id):
                    self.disk.write(incoming.descriptor, block)
            expectation.check_size(digests.size)
            with storage_errors("flush content", entity_id=file_id):
                self.disk.flush(incoming.descriptor)
            return digests.facts()

    def _receive_hashed(
        self, file_id: UUID, incoming: _Incoming, chunks: HashedContent, expectation: Expectation
    ) -> ContentFacts:
        expectation.check_size(chunks.size)
        with storage_errors("write content", entity_id=file_id):
            for block in chunks:
                self.disk.write(incoming.descriptor, block)
        with storage_errors("flush content", entity_id=file_id):
            self.disk.flush(incoming.descriptor)
        return chunks.facts

    @contextmanager
    def _incoming(self, file_id: UUID, room_bytes: int) -> Iterator[_Incoming]:
        path = self.layout.temporary_path(file_id)
        with storage_errors("create content", entity_id=file_id):
            self.disk.require_room(self.root, room_bytes)
            descriptor = self._directory.create(path)
        try:
            yield _Incoming(path, descriptor)
        finally:
            # Gone already after success; what cannot be removed now is left to the sweep.
            with suppress(OSError):
                self.disk.unlink(path)
            os.close(descriptor)

    def _adopt(self, file_id: UUID, source: SourceFile, expectation: Expectation) -> StoredContent | None:
        """Take the file itself as content, or None when it must be copied."""
        with self._linked(file_id, source) as temporary:
            if temporary is None:
                return None
            with DigestPass() as digests:
                for block in source.blocks():
                    digests.update(block)
                with storage_errors("flush content", entity_id=file_id):
                    self.disk.flush(source.descriptor)
                facts = digests.facts()
            source.check_unchanged()
            expectation.check(facts)
            with storage_errors("set permissions", entity_id=file_id):
                self.disk.set_mode(source.descriptor)
            return self._directory.publish(file_id, temporary, source.descriptor, facts)

    @contextmanager
    def _linked(self, file_id: UUID, source: SourceFile) -> Iterator[Path | None]:
        """A temporary name for the very file that is open as `source`, None where that cannot be."""
        temporary = self.layout.temporary_path(file_id)
        try:
            with storage_errors("take a file over", entity_id=file_id):
                linked = self._link(source, temporary)
            yield temporary if linked else None
        finally:
            with suppress(OSError):
                self.disk.unlink(temporary)

    def _link(self, source: SourceFile, temporary: Path) -> bool:
        if source.stat.st_nlink != 1 or source.stat.st_uid != os.geteuid():
            return False
        self._directory.ensure(temporary.parent)
        try:
            self.disk.link(source.path, temporary)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return False
        # The path may be a symbolic link, or name another file by now.
        return os.path.samestat(temporary.lstat(), source.stat)
