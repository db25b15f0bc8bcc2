"""Rows and contents together: in which order they come and go, so that no crash can lose either silently.

Coming: the content is complete and durable in the store, then one transaction makes the record visible,
then the source goes. Going: one transaction takes the record away, then the content goes. A process that
dies in between leaves a content without a record, which nobody sees and :mod:`meteorpi_db.integrity` sweeps;
a record without its content it never leaves.

Source: S-150 and S-151 of the storage contract, B-15.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, update

from meteorpi_db import tables
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore.base import FileStore
from meteorpi_db.filestore.hashing import ContentFacts
from meteorpi_db.records import files, statuses
from meteorpi_db.records.files import CheckedFile, ContentRow, Origin
from meteorpi_model import FileRecord
from meteorpi_model.errors import ConflictError, InvalidDocumentError, MeteorError, NotFoundError

logger = logging.getLogger("meteorpi.db.contents")

PutContent = Callable[[], ContentFacts]
"""Puts a content into the store and gives its facts."""


@dataclass(frozen=True)
class Registration:
    """One file that is going to be registered.

    Attributes:
        checked: what to record.
        put: stores the content; safe to be called when it is stored already.
    """

    checked: CheckedFile
    put: PutContent


def register(
    transactions: Transactions, store: FileStore, registrations: Sequence[Registration], origin: Origin
) -> list[FileRecord]:
    """Store contents and their records, all in one transaction.

    A record that is held already with the same content is left as it is and given back.

    Raises:
        UnknownStatusError: a camera had no status at that time; nothing is stored.
        ConflictError: a record is held under the same id with other content.
    """
    with transactions.reading() as connection:
        for registration in registrations:
            _require_place(connection, registration.checked)
    put: list[tuple[CheckedFile, ContentFacts]] = []
    try:
        for registration in registrations:
            put.append((registration.checked, registration.put()))
        return transactions.write(lambda connection: [_record(connection, *item, origin) for item in put])
    except BaseException:
        discard_unrecorded(transactions, store, [checked.file_id for checked, _ in put])
        raise


def _require_place(connection: Connection, checked: CheckedFile) -> None:
    if files.pk_of(connection, checked.file_id) is None:
        statuses.require_key_at(connection, checked.camera_id, checked.time)


def _record(connection: Connection, checked: CheckedFile, facts: ContentFacts, origin: Origin) -> FileRecord:
    held = files.content_row(connection, checked.file_id)
    if held is None:
        status = statuses.require_key_at(connection, checked.camera_id, checked.time)
        files.insert_file(connection, checked, status, facts, origin)
        return files.record_of(checked, status, facts)
    if held.facts.sha256 != facts.sha256:
        raise ConflictError(
            f"file {checked.file_id.hex} is held with other content", entity_id=checked.file_id
        )
    record = files.file_by_id(connection, checked.file_id)
    if record is None:
        raise NotFoundError("the file was deleted meanwhile", entity_id=checked.file_id)
    return record


def require_source(path: Path) -> Path:
    """`path` if it is a readable regular file; `InvalidDocumentError` (a ``ValueError``) otherwise."""
    if not path.is_file():
        raise InvalidDocumentError(f"there is no file {path}", path=str(path))
    return path


def remove_source(path: Path) -> None:
    """Remove a file that has been registered; what cannot be removed is logged, since nothing is lost."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("source of a registered file stays path=%s reason=%s", path, error)


def discard_unrecorded(transactions: Transactions, store: FileStore, file_ids: Iterable[UUID]) -> None:
    """Remove contents that have no record; with a database that cannot tell they wait for the sweep."""
    for file_id in file_ids:
        try:
            with transactions.reading() as connection:
                is_recorded = files.pk_of(connection, file_id) is not None
            if not is_recorded:
                store.delete(file_id)
        except MeteorError as error:
            logger.warning("content without record is left file_id=%s reason=%s", file_id.hex, error)


def remove_contents(store: FileStore, file_ids: Iterable[UUID]) -> None:
    """Remove contents whose records are gone; what fails waits for the sweep."""
    for file_id in file_ids:
        try:
            store.delete(file_id)
        except MeteorError as error:
            logger.warning("content of a deleted record is left file_id=%s reason=%s", file_id.hex, error)


def mark_corrupt(connection: Connection, file_id: UUID, is_corrupt: bool, verified_at: int) -> bool:
    """Note whether the content of a record can be trusted; False when the record is not held."""
    record = tables.file_record
    statement = update(record).where(record.c.file_id == file_id)
    values = {"is_corrupt": is_corrupt, "verified_at": verified_at}
    return connection.execute(statement.values(values)).rowcount == 1


def bring_back(store: FileStore, row: ContentRow, source: str | Path | Iterable[bytes]) -> None:
    """Replace a content that is missing or damaged.

    Raises:
        DigestMismatchError: `source` is not the recorded content; the damaged one is gone all the same.
    """
    digests = {"md5": row.facts.md5, "sha256": row.facts.sha256}
    store.delete(row.file_id)
    if isinstance(source, str | Path):
        store.put_file(row.file_id, source, move=False, size=row.facts.size, digests=digests)
    else:
        store.put(row.file_id, source, size=row.facts.size, digests=digests)
