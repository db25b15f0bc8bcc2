"""Contents as files below one directory: finding them, and making a new one visible.

The order of the last steps of a write is here, once, for whole and for resumable writes: data flushed,
second name given (which never replaces anything), temporary name dropped, directory flushed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from meteorpi_db.filestore.base import StoredContent
from meteorpi_db.filestore.disk import Disk
from meteorpi_db.filestore.failures import storage_errors
from meteorpi_db.filestore.hashing import BLOCK_BYTES, ContentFacts, facts_of
from meteorpi_db.filestore.layout import Layout
from meteorpi_model.errors import ConflictError, InvalidDocumentError, NotFoundError, UnavailableError
from meteorpi_model.values import milliseconds_to_utc_datetime

T = TypeVar("T")


class ContentDirectory:
    """The directory of a local store.

    Args:
        layout: which content is where.
        disk: how each step is done.
    """

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self.layout = layout
        self.disk = disk
        self._flushed: set[Path] = set()

    def prepare(self) -> None:
        """Create the root with its parents, durably.

        Raises:
            InvalidDocumentError: the path is taken by something that is not a directory.
        """
        root = self.layout.root
        missing = [path for path in (root, *root.parents) if not path.exists()]
        try:
            with storage_errors("create its directory"):
                for path in reversed(missing):
                    self._make_durable(path)
        except UnavailableError as error:
            if isinstance(error.__cause__, (FileExistsError, NotADirectoryError)):
                raise InvalidDocumentError(f"{root} or a parent of it is not a directory") from error
            raise
        if not root.is_dir():
            raise InvalidDocumentError(f"{root} is not a directory")

    def open(self, file_id: UUID) -> int:
        """A descriptor for reading the content.

        Raises:
            NotFoundError: no content is held.
        """
        with storage_errors("read content", entity_id=file_id):
            return self._try_places(file_id, _opened)

    def read(self, file_id: UUID, most: int) -> bytes:
        """The first `most` bytes of the content, or all that it has.

        Raises:
            NotFoundError: no content is held.
        """
        with storage_errors("read content", entity_id=file_id):
            descriptor = self._try_places(file_id, _opened)
            try:
                found = os.read(descriptor, most)
                while len(found) < most and (more := os.read(descriptor, most - len(found))):
                    found += more
            finally:
                os.close(descriptor)
        return found

    def stat(self, file_id: UUID) -> os.stat_result:
        """The state of the content's file.

        Raises:
            NotFoundError: no content is held.
        """
        with storage_errors("look content up", entity_id=file_id):
            return self._try_places(file_id, os.stat)

    def sizes(self, names: Iterable[str]) -> Iterator[int | None]:
        """Bytes of each content, None where none is held; ids as their hexadecimal digits.

        An archive asks for thousands before its first byte, and to make an id of a name costs as much as to
        look for its file.
        """
        place, look = self.layout.first_place, os.stat
        with storage_errors("look content up"):
            for name in names:
                try:
                    size: int | None = look(place(name)).st_size
                except (FileNotFoundError, NotADirectoryError):
                    size = self._size_elsewhere(UUID(name))
                yield size

    def _size_elsewhere(self, file_id: UUID) -> int | None:
        try:
            return self._try_places(file_id, os.stat).st_size
        except NotFoundError:
            return None

    def find(self, file_id: UUID) -> Path:
        """Where the content is.

        Raises:
            NotFoundError: no content is held.
        """
        with storage_errors("look content up", entity_id=file_id):
            return self._try_places(file_id, _existing)

    def require_root(self) -> None:
        """Raise unless the directory of the store is there.

        Raises:
            UnavailableError: it is not, as when a disk is not mounted.
        """
        with storage_errors("find its directory"):
            if not stat.S_ISDIR(self.layout.root.stat().st_mode):
                raise UnavailableError("the file store is not a directory any more")

    def create(self, path: Path, *, exclusive: bool = True) -> int:
        """Create and lock a file of the store's own, with the directories it needs."""
        self.ensure(path.parent)
        try:
            return self.disk.create(path, exclusive=exclusive)
        except FileNotFoundError:
            # Somebody removed the empty branch; without the root this fails again, as it must.
            self._flushed.discard(path.parent)
            self.ensure(path.parent)
            return self.disk.create(path, exclusive=exclusive)

    def publish(self, file_id: UUID, temporary: Path, descriptor: int, facts: ContentFacts) -> StoredContent:
        """Make a flushed temporary file the content, unless the same bytes are there already.

        Args:
            descriptor: the temporary file, open.
            facts: its size and digests.

        Raises:
            ConflictError: other bytes are complete under this id; `temporary` still exists.
        """
        with storage_errors("make content visible", entity_id=file_id):
            final = self.layout.path(file_id)
            self.ensure(final.parent)
            while not self._try_publish(file_id, temporary, final):
                if self._holds_already(file_id, facts):
                    return stored_content(facts, self.stat(file_id))
            self.disk.flush_directory(final.parent)
            return stored_content(facts, os.fstat(descriptor))

    def facts(self, descriptor: int) -> ContentFacts:
        """Size and digests of an open file."""
        return facts_of(self._blocks(descriptor))

    def _try_publish(self, file_id: UUID, temporary: Path, final: Path) -> bool:
        if self.layout.other_path(file_id).exists():
            return False
        try:
            self.disk.publish(temporary, final)
        except FileExistsError:
            return False
        return True

    def _holds_already(self, file_id: UUID, facts: ContentFacts) -> bool:
        """Compare with the complete content; False when it was deleted in the meantime.

        Equal bytes are flushed here too: who wrote them first may still be doing it.
        """
        try:
            path = self.find(file_id)
            descriptor = self.open(file_id)
        except NotFoundError:
            return False
        try:
            if os.fstat(descriptor).st_size != facts.size or self.facts(descriptor).sha256 != facts.sha256:
                raise ConflictError("other bytes are stored under this id", entity_id=file_id)
            self.disk.flush(descriptor)
            self.disk.flush_directory(path.parent)
        finally:
            os.close(descriptor)
        return True

    def _try_places(self, file_id: UUID, attempt: Callable[[str], T]) -> T:
        for place in self.layout.places(file_id):
            try:
                return attempt(place)
            except (FileNotFoundError, NotADirectoryError):
                continue
        self.require_root()
        raise NotFoundError("no content is held under this id", entity_id=file_id)

    def ensure(self, path: Path) -> None:
        """Create the branches down to `path`, durably; the root is only looked at when they are made.

        Each is flushed once by every process that uses it, since another may have created it just now.
        """
        if path == self.layout.root or path in self._flushed:
            return
        self.ensure(path.parent)
        self._make_durable(path)
        self._flushed.add(path)

    def _make_durable(self, path: Path) -> None:
        self.disk.make_directory(path)
        self.disk.flush_directory(path.parent)

    @staticmethod
    def _blocks(descriptor: int) -> Iterator[bytes]:
        position = 0
        while block := os.pread(descriptor, BLOCK_BYTES, position):
            position += len(block)
            yield block


def _opened(place: str) -> int:
    return os.open(place, os.O_RDONLY | os.O_CLOEXEC)


def _existing(place: str) -> Path:
    path = Path(place)
    path.stat()
    return path


def stored_content(facts: ContentFacts, found: os.stat_result) -> StoredContent:
    """What is given back for a content whose file has the state `found`."""
    return StoredContent(**asdict(facts), stored_at=milliseconds_to_utc_datetime(stored_milliseconds(found)))


def stored_milliseconds(found: os.stat_result) -> int:
    """When a file got into the store, in milliseconds since 1970.

    The time of the last change of its state: a file that was taken over without copying keeps the time of
    its last write, which may be years ago.
    """
    return found.st_ctime_ns // 1_000_000
