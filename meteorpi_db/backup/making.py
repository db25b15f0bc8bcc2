"""Making a backup: the tables first, in one snapshot of the database, then the contents that they name.

In this order nothing that was acknowledged before the backup began can be left out: a content is durable
before its record is visible, and contents never change. Contents of records that are registered meanwhile
are not looked for, since their records are not in the snapshot.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

from meteorpi_db.backup.dumping import Dump, dump
from meteorpi_db.backup.gathering import Gathered, Gatherer, events_gone_with
from meteorpi_db.backup.manifest import CONTENTS_PART, KEY_FILE, MANIFEST, SUMS, Lost, Manifest
from meteorpi_db.backup.parts import write_file
from meteorpi_db.backup.repository import Repository
from meteorpi_db.backup.shape import describe_table
from meteorpi_db.blocks.holding import held
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FallbackFileStore, FileStore, LocalFileStore
from meteorpi_db.migrations import SCHEMA
from meteorpi_model.errors import BackupDamagedError, ConfigurationError, InvalidDocumentError
from meteorpi_model.values import utc_datetime_to_milliseconds

logger = logging.getLogger("meteorpi.db.backup")

Progress = Callable[[int, int], object]
"""Called with the bytes of content that are done, and of all."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What is backed up, or restored into.

    Attributes:
        transactions: the database.
        store: the contents.
        key_file: the key that protects stored passwords, whether it exists or not; None without a place.
        installation_id: camera id of the node.
    """

    transactions: Transactions
    store: FileStore
    key_file: Path | None
    installation_id: str


@dataclass(frozen=True, kw_only=True)
class BackupReport:
    """What a backup holds, and what it took to make it.

    Attributes:
        name: of the snapshot.
        rows: in all tables.
        contents, content_bytes: what the snapshot names.
        copied, copied_bytes: what the repository did not have before.
        has_key: the key that protects stored passwords is in it.
        lacking: records whose content is missing or damaged at the source, so that the backup lacks it too.
        dropped: number of records deleted while the backup was made; they will not be restored.
        removed: older snapshots that were removed.
        freed_bytes: of contents that no snapshot names any more.
        trouble: why contents were not removed; None when they were, or were not to be.
    """

    name: str
    rows: int
    contents: int
    content_bytes: int
    copied: int
    copied_bytes: int
    has_key: bool
    lacking: tuple[Lost, ...]
    dropped: int
    removed: tuple[str, ...] = ()
    freed_bytes: int = 0
    trouble: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is lacking."""
        return not self.lacking and self.trouble is None

    def as_dict(self) -> dict[str, object]:
        """For people and scripts."""
        facts = {name: value for name, value in vars(self).items() if name != "lacking"}
        lacking = [f"{found.file_id} ({found.finding})" for found in self.lacking]
        return facts | {"removed": list(self.removed), "lacking": lacking, "complete": self.is_complete}


