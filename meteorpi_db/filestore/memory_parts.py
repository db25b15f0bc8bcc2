"""Resumable writes of the memory store."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from meteorpi_db.filestore.base import PartialContent, StoredContent
from meteorpi_db.filestore.hashing import Digests, Expectation, facts_of
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    UnavailableError,
)

if TYPE_CHECKING:
    from meteorpi_db.filestore.memory import MemoryFileStore


@dataclass
class MemoryPart:
    """Bytes of a resumable write, when the last of them came, and a lock held by whoever adds some."""

    changed_at: datetime
    data: bytearray = field(default_factory=bytearray)
    in_use: threading.Lock = field(default_factory=threading.Lock)


class MemoryPartialContent(PartialContent):
    """See :class:`PartialContent`.

    Args:
        store: where the content will be.
        file_id: id it will have.
    """

    def __init__(self, store: MemoryFileStore, file_id: UUID) -> None:
        self._store = store
        self._file_id = file_id

    @property
    def offset(self) -> int:
        """See :class:`PartialContent`."""
        part = self._store.find_part(self._file_id)
        return len(part.data) if part is not None else 0

    def append(self, offset: int, chunks: Iterable[bytes]) -> int:
        """See :class:`PartialContent`."""
        with self._locked() as part:
            end = len(part.data)
            if offset != end:
                raise ConflictError(f"the next byte is number {end}", entity_id=self._file_id, offset=end)
            for chunk in chunks:
                self._store.take_room(len(chunk))
                part.data += chunk
                part.changed_at = self._store.clock()
            return len(part.data)

    def finish(self, size: int, digests: Digests | None = None) -> StoredContent:
        """See :class:`PartialContent`."""
        expectation = Expectation(size, digests)
        if self._store.find_part(self._file_id) is None:
            finished = self._finished_before(expectation)
            if finished is not None:
                return finished
        with self._locked() as part:
            expectation.check_size(len(part.data))
            data = bytes(part.data)
            facts = facts_of([data])
            try:
                expectation.check(facts)
            except DigestMismatchError:
                self._store.drop_part(self._file_id)
                raise
            stored, is_new = self._store.publish(self._file_id, data, facts)
            self._store.drop_part(self._file_id, keep_bytes=is_new)
            return stored

    def discard(self) -> None:
        """See :class:`PartialContent`."""
        if self._store.find_part(self._file_id) is not None:
            with self._locked():
                self._store.drop_part(self._file_id)

    def _finished_before(self, expectation: Expectation) -> StoredContent | None:
        """The content, when an earlier call finished it and its answer was lost."""
        stored = self._store.find_stored(self._file_id)
        if stored is None:
            return None
        try:
            expectation.check(stored)
        except DigestMismatchError as error:
            raise ConflictError(
                "another content is complete under this id", entity_id=self._file_id
            ) from error
        return stored

    @contextmanager
    def _locked(self) -> Iterator[MemoryPart]:
        """The resumable write, ours alone."""
        part = self._acquire()
        try:
            yield part
        finally:
            part.in_use.release()

    def _acquire(self) -> MemoryPart:
        while True:
            part = self._store.begin_part(self._file_id)
            if not part.in_use.acquire(blocking=False):
                raise UnavailableError("somebody else is writing to this content", entity_id=self._file_id)
            # It may have been finished or swept before the lock was ours.
            if self._store.find_part(self._file_id) is part:
                return part
            part.in_use.release()
