"""Two stores as one, while contents move from the old to the new.

Source: S-111 of the storage contract.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path
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
from meteorpi_db.filestore.hashing import Digests, Expectation, facts_of
from meteorpi_model.errors import ConflictError, NotFoundError


class FallbackFileStore(FileStore):
    """Writes go to `primary`; what it does not hold is read from `fallback`.

    Deleting removes from both. A content may be in both, as while it is copied: then it is listed once.

    Args:
        primary: the store that is to hold everything in the end.
        fallback: the store that held everything before.
    """

    def __init__(self, primary: FileStore, fallback: FileStore) -> None:
        self.primary = primary
        self.fallback = fallback

    @property
    def location(self) -> str:
        """Both locations."""
        return f"{self.primary.location} (fallback {self.fallback.location})"

    @property
    def capabilities(self) -> frozenset[str]:
        """What both can do; addresses are given for what is in the first."""
        return (self.primary.capabilities & self.fallback.capabilities) | (
            self.primary.capabilities & {"presign"}
        )

    def prepare(self) -> None:
        """Make both places exist."""
        self.primary.prepare()
        self.fallback.prepare()

    def put(
        self,
        file_id: UUID,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        digests: Digests | None = None,
    ) -> StoredContent:
        """See :meth:`FileStore.put`."""
        held = self._held_by_fallback(file_id)
        if held is None:
            return self.primary.put(file_id, chunks, size=size, digests=digests)
        facts = facts_of(chunks)
        Expectation(size, digests).check(facts)
        if facts.sha256 != self.fallback.digests_of(file_id).sha256:
            raise ConflictError("other bytes are stored under this id", entity_id=file_id)
        return StoredContent(**asdict(facts), stored_at=held.stored_at)

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
        if self._held_by_fallback(file_id) is None:
            return self.primary.put_file(file_id, path, move, may_link, size=size, digests=digests)
        return super().put_file(file_id, path, move, may_link, size=size, digests=digests)

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        """See :meth:`FileStore.open`."""
        try:
            return self.primary.open(file_id, start, stop)
        except NotFoundError:
            return self._open_fallback(file_id, start, stop)

    def stat(self, file_id: UUID) -> ContentStat | None:
        """See :meth:`FileStore.stat`."""
        return self.primary.stat(file_id) or self.fallback.stat(file_id) or self.primary.stat(file_id)

    def delete(self, file_id: UUID) -> bool:
        """See :meth:`FileStore.delete`."""
        in_fallback = self.fallback.delete(file_id)
        return self.primary.delete(file_id) or in_fallback

    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        """See :meth:`FileStore.ids`."""
        for file_id, _ in groupby(heapq.merge(self.primary.ids(after), self.fallback.ids(after))):
            yield file_id

    @contextmanager
    def local_path(self, file_id: UUID) -> Iterator[Path]:
        """See :meth:`FileStore.local_path`."""
        store = self.primary if self.primary.stat(file_id) is not None else self.fallback
        with store.local_path(file_id) as path:
            yield path

    def parts(self, file_id: UUID) -> PartialContent:
        """See :meth:`FileStore.parts`."""
        return self.primary.parts(file_id)

    def sweep(
        self,
        older_than_seconds: float = TEMPORARY_SECONDS,
        *,
        parts_older_than_seconds: float = PARTS_SECONDS,
        now: datetime | None = None,
    ) -> SweepReport:
        """See :meth:`FileStore.sweep`; both are swept."""
        reports = [
            store.sweep(older_than_seconds, parts_older_than_seconds=parts_older_than_seconds, now=now)
            for store in (self.primary, self.fallback)
        ]
        return SweepReport(
            removed=sum(report.removed for report in reports),
            freed_bytes=sum(report.freed_bytes for report in reports),
            kept=sum(report.kept for report in reports),
        )

    def url(
        self,
        file_id: UUID,
        method: str = "GET",
        expires_seconds: int = 300,
        *,
        size: int | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """See :meth:`FileStore.url`; of what is in the first store, or is to be written."""
        if method == "GET" and self.primary.stat(file_id) is None:
            return None
        return self.primary.url(file_id, method, expires_seconds, size=size, content_type=content_type)

    def free_bytes(self) -> int | None:
        """Bytes that can still be written."""
        return self.primary.free_bytes()

    def remote_time(self) -> datetime | None:
        """See :meth:`FileStore.remote_time`; where new contents go."""
        return self.primary.remote_time()

    def check(self, *, probe: bool = False) -> None:
        """See :meth:`FileStore.check`; the fallback is only read."""
        self.primary.check(probe=probe)
        self.fallback.check()

    def _held_by_fallback(self, file_id: UUID) -> ContentStat | None:
        held = self.fallback.stat(file_id)  # asked first, since nearly always that answers it
        return held if held is not None and self.primary.stat(file_id) is None else None

    def _open_fallback(self, file_id: UUID, start: int, stop: int | None) -> ContentReader:
        try:
            return self.fallback.open(file_id, start, stop)
        except NotFoundError:
            # It may have moved between the two looks; if not, this says that it is missing.
            return self.primary.open(file_id, start, stop)
