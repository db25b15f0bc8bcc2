"""Where records and contents may be restored to: nothing that is there is ever overwritten or mixed."""

from __future__ import annotations

import os
import tempfile
from itertools import islice
from pathlib import Path

from meteorpi_db.backup.contents_list import read_contents
from meteorpi_db.backup.dumping import carried_tables
from meteorpi_db.backup.loading import require_empty
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore
from meteorpi_db.migrations import Schema, schema_version
from meteorpi_model.errors import ConfigurationError, ConflictError, MeteorError

_PAGE = 1000


def require_fit_database(transactions: Transactions, wanted: Schema, present: Schema) -> None:
    """Make sure that the database is missing, without tables, or without rows.

    Raises:
        ConflictError: it is not.
    """
    if not transactions.backend.exists():
        return
    with transactions.reading() as connection:
        version = schema_version(connection)
        if version == present.version:
            require_empty(connection, carried_tables(present.metadata))
    if version not in (0, wanted.version):
        raise ConflictError(
            f"the database has the tables of schema version {version}, but version {wanted.version} is"
            " needed: name a database without tables; it is carried forward afterwards"
        )


def require_fit_store(store: FileStore, contents_list: Path) -> None:
    """Make sure that nothing is in the store but what an interrupted restore of the same contents left.

    Raises:
        ConflictError: there is.
    """
    try:
        store.check()
    except MeteorError:
        return  # not made yet
    held = store.ids()
    first = list(islice(held, 1))
    if not first:
        return
    known = {line.file_id.bytes for line in read_contents(contents_list)}
    while page := [*first, *islice(held, _PAGE)]:
        first = []
        foreign = [file_id for file_id in page if file_id.bytes not in known]
        if foreign:
            raise ConflictError(
                f"the file store is not empty: it holds {foreign[0].hex}, which is not in the backup;"
                " name another directory"
            )


def require_fit_key(path: Path | None, key: bytes | None) -> None:
    """Make sure that no other key is where `key` would go.

    Raises:
        ConflictError: there is.
    """
    if key is not None and path is not None and path.exists() and path.read_bytes() != key:
        raise ConflictError(f"{path} holds another key: move it away")


def write_key(path: Path, key: bytes) -> None:
    """Write a key unless it is there, under a temporary name first, so that nobody reads half of it.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(key)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).rename(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"the key cannot be written to {path}: {error.strerror}") from error


def carry_key(used: Path | None, default: Path | None, other_default: Path | None) -> None:
    """Put the key where another database looks for it, unless a setting says where it is for any.

    Args:
        used: the key file of the present database.
        default: where it would be without a setting.
        other_default: where the other database looks without a setting.

    Raises:
        ConflictError: another key is there.
    """
    if used is None or used != default or other_default is None or not used.exists():
        return
    key = used.read_bytes()
    require_fit_key(other_default, key)
    write_key(other_default, key)