def back_up(
    node: Node,
    repository: Repository,
    time: datetime,
    *,
    with_key: bool = True,
    keep: int | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Make a snapshot while the node is at work.

    Args:
        node: what to back up.
        repository: where to; made when missing.
        time: the present.
        with_key: also keep the key that protects stored passwords.
        keep: remove all but so many of the newest snapshots, and contents that none of them names.
        progress: told how far it is.

    Raises:
        InvalidDocumentError: the repository cannot be there, or `keep` is less than 1.
        StoreFullError: no room; older snapshots are untouched.
        UnavailableError: database, store or repository cannot be used, or another backup runs.
    """
    if keep is not None and keep < 1:
        raise InvalidDocumentError(f"at least one backup must be kept, not {keep}")
    _refuse_inside(node.store, repository)
    node.store.check()
    repository.prepare()
    with repository.locked(shared=False):
        repository.sweep()
        with repository.new_snapshot(time) as directory, held(node.transactions, time) as prolong:
            counter = _Counter(prolong, progress)
            manifest, gathered = _fill(node, repository, directory, time, with_key, counter)
        report = _report(repository.names()[-1], manifest, gathered)
        logger.info("backup made name=%s copied_bytes=%d", report.name, report.copied_bytes)
        return report if keep is None else _shrink(repository, report, keep)


def _refuse_inside(store: FileStore, repository: Repository) -> None:
    for root in _roots_of(store):
        if repository.path.resolve().is_relative_to(root.resolve()):
            raise InvalidDocumentError(
                "a backup inside the file store would be lost with it: name another place"
            )


def _roots_of(store: FileStore) -> Iterator[Path]:
    """The directories of a store, which may be several."""
    if isinstance(store, FallbackFileStore):
        yield from _roots_of(store.primary)
        yield from _roots_of(store.fallback)
    elif isinstance(store, LocalFileStore):
        yield store.root


def _fill(
    node: Node,
    repository: Repository,
    directory: Path,
    time: datetime,
    with_key: bool,
    counter: _Counter,
) -> tuple[Manifest, Gathered]:
    with node.transactions.reading() as connection:
        dumped = dump(connection, SCHEMA.metadata, directory, repository.disk)
    counter.total = dumped.content_bytes
    gatherer = Gatherer(node.transactions, node.store, repository.depot, counter.advance)
    gathered = gatherer.gather(directory / CONTENTS_PART)
    gone = events_gone_with(node.transactions, directory, gathered.dropped)
    manifest = replace(
        _manifest_of(node, dumped, time),
        key_sha256=_copy_key(node.key_file, repository, directory) if with_key else None,
        lacking=gathered.lacking,
        dropped_files=[file_id.hex for file_id in gathered.dropped],
        dropped_events=[event_id.hex for event_id in gone],
    )
    _write_manifest(manifest, repository, directory)
    return manifest, gathered


def _manifest_of(node: Node, dumped: Dump, time: datetime) -> Manifest:
    return Manifest(
        made_at=utc_datetime_to_milliseconds(time),
        software=version("meteorpi"),
        engine=node.transactions.backend.name,
        schema_version=SCHEMA.version,
        installation_id=node.installation_id,
        shapes={name: describe_table(table) for name, table in SCHEMA.metadata.tables.items()},
        key_sha256=None,
        lacking=[],
        dropped_files=[],
        dropped_events=[],
        **vars(dumped),
    )


def _copy_key(key_file: Path | None, repository: Repository, directory: Path) -> str | None:
    """Keep the key, which was made before the first password that it protects."""
    if key_file is None or not key_file.exists():
        return None
    try:
        key = key_file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the key that protects passwords of peers cannot be read: {key_file}: {error.strerror}"
        ) from error
    write_file(repository.disk, directory / KEY_FILE, [key])
    return hashlib.sha256(key).hexdigest()


def _write_manifest(manifest: Manifest, repository: Repository, directory: Path) -> None:
    text = manifest.to_text().encode()
    own_sum = f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n"
    write_file(repository.disk, directory / MANIFEST, [text])
    write_file(repository.disk, directory / SUMS, [(manifest.sums() + own_sum).encode("ascii")])


def _report(name: str, manifest: Manifest, gathered: Gathered) -> BackupReport:
    return BackupReport(
        name=name,
        rows=sum(facts.rows for facts in manifest.tables.values()),
        contents=manifest.content_count,
        content_bytes=manifest.content_bytes,
        copied=gathered.copied,
        copied_bytes=gathered.copied_bytes,
        has_key=manifest.key_sha256 is not None,
        lacking=tuple(manifest.lacking),
        dropped=len(manifest.dropped_files) + len(manifest.dropped_events),
    )


def _shrink(repository: Repository, report: BackupReport, keep: int) -> BackupReport:
    """Snapshots go first: a kill in between leaves contents without one, which the next time finds."""
    removed = tuple(repository.forget(keep))
    try:
        _, freed_bytes = repository.collect()
    except BackupDamagedError as error:
        return replace(report, removed=removed, trouble=error.detail)
    return replace(report, removed=removed, freed_bytes=freed_bytes)


class _Counter:
    """Adds up the progress of several threads, and prolongs the hold on contents where that is due."""

    def __init__(self, prolong: Callable[[], None], progress: Progress | None) -> None:
        self.total = 0
        self._prolong = prolong
        self._progress = progress
        self._done = 0
        self._lock = Lock()

    def advance(self, size: int) -> Any:
        """`size` bytes more are done."""
        with self._lock:
            self._prolong()
            self._done += size
            if self._progress is not None:
                self._progress(self._done, self.total)
