"""Contents from the file store into a repository, while records come and go.

A record that the snapshot of the database has may be deleted before its content is copied: its content goes
after it, so a content that cannot be had belongs to a deleted record, or is missing in truth. The
database says which; a deleted record is left out when the backup is restored. An object of blocks is held
back, see :mod:`meteorpi_db.blocks.holding`, and treated the same if that fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Table

from meteorpi_db.backup.contents_list import ContentLine, read_contents
from meteorpi_db.backup.depot import ContentDepot
from meteorpi_db.backup.manifest import Lost, part_of_table
from meteorpi_db.backup.parts import read_lines
from meteorpi_db.backup.rows import row_reader
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore
from meteorpi_db.ledgers import LEDGERS, RecordedContent
from meteorpi_db.records import events
from meteorpi_db.tables import event, event_file, file_record
from meteorpi_model.errors import DigestMismatchError, MeteorError, NotFoundError, UnavailableError

logger = logging.getLogger("meteorpi.db.backup")

WORKERS = 4
"""Contents under way at a time: most of the time goes into waiting for disks to flush."""

_WAITING = 4 * WORKERS
_LOOKS = 2  # a repair takes a content away before it brings it back

Advance = Callable[[int], object]
"""Called with the bytes that are done, from any thread."""


@dataclass
class Gathered:
    """What came of the contents of a snapshot.

    Attributes:
        copied, copied_bytes: contents that the repository did not have.
        lacking: records whose content cannot be had.
        dropped: ids of records that were deleted meanwhile.
    """

    copied: int = 0
    copied_bytes: int = 0
    lacking: list[Lost] = field(default_factory=list)
    dropped: list[UUID] = field(default_factory=list)


class _UnreadableError(MeteorError):
    """The store cannot read a content; the repository has nothing to do with it."""


class Gatherer:
    """Copies what a repository does not have.

    Args:
        transactions: the database as it is now.
        store: where the contents are.
        depot: where they go.
        advance: told of progress.
    """

    def __init__(
        self, transactions: Transactions, store: FileStore, depot: ContentDepot, advance: Advance
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._depot = depot
        self._advance = advance

    def gather(self, contents_list: Path) -> Gathered:
        """Copy the contents in `contents_list`, each once, verifying their digests."""
        gathered = Gathered()
        groups = (list(group) for _, group in groupby(read_contents(contents_list), attrgetter("sha256")))
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="meteorpi-backup") as pool:
            for done in _in_window(pool, self._take, self._not_held(groups)):
                gathered.copied += done.copied
                gathered.copied_bytes += done.copied_bytes
                gathered.lacking += done.lacking
                gathered.dropped += done.dropped
        self._depot.settle()
        return gathered

    def _not_held(self, groups: Iterable[list[ContentLine]]) -> Iterator[list[ContentLine]]:
        for group in groups:
            if self._depot.holds(group[0].sha256, group[0].size):
                self._advance(group[0].size)
            else:
                yield group

    def _take(self, group: list[ContentLine]) -> Gathered:
        for line in group:
            for _ in range(_LOOKS):
                if self._try_copy(line) is None:
                    self._advance(line.size)
                    return Gathered(copied=1, copied_bytes=line.size)
        self._advance(group[0].size)
        return self._judged(group)

    def _try_copy(self, line: ContentLine) -> str | None:
        """What is wrong with the content of a record; None when it was copied."""
        try:
            self._depot.add(line.sha256, self._source(line.file_id))
        except NotFoundError:
            return "missing"
        except DigestMismatchError:
            return "torn"
        except _UnreadableError:
            self._store.check()  # one bad place on a disk is a finding, a disk that is gone ends the backup
            return "unreadable"
        return None

    def _source(self, file_id: UUID) -> Iterator[bytes]:
        try:
            with self._store.open(file_id) as chunks:
                yield from chunks
        except UnavailableError as error:
            raise _UnreadableError(error.detail) from error

    def _judged(self, group: list[ContentLine]) -> Gathered:
        """Records that still are, with that content, lack it; the others were deleted."""
        findings = {line.file_id: self._try_copy(line) for line in group}
        if None in findings.values():  # it has just come back
            return Gathered(copied=1, copied_bytes=group[0].size)
        held: dict[UUID, RecordedContent] = {}
        with self._transactions.reading() as connection:
            for ledger in LEDGERS:
                held |= ledger.rows(connection, findings)
        result = Gathered()
        for line in group:
            found = held.get(line.file_id)
            if found is None or found.facts.sha256 != line.sha256:
                result.dropped.append(line.file_id)
            else:
                finding = findings[line.file_id] or "missing"
                logger.warning("content not backed up file_id=%s finding=%s", line.file_id.hex, finding)
                result.lacking.append(Lost(line.file_id.hex, line.sha256, finding))
        return result


def _in_window(
    pool: ThreadPoolExecutor,
    work: Callable[[list[ContentLine]], Gathered],
    groups: Iterable[list[ContentLine]],
) -> Iterator[Gathered]:
    """The results of `work` on all `groups` in order, with a bounded number under way."""
    waiting: list[Future[Gathered]] = []
    try:
        for group in groups:
            waiting.append(pool.submit(work, group))
            if len(waiting) >= _WAITING:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def events_gone_with(transactions: Transactions, snapshot: Path, dropped: Iterable[UUID]) -> list[UUID]:
    """The events of a snapshot that lost a file to a deletion and were deleted, too."""
    gone = set(dropped)
    if not gone:
        return []
    file_pks = {pk for pk, file_id in _columns(snapshot, file_record, "id", "file_id") if file_id in gone}
    links = _columns(snapshot, event_file, "event_pk", "file_pk")
    event_pks = {event_pk for event_pk, file_pk in links if file_pk in file_pks}
    found = [event_id for pk, event_id in _columns(snapshot, event, "id", "event_id") if pk in event_pks]
    with transactions.reading() as connection:
        return [event_id for event_id in found if events.pk_of(connection, event_id) is None]


def _columns(snapshot: Path, table: Table, *names: str) -> Iterator[tuple[Any, ...]]:
    numbers = [table.c.keys().index(name) for name in names]
    read = row_reader(table)
    for line in read_lines(part_of_table(snapshot, table.name)):
        row = read(line)
        yield tuple(row[number] for number in numbers)
