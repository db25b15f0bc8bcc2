"""Restoring a snapshot into an empty node: contents first, then all records in one transaction.

A node that is killed in between has contents without records and no record at all, so the restore is simply
repeated; contents that are there already are compared and left. Records become visible together, when
everything that they name is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, MetaData, Table

from meteorpi_db.backup.adjusting import Adjustments, adjust, ids
from meteorpi_db.backup.checking import CheckReport, check_snapshot
from meteorpi_db.backup.contents_list import ContentLine, read_contents
from meteorpi_db.backup.gathering import WORKERS
from meteorpi_db.backup.loading import fill
from meteorpi_db.backup.making import Node
from meteorpi_db.backup.manifest import CONTENTS_PART, KEY_FILE, Manifest, part_of_table, read_manifest
from meteorpi_db.backup.parts import backup_errors, read_lines
from meteorpi_db.backup.repository import Repository
from meteorpi_db.backup.rows import Values, row_reader
from meteorpi_db.backup.shape import metadata_from
from meteorpi_db.backup.targets import require_fit_database, require_fit_key, require_fit_store, write_key
from meteorpi_db.dialects import refresh_statistics
from meteorpi_db.integrity import Verifier, VerifyPlan, VerifyReport
from meteorpi_db.migrations import SCHEMA, Schema, ensure_schema
from meteorpi_db.migrations.history import FIRST_VERSION
from meteorpi_db.stores import NodeStores
from meteorpi_model.errors import (
    BackupDamagedError,
    ConflictError,
    DigestMismatchError,
    MeteorError,
    SchemaVersionError,
)

logger = logging.getLogger("meteorpi.db.backup")

Progress = Callable[[str, int, int], object]
"""Called with what is done (``check``, ``contents``, ``rows``, ``verify``), how far it is, and the whole."""

REQUIRED = frozenset({"file_record", "event", "export_config"})
"""Tables without which there is no node."""

_NAMED = 5  # damaged things that a message names


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How to restore.

    Attributes:
        keep_exports: leave exports enabled. Otherwise they are disabled, so that a copy does not push beside
            the node that it was copied from.
        partial: restore what there is, although contents are missing from the backup or damaged in it.
    """

    keep_exports: bool = False
    partial: bool = False


