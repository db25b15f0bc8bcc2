"""All contents of one store into another: verified, interrupted at any moment, and begun again.

Both stores list their contents in order of id, so one walk over the two lists tells what is not there yet,
without a question for each content. What is there is taken to be right, since a store shows only what is
complete, unless everything is to be read. Nothing that is there is ever replaced or deleted.

Source: `copy` in B.6 and S-111 of the storage contract.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from uuid import UUID

from meteorpi_db.filestore.base import FileStore
from meteorpi_db.filestore.fallback import FallbackFileStore
from meteorpi_db.filestore.hashing import ContentFacts
from meteorpi_db.filestore.pacing import Pace, StoppedError
from meteorpi_model.errors import ConflictError, DigestMismatchError, IncompleteBodyError, NotFoundError

COPIES_AT_ONCE: Final = 4
"""Contents on their way at the same time: enough for a service that takes a while to answer each."""

_PAGE: Final = 500

Recorded = Callable[[list[UUID]], Mapping[UUID, ContentFacts]]
"""What is recorded about those of some contents that have a record."""

Progress = Callable[[int, int], object]
"""Called with the numbers of contents that are done, and of bytes copied."""


@dataclass(kw_only=True)
class CopyReport:
    """What came of it.

    Attributes:
        copied: contents that are in the other store now and were not.
        copied_bytes: their bytes.
        held: contents that were there.
        gone: contents that were deleted before their turn came.
        damaged: ids of contents that are not what was recorded; they were not copied.
        differing: ids under which the other store has, or gave back, other bytes.
        is_interrupted: it was ended before its end; repeated, it goes on.
    """

    copied: int = 0
    copied_bytes: int = 0
    held: int = 0
    gone: int = 0
    damaged: list[UUID] = field(default_factory=list)
    differing: list[UUID] = field(default_factory=list)
    is_interrupted: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether the other store has everything now, as it should be."""
        return not (self.damaged or self.differing or self.is_interrupted)

    @property
    def contents(self) -> int:
        """Number of contents looked at."""
        return self.copied + self.held + self.gone + len(self.damaged) + len(self.differing)

    def as_dict(self) -> dict[str, object]:
        """For people and scripts; ids as hex."""
        return {
            "contents": self.contents,
            "copied": self.copied,
            "copied_bytes": self.copied_bytes,
            "held": self.held,
            "gone": self.gone,
            "damaged": [file_id.hex for file_id in self.damaged],
            "differing": [file_id.hex for file_id in self.differing],
            "interrupted": self.is_interrupted,
            "clean": self.is_clean,
        }


@dataclass(frozen=True)
class _Item:
    """A content whose turn has come."""

    file_id: UUID
    is_held: bool
    facts: ContentFacts | None


@dataclass(frozen=True)
class _Outcome:
    """What became of one content: the member of the report, and the bytes that were copied."""

    file_id: UUID
    kind: str
    size_bytes: int = 0


class StoreCopier:
    """Copies what one store has and another has not.

    Args:
        source: where contents come from.
        target: where they go; of a store with a fallback it is the first, which is to hold everything.
        pace: limits the bytes read, here and there, and can end the work.
        deep: also read, on both sides, what is there already.
        recorded: what contents should be; None takes them as they are.
        at_once: contents on their way at the same time.
    """

    def __init__(
        self,
        source: FileStore,
        target: FileStore,
        *,
        pace: Pace | None = None,
        deep: bool = False,
        recorded: Recorded | None = None,
        at_once: int = COPIES_AT_ONCE,
    ) -> None:
        self._source = source
        self._target = target.primary if isinstance(target, FallbackFileStore) else target
        self._pace = pace or Pace()
        self._deep = deep
        self._recorded = recorded
        self._at_once = at_once

    def run(self, progress: Progress | None = None) -> CopyReport:
        """Copy everything.

        Raises:
            UnavailableError: a store does not answer; what was copied stays.
            StoreFullError: there is no room.
        """
        report = CopyReport()
        try:
            with closing(self._outcomes()) as outcomes:
                for outcome in outcomes:
                    _count(report, outcome)
                    if progress is not None:
                        progress(report.contents, report.copied_bytes)
        except StoppedError:
            report.is_interrupted = True
        return report

    def _outcomes(self) -> Generator[_Outcome, None, None]:
        """What becomes of each content, in order of id; a few are on their way at any time."""
        under_way: deque[Future[_Outcome]] = deque()
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="meteorpi-copy") as pool:
            try:
                for item in self._items():
                    under_way.append(pool.submit(self._treat, item))
                    if len(under_way) >= 2 * self._at_once:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _items(self) -> Iterator[_Item]:
        walk = _walk(self._source.ids(), self._target.ids())
        while page := list(islice(walk, _PAGE)):
            known = self._recorded([file_id for file_id, _ in page]) if self._recorded else {}
            for file_id, is_held in page:
                yield _Item(file_id, is_held, known.get(file_id))

    def _treat(self, item: _Item) -> _Outcome:
        if self._pace.is_stopped:
            raise StoppedError
        if item.is_held and not self._deep:
            return _Outcome(item.file_id, "held")
        try:
            return self._compare(item) if item.is_held else self._copy(item)
        except NotFoundError:
            return _Outcome(item.file_id, "gone")
        except (DigestMismatchError, IncompleteBodyError):
            return _Outcome(item.file_id, "damaged")
        except ConflictError:
            return _Outcome(item.file_id, "differing")

    def _copy(self, item: _Item) -> _Outcome:
        found = self._source.stat(item.file_id)
        if found is None:
            return _Outcome(item.file_id, "gone")
        expected = found.sha256 if item.facts is None else item.facts.sha256
        with self._source.open(item.file_id) as chunks:
            stored = self._target.put(
                item.file_id,
                self._pace.through(chunks),
                size=found.size if item.facts is None else item.facts.size,
                digests=None if expected is None else {"sha256": expected},
            )
        if self._sha256(self._target, item.file_id) != stored.sha256:
            self._target.delete(item.file_id)
            return _Outcome(item.file_id, "differing")
        return _Outcome(item.file_id, "copied", stored.size)

    def _compare(self, item: _Item) -> _Outcome:
        here = self._sha256(self._source, item.file_id)
        there = self._sha256(self._target, item.file_id)
        if item.facts is not None and here != item.facts.sha256:
            return _Outcome(item.file_id, "damaged")
        return _Outcome(item.file_id, "held" if here == there else "differing")

    def _sha256(self, store: FileStore, file_id: UUID) -> str:
        with store.open(file_id) as chunks:
            return sha256_of(self._pace.through(chunks))


def sha256_of(chunks: Iterable[bytes]) -> str:
    """Hexadecimal SHA-256 of all `chunks` together, for whoever needs no other digest."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _walk(here: Iterator[UUID], there: Iterator[UUID]) -> Iterator[tuple[UUID, bool]]:
    """Each id of the first list, and whether the second has it; both in order."""
    other = next(there, None)
    for file_id in here:
        while other is not None and other < file_id:
            other = next(there, None)
        yield file_id, other == file_id


def _count(report: CopyReport, outcome: _Outcome) -> None:
    found = getattr(report, outcome.kind)
    if isinstance(found, list):
        found.append(outcome.file_id)
    else:
        setattr(report, outcome.kind, found + 1)
    report.copied_bytes += outcome.size_bytes
