"""Importing an original, from its oldest record to its newest.

Accounts, statuses and export configurations come first, since the rest refers to them; then files, then
events, each page with what is known of its exports; high water marks last. Whatever stops the process,
repeating the import completes it and adds nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from meteorpi_db.accounts import users
from meteorpi_db.exporting import exports
from meteorpi_db.filestore import ContentFacts
from meteorpi_db.original import report as kinds
from meteorpi_db.original import rows, taking
from meteorpi_db.original.contents import Expected, OriginalContents
from meteorpi_db.original.relations import Relations
from meteorpi_db.original.report import OriginalReport
from meteorpi_db.original.source import OriginalDatabase, OriginalRow, open_original
from meteorpi_db.original.taking import Outcome, TakenEvent, TakenFile
from meteorpi_db.records import events, files, imports
from meteorpi_db.sql_builder import EVENTS, FILES
from meteorpi_model import milliseconds_to_utc_datetime, utc_datetime_to_milliseconds
from meteorpi_model.errors import InvalidDocumentError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

logger = logging.getLogger("meteorpi.db.original")

WORKERS = 4
"""Contents taken over at the same time."""

Progress = Callable[[int, int], object]
"""Called with the numbers of files and events looked at so far and in all."""

_TABLES = {
    kinds.USERS: ("t_user",),
    kinds.STATUSES: ("t_camerastatus",),
    kinds.FILES: ("t_file",),
    kinds.EVENTS: ("t_event",),
    kinds.EXPORTS: ("t_exportconfig",),
    kinds.TASKS: ("t_fileexport", "t_eventexport"),
    kinds.MARKS: ("t_highwatermark",),
}
_IDENTITIES = {
    kinds.STATUSES: "statusid",
    kinds.FILES: "fileid",
    kinds.EVENTS: "eventid",
    kinds.EXPORTS: "exportconfigid",
}


def import_original(
    db: MeteorDatabase,
    db_path: str | Path,
    file_store_path: str | Path,
    user: str | None = None,
    password: str | None = None,
    *,
    may_link: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> OriginalReport:
    """Take all records and contents of a first-generation node.

    Args:
        db: where to.
        db_path: its Firebird database: a DSN, or a file that ends in ``.fdb``.
        file_store_path: its directory of contents; only read.
        user: account at its Firebird server.
        password: its password.
        may_link: share contents by hard links where both stores are on one file system.
        dry_run: only count, and look which contents are there.
        progress: told while it goes on.

    Returns:
        What was done, and what could not be taken, which does not stop the rest.

    Raises:
        InvalidDocumentError: `db_path` or `file_store_path` is not what it should be (a ``ValueError``).
        NotFoundError: there is no such database.
        ConfigurationError: the extra ``firebird`` is not installed, or the server refuses the user.
        StoreFullError, UnavailableError: this node, or the original, cannot go on; repeat later.
    """
    contents = OriginalContents(Path(file_store_path), db.store, may_link=may_link)
    with open_original(db_path, user, password) as source:
        work = OriginalImport(db, source, contents, progress)
        return work.look() if dry_run else work.run()


class OriginalImport:
    """One run.

    Args:
        db: where to.
        source: the database of the original.
        contents: its contents.
        progress: told while it goes on.
    """

    def __init__(
        self,
        db: MeteorDatabase,
        source: OriginalDatabase,
        contents: OriginalContents,
        progress: Progress | None = None,
    ) -> None:
        self._db = db
        self._source = source
        self._contents = contents
        self._progress = progress
        self._now = utc_datetime_to_milliseconds(db.clock())
        self._report = OriginalReport()
        self._relations = Relations(source, self._now)
        self._repeated: set[UUID] = set()
        self._met: set[UUID] = set()
        self._done = 0

    def look(self) -> OriginalReport:
        """Count what there is, and note which contents are missing."""
        self._report.is_dry_run = True
        self._count()
        for page in self._source.pages("t_file"):
            for row in page:
                with self._troubles(kinds.FILES, rows.hex_of(row, "fileid")):
                    size = self._contents.size_of(rows.identity(row, "fileid"))
                    if size is None:
                        raise InvalidDocumentError("its content is missing")
                    self._report.size_bytes += size
            self._advance(len(page))
        return self._report

    def run(self) -> OriginalReport:
        """Take everything that can be taken."""
        self._count()
        self._take_users()
        self._take_statuses()
        self._take_exports()
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="meteorpi-original") as threads:
            for page in self._source.pages("t_file"):
                self._take_files(page, threads)
                self._advance(len(page))
        for page in self._source.pages("t_event"):
            self._take_events(page)
            self._advance(len(page))
        self._take_marks()
        logger.info(
            "original imported %s troubles=%d",
            " ".join(f"{kind}={counts.taken}" for kind, counts in self._report.counts.items()),
            len(self._report.troubles),
        )
        return self._report

    def _count(self) -> None:
        for kind, names in _TABLES.items():
            self._report.counts[kind].found = sum(self._source.count(name) for name in names)
        for kind, column in _IDENTITIES.items():
            (table,) = _TABLES[kind]
            for stored in self._source.repeated(table, column) if self._source.has(table) else []:
                self._report.note(kind, stored.hex(), "several rows have this id: the first one counts")
                self._repeated.update({UUID(bytes=stored)} if len(stored) == 16 else ())

    def _advance(self, entities: int) -> None:
        self._done += entities
        if self._progress is not None:
            counts = self._report.counts
            self._progress(self._done, counts[kinds.FILES].found + counts[kinds.EVENTS].found)

    @contextmanager
    def _troubles(self, kind: str, identity: str) -> Iterator[Callable[[str], None]]:
        """Note what cannot be read inside the block, and go on behind it; gives what notes parts of it."""
        try:
            yield lambda reason: self._report.note(kind, identity, reason)
        except InvalidDocumentError as error:
            self._report.note(kind, identity, error.detail)

    def _tally(self, kind: str, is_new: bool) -> None:
        counts = self._report.counts[kind]
        counts.taken += is_new
        counts.present += not is_new

    def _take_users(self) -> None:
        for row in self._source.rows("t_user"):
            with self._troubles(kinds.USERS, str(row["userid"])):
                add = partial(
                    users.add_with_hash,
                    user_id=row["userid"],
                    password_hash=row["pwhash"] or "",
                    role_mask=row["rolemask"] or 0,
                    now=self._now,
                )
                self._tally(kinds.USERS, self._db.transactions.write(add))

    def _take_statuses(self) -> None:
        for page in self._source.pages("t_camerastatus"):
            keys = [row["internalid"] for row in page]
            points = self._source.referring("t_visibleregions", "t_camerastatus", keys)
            for row in page:
                with self._troubles(kinds.STATUSES, rows.hex_of(row, "statusid")) as complain:
                    status = rows.status_of(row, points[row["internalid"]], complain)
                    add = partial(imports.import_status, status=status)
                    self._tally(kinds.STATUSES, self._db.transactions.write(add))
                    self._relations.status_ids[row["internalid"]] = rows.identity(row, "statusid")

    def _take_exports(self) -> None:
        box = self._db.secret_box
        for page in self._source.pages("t_exportconfig"):
            for row in page:
                with self._troubles(kinds.EXPORTS, rows.hex_of(row, "exportconfigid")):
                    config, config_id = rows.export_of(row), rows.identity(row, "exportconfigid")
                    add = partial(exports.add_with_id, box=box, config=config, config_id=config_id)
                    self._tally(kinds.EXPORTS, self._db.transactions.write(add))
                    self._relations.config_ids[row["internalid"]] = config_id

    def _take_files(self, page: Sequence[OriginalRow], threads: ThreadPoolExecutor) -> None:
        keys = [row["internalid"] for row in page]
        metas = self._source.referring("t_filemeta", "t_file", keys)
        received = self._source.referring("t_fileimport", "t_file", keys)
        held = self._held_files(page)
        readable: list[tuple[OriginalRow, files.CheckedFile]] = []
        for row in page:
            with self._troubles(kinds.FILES, rows.hex_of(row, "fileid")) as complain:
                file_id = rows.identity(row, "fileid")
                if file_id in held:
                    self._tally(kinds.FILES, is_new=False)
                    continue
                items = rows.metas_of(metas[row["internalid"]], complain)
                readable.append((row, files.check_file(rows.file_of(row, items), file_id, row["cameraid"])))
        found = threads.map(self._contents.take, [_expected(row, file.file_id) for row, file in readable])
        ready = []
        for (row, checked), facts in zip(readable, found, strict=True):
            if isinstance(facts, ContentFacts):
                origin = self._relations.origin(received[row["internalid"]])
                ready.append(TakenFile(checked, facts, self._relations.status_of(row), origin))
            else:
                self._report.note(kinds.FILES, checked.file_id.hex, facts)
        tasks = self._relations.tasks(page, "file")
        outcome, sent = self._db.transactions.write(
            lambda c: (taking.record_files(c, ready), taking.record_tasks(c, FILES, tasks))
        )
        self._settle(kinds.FILES, [each.checked.file_id for each in ready], outcome)
        self._settle_tasks(sent)
        self._report.size_bytes += sum(
            each.facts.size for each in ready if each.checked.file_id in outcome.taken
        )

    def _take_events(self, page: Sequence[OriginalRow]) -> None:
        keys = [row["internalid"] for row in page]
        metas = self._source.referring("t_eventmeta", "t_event", keys)
        received = self._source.referring("t_eventimport", "t_event", keys)
        shown = self._relations.files_of_events(keys)
        ready = []
        for row in page:
            with self._troubles(kinds.EVENTS, rows.hex_of(row, "eventid")) as complain:
                event_id = rows.identity(row, "eventid")
                if event_id in self._repeated and self._is_met(event_id):
                    continue
                new = rows.event_of(row, rows.metas_of(metas[row["internalid"]], complain))
                checked = events.check_event(new, event_id)
                origin = self._relations.origin(received[row["internalid"]])
                ready.append(
                    TakenEvent(
                        checked, shown.get(row["internalid"], []), self._relations.status_of(row), origin
                    )
                )
        tasks = self._relations.tasks(page, "event")
        outcome, sent = self._db.transactions.write(
            lambda c: (taking.record_events(c, ready), taking.record_tasks(c, EVENTS, tasks))
        )
        self._settle(kinds.EVENTS, [each.checked.event_id for each in ready], outcome)
        self._settle_tasks(sent)

    def _is_met(self, event_id: UUID) -> bool:
        """Whether an event whose id several rows have was met before in this run."""
        is_met = event_id in self._met
        self._met.add(event_id)
        return is_met

    def _take_marks(self) -> None:
        for row in self._source.rows("t_highwatermark"):
            with self._troubles(kinds.MARKS, str(row["cameraid"])):
                mark = milliseconds_to_utc_datetime(row["mark"])
                if mark is None:
                    raise InvalidDocumentError("it has no time")
                before = self._db.get_high_water_mark(row["cameraid"])
                self._db.set_high_water_mark(mark, row["cameraid"], allow_rollback=False)
                self._tally(kinds.MARKS, is_new=before is None or before < mark)

    def _held_files(self, page: Sequence[OriginalRow]) -> set[UUID]:
        ids = filter(None, (rows.known_identity(row, "fileid") for row in page))
        with self._db.transactions.reading() as connection:
            return files.held_ids(connection, ids)

    def _settle(self, kind: str, ids: Sequence[UUID], outcome: Outcome) -> None:
        for entity_id, reason in outcome.reasons:
            self._report.note(kind, entity_id.hex, reason)
        counts = self._report.counts[kind]
        counts.taken += len(outcome.taken)
        troubled = {entity_id for entity_id, _ in outcome.reasons}
        counts.present += len(set(ids) - outcome.taken - troubled)

    def _settle_tasks(self, outcome: tuple[int, int]) -> None:
        counts = self._report.counts[kinds.TASKS]
        counts.taken += outcome[0]
        counts.present += outcome[1]


def _expected(row: OriginalRow, file_id: UUID) -> Expected:
    return Expected(file_id, (row["md5hex"] or "").strip().lower(), row["filesize"] or 0)