@dataclass(frozen=True, kw_only=True)
class RestoreReport:
    """What was restored, and how it is.

    Attributes:
        name: of the snapshot.
        rows: of all tables.
        contents: contents of records.
        installation_id: camera id of the node that was backed up.
        exports_disabled: export configurations that were enabled and are not any more.
        has_key: the key that protects stored passwords came along.
        lost: records whose content is not in the backup.
        verified: what ``verify --deep`` says about the node now.
    """

    name: str
    rows: int
    contents: int
    installation_id: str
    exports_disabled: int
    has_key: bool
    lost: tuple[UUID, ...]
    verified: VerifyReport = field(repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether every record has its content."""
        return self.verified.is_clean and not self.lost

    def as_dict(self) -> dict[str, object]:
        """For people and scripts."""
        facts = {name: value for name, value in vars(self).items() if name not in ("lost", "verified")}
        found = self.verified
        wrong = {"missing": len(found.missing), "torn": len(found.torn), "orphaned": len(found.orphaned)}
        return facts | {"lost": [file_id.hex for file_id in self.lost]} | wrong | {"clean": self.is_complete}


def restore(
    node: Node,
    repository: Repository,
    now: datetime,
    *,
    wanted: str | None = None,
    options: RestoreOptions | None = None,
    progress: Progress | None = None,
    schema: Schema = SCHEMA,
) -> RestoreReport:
    """Restore a snapshot into a node that has no records.

    Args:
        node: where to. Its database may be missing, or have the schema of the backup and no rows; its store
            may hold nothing but contents of this very snapshot.
        repository: where from.
        now: the present.
        wanted: name of the snapshot, or how it begins; None for the newest.
        options: how.
        progress: told how far it is.
        schema: what the database is carried forward to.

    Raises:
        BackupDamagedError: the backup is not what was written; nothing was changed.
        ConflictError: the node is not empty; nothing was changed.
        SchemaVersionError: the backup is of a newer schema than this software knows; nothing was changed.
        NotFoundError: there is no such backup.
    """
    job = _Job(node, repository, schema, options or RestoreOptions(), progress)
    with repository.locked(shared=True):
        return job.run(repository.find(wanted), now)


class _Job:
    """One restore."""

    def __init__(
        self,
        node: Node,
        repository: Repository,
        schema: Schema,
        options: RestoreOptions,
        progress: Progress | None,
    ) -> None:
        self._node = node
        self._repository = repository
        self._schema = schema
        self._options = options
        self._progress = progress

    def run(self, snapshot: Path, now: datetime) -> RestoreReport:
        manifest = read_manifest(snapshot)
        shapes_of(manifest)  # whether they can be read
        schema = schema_of(manifest, self._schema)
        require_fit_database(self._node.transactions, schema, self._schema)
        require_fit_key(self._node.key_file, _key_of(snapshot, manifest))
        require_fit_store(self._node.store, snapshot / CONTENTS_PART)
        self._require_sound(check_snapshot(self._repository, snapshot, self._told("check")))
        restored, lost = self._restore_contents(snapshot, manifest)
        key = _key_of(snapshot, manifest)
        if key is not None and self._node.key_file is not None:
            write_key(self._node.key_file, key)
        disabled = self._load(snapshot, manifest, schema, lost)
        [place] = NodeStores(self._node.store).places()
        verifier = Verifier(self._node.transactions, place, now, VerifyPlan(deep=True))
        return RestoreReport(
            name=snapshot.name,
            rows=sum(facts.rows for facts in manifest.tables.values()),
            contents=restored,
            installation_id=manifest.installation_id,
            exports_disabled=disabled,
            has_key=key is not None and self._node.key_file is not None,
            lost=tuple(lost),
            verified=verifier.run(self._told("verify")),
        )

    def _told(self, what: str) -> Callable[[int, int], object] | None:
        progress = self._progress
        return None if progress is None else lambda done, total: progress(what, done, total)

    def _require_sound(self, report: CheckReport) -> None:
        if report.is_sound or (self._options.partial and not report.damaged_parts):
            return
        found = [*report.damaged_parts, *report.missing, *report.damaged]
        named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if found[_NAMED:] else "")
        advice = "" if report.damaged_parts else "; --partial restores all the others"
        raise BackupDamagedError(f"the backup {report.name} is damaged: {named}{advice}")

    def _restore_contents(self, snapshot: Path, manifest: Manifest) -> tuple[int, list[UUID]]:
        """Put every content into the store; their number, and the records whose content is not there."""
        dropped = set(ids(manifest.dropped_files))
        wanted = (line for line in read_contents(snapshot / CONTENTS_PART) if line.file_id not in dropped)
        self._node.store.prepare()
        total, count, lost = manifest.contents.rows, 0, list[UUID]()
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="meteorpi-restore") as pool:
            while page := list(islice(wanted, 4 * WORKERS)):
                for line, is_there in zip(page, pool.map(self._put, page), strict=True):
                    count += is_there
                    if not is_there:
                        lost.append(line.file_id)
                if self._progress is not None:
                    self._progress("contents", count + len(lost), total)
        return count, lost

    def _put(self, line: ContentLine) -> bool:
        depot, store = self._repository.depot, self._node.store
        if not depot.holds(line.sha256, line.size):
            return False
        if store.stat(line.file_id) is not None:
            if store.digests_of(line.file_id).sha256 != line.sha256:
                raise ConflictError("the file store has other bytes", entity_id=line.file_id)
            return True
        digests = {"sha256": line.sha256}
        path = depot.path(line.sha256)
        try:
            store.put_file(line.file_id, path, move=False, size=line.size, digests=digests)
        except DigestMismatchError:
            return False
        return True

    def _load(self, snapshot: Path, manifest: Manifest, schema: Schema, lost: list[UUID]) -> int:
        transactions, metadata = self._node.transactions, shapes_of(manifest)
        tables = [table for table in metadata.sorted_tables if table.name in manifest.tables]
        ensure_schema(transactions, create=True, schema=schema)
        adjustments = Adjustments(
            dropped_files=list(ids(manifest.dropped_files)),
            dropped_events=list(ids(manifest.dropped_events)),
            lost_files=lost,
            disables_exports=not self._options.keep_exports,
        )

        def operation(connection: Connection) -> int:
            counter = _RowCounter(sum(facts.rows for facts in manifest.tables.values()), self._told("rows"))
            loaded = fill(connection, tables, lambda table: _rows(snapshot, table), counter.advance)
            for name, digest in loaded.items():
                if digest.hexadecimal != manifest.tables[name].digest:
                    raise MeteorError(f"the rows of {name} are not those of the backup")
            return adjust(connection, metadata, adjustments)

        disabled = transactions.write(operation)
        change = ensure_schema(transactions, schema=self._schema)
        if change.backup is not None:
            change.backup.unlink()  # the backup that is being restored is that copy
        transactions.write(refresh_statistics)
        logger.info("backup restored name=%s schema_version=%d", snapshot.name, change.after)
        return disabled


class _RowCounter:
    """Adds up rows for whoever wants to know."""

    def __init__(self, total: int, told: Callable[[int, int], object] | None) -> None:
        self._total = total
        self._told = told
        self._done = 0

    def advance(self, rows: int) -> None:
        """`rows` more are done."""
        self._done += rows
        if self._told is not None:
            self._told(self._done, self._total)


def shapes_of(manifest: Manifest) -> MetaData:
    """The tables as they were when the backup was made."""
    try:
        metadata = metadata_from(manifest.shapes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupDamagedError("the shapes of the tables in the backup cannot be read") from error
    if not REQUIRED <= set(manifest.tables) <= set(metadata.tables):
        raise BackupDamagedError("the backup has no tables, or rows of tables that it does not describe")
    return metadata


def schema_of(manifest: Manifest, present: Schema) -> Schema:
    """The schema that the backup was made of.

    Raises:
        SchemaVersionError: it is newer than `present`.
    """
    if manifest.schema_version > present.version:
        raise SchemaVersionError(
            f"the backup has schema version {manifest.schema_version}, but this software knows only versions"
            f" up to {present.version}: install the software that made it, or newer"
        )
    if manifest.schema_version == present.version:
        return present
    steps = present.steps[: manifest.schema_version - FIRST_VERSION]
    return Schema(shapes_of(manifest), steps)


def _key_of(snapshot: Path, manifest: Manifest) -> bytes | None:
    if manifest.key_sha256 is None:
        return None
    with backup_errors("read the key"):
        try:
            return (snapshot / KEY_FILE).read_bytes()
        except FileNotFoundError as error:
            raise BackupDamagedError(f"the backup has no file {KEY_FILE}") from error


def _rows(snapshot: Path, table: Table) -> Iterator[Values]:
    read: Any = row_reader(table)
    for line in read_lines(part_of_table(snapshot, table.name)):
        yield read(line)
