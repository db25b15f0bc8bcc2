"""Takes the items of a folder into the database and the file store.

Files are prepared by a few threads and recorded in groups of one transaction each, in the order in which
the reader gave them, an event after its files. At every moment a content is in the store before its record
is visible, so whatever stops the process, repeating the ingest completes it and adds nothing twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias
from uuid import UUID

from sqlalchemy import Connection

from meteorpi_db.ingest.base import DamageItem, EventItem, FileItem, Item, LeftOutItem, StatusItem
from meteorpi_db.ingest.preparing import Failed, Preparation, Prepared
from meteorpi_db.ingest.quarantine import Quarantine
from meteorpi_db.ingest.report import IngestReport, Progress, Trouble
from meteorpi_db.ingest.setups import store_setup
from meteorpi_db.records import contents, events, files, statuses
from meteorpi_db.records.events import NewEvent
from meteorpi_db.records.files import Origin
from meteorpi_db.records.statuses import StatusKey
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import InvalidDocumentError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

DEFAULT_WORKERS = 4
"""More than the cores of a small computer, since each spends most of its time waiting for the disk."""

GROUP_ENTRIES = 64
"""Files and events recorded in one transaction."""

GROUP_BYTES = 64 << 20
"""Content after which a group is recorded anyway, so that large files are not long without a record."""


@dataclass
class _PendingFile:
    """A file under way; it may be both an entry of its own and a file of some events."""

    future: Future[Prepared | Failed]
    is_counted: bool = False

    def is_done(self) -> bool:
        return self.future.done()


@dataclass(frozen=True)
class _PendingEvent:
    item: EventItem
    files: tuple[_PendingFile, ...]

    def is_done(self) -> bool:
        return all(file.is_done() for file in self.files)


TOO_OLD = "older than what is kept"
"""Why a file or an event was left out that pruning would delete."""

_Entry: TypeAlias = "_PendingFile | _PendingEvent"


class Taker:
    """Takes items in; a context manager, whose end records what is still under way.

    Args:
        db: where to.
        quarantine: for damaged files.
        report: counts what happens.
        progress: told after each group.
        move: remove sources once they are recorded.
        workers: files prepared at the same time.
        keep_frames_days, keep_events_days: see `IngestOptions`.
    """

    def __init__(
        self,
        db: MeteorDatabase,
        quarantine: Quarantine,
        report: IngestReport,
        progress: Progress | None = None,
        *,
        move: bool = False,
        workers: int | None = None,
        keep_frames_days: int = 0,
        keep_events_days: int = 0,
    ) -> None:
        self._db = db
        self._preparation = Preparation(db)
        self._quarantine = quarantine
        self._report = report
        self._progress = progress
        self._move = move
        self._workers = workers or DEFAULT_WORKERS
        self._keep_frames_days = keep_frames_days
        self._keep_events_days = keep_events_days
        self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="meteorpi-ingest")
        self._queue: deque[_Entry] = deque()
        self._group: list[_Entry] = []
        self._group_bytes = 0
        self._of_events: dict[Path, _PendingFile] = {}
        self._sources: list[Path] = []
        self._marks: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=kind is not None)

    def take_folder(self, items: Iterable[Item], *, has_events: bool) -> None:
        """Take all items of one folder.

        Args:
            items: from a reader.
            has_events: files are remembered until the end of the folder, for the events that show them.

        Raises:
            StoreFullError, UnavailableError: the node cannot go on; repeat later.
            ConfigurationError, OSError: by the reader.
        """
        refused_before = len(self._report.refused)
        try:
            for item in items:
                self._take(item, is_remembered=has_events)
            self._finish()
            self._remove_sources()
            if len(self._report.refused) == refused_before:  # else what stays has to be recognised again
                _remove(self._marks)
        finally:
            self._of_events.clear()
            self._sources.clear()
            self._marks.clear()

    def _take(self, item: Item, *, is_remembered: bool) -> None:
        match item:
            case StatusItem():
                self._finish()  # what came before belongs to the status in force until now
                self._report.statuses += store_setup(self._db, item)
            case FileItem() if self._is_too_old(item.file_time, self._keep_frames_days):
                self._report.left_out[TOO_OLD] += 1
            case EventItem() if self._is_too_old(item.event_time, self._keep_events_days):
                self._report.left_out[TOO_OLD] += 1
            case FileItem():
                self._submit(self._pending(item, is_remembered=is_remembered))
            case EventItem():
                if self._db.has_event_id(item.event_id):
                    self._report.events_present += 1
                else:
                    shown = tuple(self._pending(file, is_remembered=True) for file in item.files)
                    self._submit(_PendingEvent(item, shown))
            case DamageItem():
                self._report.quarantined.append(self._quarantine.take(item, self._db.clock()))
            case LeftOutItem():
                self._report.left_out[item.reason] += 1

    def _is_too_old(self, time: datetime, keep_days: int) -> bool:
        return keep_days > 0 and time < self._db.clock() - timedelta(days=keep_days)

    def _pending(self, item: FileItem, *, is_remembered: bool) -> _PendingFile:
        path = item.source
        if isinstance(path, Path) and path in self._of_events:
            return self._of_events[path]
        pending = _PendingFile(self._threads.submit(self._preparation.prepare, item))
        if isinstance(path, Path) and is_remembered:
            self._of_events[path] = pending
        return pending

    def _submit(self, entry: _Entry) -> None:
        self._queue.append(entry)
        while self._queue and (len(self._queue) > 2 * self._workers or self._queue[0].is_done()):
            self._gather(self._queue.popleft())

    def _gather(self, entry: _Entry) -> None:
        """Add to the group what is prepared, waiting for it."""
        self._group.append(entry)
        for file in _files_of(entry):
            prepared = file.future.result()
            if isinstance(prepared, Prepared) and not prepared.is_present:
                self._group_bytes += prepared.facts.size
        if len(self._group) >= GROUP_ENTRIES or self._group_bytes >= GROUP_BYTES:
            self._record_group()

    def _finish(self) -> None:
        while self._queue:
            self._gather(self._queue.popleft())
        self._record_group()

    def _record_group(self) -> None:
        entries, self._group, self._group_bytes = self._group, [], 0
        if not entries:
            return
        prepared = [file for entry in entries for file in self._settled(entry)]
        try:
            self._record(prepared, [entry for entry in entries if isinstance(entry, _PendingEvent)])
        except InvalidDocumentError:
            self._record_singly(prepared, entries)
        if self._progress is not None:
            self._progress(self._report)

    def _record_singly(self, prepared: list[Prepared], entries: list[_Entry]) -> None:
        """One of a group cannot be recorded; the others need not suffer."""
        for file in prepared:
            self._try_to_record(file.item.source, [file], [])
        for entry in entries:
            if isinstance(entry, _PendingEvent):
                self._try_to_record(entry.item.event_id.hex, [], [entry])

    def _try_to_record(
        self, source: Path | bytes | str, prepared: list[Prepared], pending: list[_PendingEvent]
    ) -> None:
        try:
            self._record(prepared, pending)
        except InvalidDocumentError as error:
            path = (
                source
                if isinstance(source, Path)
                else Path(prepared[0].item.name if prepared else str(source))
            )
            self._report.refused.append(Trouble(path, f"it cannot be recorded: {error.detail}"))

    def _settled(self, entry: _Entry) -> list[Prepared]:
        """The files of an entry that were not counted before and can be recorded; the rest is reported."""
        settled = []
        for file in _files_of(entry):
            if file.is_counted:
                continue
            file.is_counted = True
            outcome = file.future.result()
            if isinstance(outcome, Prepared):
                settled.append(outcome)
            else:
                self._report_failure(outcome)
        return settled

    def _report_failure(self, failed: Failed) -> None:
        source = failed.item.source
        path = source if isinstance(source, Path) else Path(failed.item.name)
        if failed.is_damaged:
            damage = DamageItem(path=path, reason=failed.reason)
            self._report.quarantined.append(self._quarantine.take(damage, self._db.clock()))
        else:
            self._report.refused.append(Trouble(path, failed.reason))

    def _record(self, prepared: list[Prepared], pending: list[_PendingEvent]) -> None:
        origin = Origin(registered_at=utc_datetime_to_milliseconds(self._db.clock()))
        checked = [(_new_event(entry), entry.item.event_id) for entry in pending]

        def operation(connection: Connection) -> tuple[set[UUID], set[UUID], int]:
            fresh = {file.file_id: file for file in prepared if not file.is_present}
            held = files.content_rows_of(connection, fresh)
            stored = fresh.keys() - held.keys()
            _insert_files(connection, [fresh[file_id] for file_id in fresh if file_id in stored], origin)
            for row in held.values():
                if row.is_corrupt:
                    contents.mark_corrupt(connection, row.file_id, False, origin.registered_at)
            return stored, set(held), sum(_insert_event(connection, *each, origin) for each in checked)

        stored, restored, stored_events = (
            self._db.transactions.write(operation) if prepared or checked else (set(), set(), 0)
        )
        self._count(prepared, stored, restored)
        self._report.events += stored_events
        self._report.events_present += len(checked) - stored_events
        if self._move:
            for file in prepared:
                if isinstance(file.item.source, Path):
                    (self._marks if file.item.is_mark else self._sources).append(file.item.source)
            if not self._of_events:  # else an event that is not recorded yet may need them
                self._remove_sources()

    def _remove_sources(self) -> None:
        _remove(self._sources)
        self._sources.clear()

    def _count(self, prepared: list[Prepared], stored: set[UUID], restored: set[UUID]) -> None:
        report = self._report
        for file in prepared:
            report.cameras.add(file.item.camera_id)
            if file.file_id in stored:
                stored.discard(file.file_id)  # the same file may lie in the folder twice
                report.files += 1
                report.bytes += file.facts.size
                continue
            report.files_present += 1
            if file.file_id in restored:
                restored.discard(file.file_id)
                report.files_restored += 1


def _remove(sources: Iterable[Path]) -> None:
    for path in sources:
        contents.remove_source(path)


def _files_of(entry: _Entry) -> tuple[_PendingFile, ...]:
    return (entry,) if isinstance(entry, _PendingFile) else entry.files


def _new_event(entry: _PendingEvent) -> NewEvent:
    outcomes = [file.future.result() for file in entry.files]
    return NewEvent(
        camera_id=entry.item.camera_id,
        event_time=entry.item.event_time,
        event_type=entry.item.event_type,
        file_ids=[outcome.file_id for outcome in outcomes if isinstance(outcome, Prepared)],
        metas=entry.item.meta,
    )


def _insert_files(connection: Connection, prepared: list[Prepared], origin: Origin) -> None:
    keys: dict[str, StatusKey | None] = {}
    for camera_id in {file.checked.camera_id for file in prepared}:
        times = [file.checked.time for file in prepared if file.checked.camera_id == camera_id]
        earliest = statuses.key_at(connection, camera_id, min(times))
        # In force at both ends, a status is in force between them.
        keys[camera_id] = earliest if earliest == statuses.key_at(connection, camera_id, max(times)) else None
    files.insert_files(
        connection,
        [
            (
                file.checked,
                keys[file.checked.camera_id]
                or statuses.require_key_at(connection, file.checked.camera_id, file.checked.time),
                file.facts,
            )
            for file in prepared
        ],
        origin,
    )


def _insert_event(connection: Connection, new: NewEvent, event_id: UUID, origin: Origin) -> bool:
    if events.pk_of(connection, event_id) is not None:
        return False
    checked = events.check_event(new, event_id)
    status = statuses.require_key_at(connection, checked.camera_id, checked.time)
    events.insert_event(connection, checked, status, origin)
    return True
