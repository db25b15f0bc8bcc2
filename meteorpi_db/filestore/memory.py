"""Contents in the memory of one process, for tests and for nodes without a disk.

All users of one store object share its contents; another object has its own. They are gone with the
process, so :attr:`MemoryFileStore.capabilities` lacks ``persistent``.

Source: B.5 of the storage contract.
"""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4
from weakref import WeakSet

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
from meteorpi_db.filestore.hashing import ContentFacts, DigestPass, Digests, Expectation, gather_blocks
from meteorpi_db.filestore.memory_parts import MemoryPart, MemoryPartialContent
from meteorpi_db.filestore.probing import check_range, probe_store
from meteorpi_model.errors import ConflictError, InvalidDocumentError, NotFoundError, StoreFullError
from meteorpi_model.values import Clock, truncate_to_milliseconds
from meteorpi_model.values import now as current_time


@dataclass(frozen=True)
class _Content:
    data: bytes
    stored: StoredContent


class MemoryFileStore(FileStore):
    """Contents in a dictionary.

    Args:
        limit_bytes: most bytes held at once, unfinished ones included; None sets no limit.
        clock: tells when a content was stored.
    """

    def __init__(self, limit_bytes: int | None = None, *, clock: Clock = current_time) -> None:
        if limit_bytes is not None and limit_bytes < 0:
            raise InvalidDocumentError(f"a limit of {limit_bytes} bytes cannot be")
        self.limit_bytes = limit_bytes
        self.clock = clock
        self._lock = threading.Lock()
        self._contents: dict[UUID, _Content] = {}
        self._parts: dict[UUID, MemoryPart] = {}
        self._used_bytes = 0
        _alive.add(self)

    @property
    def location(self) -> str:
        """The URL that opens a store like this one."""
        return "memory:" if self.limit_bytes is None else f"memory:?limit={self.limit_bytes}"

    @property
    def capabilities(self) -> frozenset[str]:
        """See :class:`FileStore`."""
        return frozenset({"atomic-create"})

    def prepare(self) -> None:
        """Nothing to do."""

    def put(
        self,
        file_id: UUID,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        digests: Digests | None = None,
    ) -> StoredContent:
        """See :meth:`FileStore.put`."""
        expectation = Expectation(size, digests)
        with _Reservation(self, size or 0) as reservation:
            buffer = io.BytesIO()
            with DigestPass() as hashing:
                for block in gather_blocks(chunks):
                    hashing.update(block)
                    expectation.refuse_excess(hashing.size)
                    reservation.grow_to(hashing.size)
                    buffer.write(block)
                expectation.check_size(hashing.size)
                facts = hashing.facts()
            expectation.check(facts)
            stored, is_new = self.publish(file_id, buffer.getvalue(), facts)
            if is_new:
                reservation.keep()
            return stored

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        """See :meth:`FileStore.open`."""
        check_range(start, stop)
        content = self._contents.get(file_id)
        if content is None:
            raise NotFoundError("no content is held under this id", entity_id=file_id)
        stream = io.BytesIO(content.data)
        stream.seek(start)
        size = len(content.data)
        return ContentReader(stream, (size if stop is None else min(stop, size)) - start)

    def stat(self, file_id: UUID) -> ContentStat | None:
        """See :meth:`FileStore.stat`; digests are kept."""
        stored = self.find_stored(file_id)
        return ContentStat(**asdict(stored)) if stored is not None else None

    def delete(self, file_id: UUID) -> bool:
        """See :meth:`FileStore.delete`."""
        with self._lock:
            content = self._contents.pop(file_id, None)
            if content is not None:
                self._used_bytes -= len(content.data)
        return content is not None

    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        """See :meth:`FileStore.ids`."""
        with self._lock:
            found = sorted(self._contents)
        yield from found[bisect_right(found, after) if after is not None else 0 :]

    def parts(self, file_id: UUID) -> PartialContent:
        """See :meth:`FileStore.parts`."""
        return MemoryPartialContent(self, file_id)

    def sweep(
        self,
        older_than_seconds: float = TEMPORARY_SECONDS,
        *,
        parts_older_than_seconds: float = PARTS_SECONDS,
        now: datetime | None = None,
    ) -> SweepReport:
        """See :meth:`FileStore.sweep`; there are no temporary files, only resumable writes."""
        not_after = (now or self.clock()) - timedelta(seconds=parts_older_than_seconds)
        removed = freed_bytes = kept = 0
        for file_id, part in list(self._parts.items()):
            if part.changed_at > not_after or not part.in_use.acquire(blocking=False):
                kept += 1
                continue
            removed, freed_bytes = removed + 1, freed_bytes + len(part.data)
            self.drop_part(file_id)
            part.in_use.release()
        return SweepReport(removed=removed, freed_bytes=freed_bytes, kept=kept)

    def free_bytes(self) -> int | None:
        """What is left of the limit, None without one."""
        return None if self.limit_bytes is None else self.limit_bytes - self._used_bytes

    def check(self, *, probe: bool = False) -> None:
        """See :meth:`FileStore.check`."""
        if probe:
            probe_store(self, uuid4())

    def publish(self, file_id: UUID, data: bytes, facts: ContentFacts) -> tuple[StoredContent, bool]:
        """Make `data` visible unless the same bytes are there already.

        Returns:
            What is stored, and whether it is new: then the room counted for it is the content's.

        Raises:
            ConflictError: other bytes are stored under this id.
        """
        stored = StoredContent(**asdict(facts), stored_at=truncate_to_milliseconds(self.clock()))
        with self._lock:
            held = self._contents.setdefault(file_id, _Content(data, stored)).stored
        if held.sha256 != facts.sha256:
            raise ConflictError("other bytes are stored under this id", entity_id=file_id)
        return held, held is stored

    def find_stored(self, file_id: UUID) -> StoredContent | None:
        """Facts of a complete content, None when none is held."""
        content = self._contents.get(file_id)
        return content.stored if content is not None else None

    def find_part(self, file_id: UUID) -> MemoryPart | None:
        """The resumable write for `file_id`, if one was begun."""
        return self._parts.get(file_id)

    def begin_part(self, file_id: UUID) -> MemoryPart:
        """The resumable write for `file_id`, begun now unless it was before."""
        with self._lock:
            return self._parts.setdefault(file_id, MemoryPart(self.clock()))

    def drop_part(self, file_id: UUID, *, keep_bytes: bool = False) -> None:
        """Forget a resumable write; `keep_bytes` when they have become content."""
        with self._lock:
            part = self._parts.pop(file_id, None)
            if part is not None and not keep_bytes:
                self._used_bytes -= len(part.data)

    def take_room(self, size: int) -> None:
        """Count `size` more bytes.

        Raises:
            StoreFullError: they would go beyond the limit; nothing is counted.
        """
        with self._lock:
            if self.limit_bytes is not None and self._used_bytes + size > self.limit_bytes:
                raise StoreFullError(f"the file store is limited to {self.limit_bytes} bytes")
            self._used_bytes += size

    def return_room(self, size: int) -> None:
        """Count `size` bytes less."""
        with self._lock:
            self._used_bytes -= size

    def renew_locks(self) -> None:
        """After a fork nobody else is left who could hold or release the locks."""
        self._lock = threading.Lock()
        for part in self._parts.values():
            part.in_use = threading.Lock()


class _Reservation:
    """Room counted for a content that is on its way, given back unless it is kept."""

    def __init__(self, store: MemoryFileStore, size: int) -> None:
        self._store = store
        self._size = 0
        self.grow_to(size)

    def grow_to(self, size: int) -> None:
        """Reserve at least `size` bytes; ``StoreFullError`` when there is no room."""
        if size > self._size:
            self._store.take_room(size - self._size)
            self._size = size

    def keep(self) -> None:
        """Leave the room to the content that was made visible."""
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.return_room(self._size)


_alive: WeakSet[MemoryFileStore] = WeakSet()


def _renew_locks_after_fork() -> None:
    for store in _alive:
        store.renew_locks()


os.register_at_fork(after_in_child=_renew_locks_after_fork)
