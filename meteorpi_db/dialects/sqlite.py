"""SQLite: the embedded default; no server, no system package.

A write-ahead log lets readers go on while one writer writes. The settings are explained and measured in
docs/decisions/0004-sqlite-settings.md.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, ExceptionContext, Table, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

from meteorpi_db.dialects.base import (
    Backend,
    ConstraintError,
    DuplicateKeyError,
    TransactionConflictError,
    insert_with_on_conflict,
)
from meteorpi_db.dialects.file_locks import directory_lock
from meteorpi_model.errors import MeteorError, StoreFullError, UnavailableError

BUSY_TIMEOUT_SECONDS = 30
WAL_PAUSE_SECONDS = 0.01
CACHE_KIB = 8192
JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
_WRITING = "sqlite_writing"

_PRIMARY_CODE = 0xFF  # the low byte of an extended result code
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DUPLICATE_CODES = {
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
}
_UNREADABLE_CODES = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
}


class SqliteBackend(Backend):
    """A database in one file, used by any number of threads and processes of one machine."""

    name = "sqlite"
    in_list_limit = 30_000
    reading_options: ClassVar[Mapping[str, Any]] = {_WRITING: False}
    writing_options: ClassVar[Mapping[str, Any]] = {_WRITING: True}
    schema_options = writing_options

    @property
    def embedded_path(self) -> Path:
        """The database file."""
        return Path(str(self.url.database))

    def engine_arguments(self) -> dict[str, Any]:
        """Leave transactions to us: the driver's own habit is to begin them late, and never for reading."""
        return {
            "connect_args": {
                "isolation_level": None,
                "check_same_thread": False,
                "timeout": BUSY_TIMEOUT_SECONDS,
            }
        }

    def install(self, engine: Engine) -> None:
        """Set every connection up, and begin transactions as reading or writing."""
        event.listen(engine, "connect", _set_up_connection)
        event.listen(engine, "begin", _begin)

    def translate(self, context: ExceptionContext) -> MeteorError | None:
        """By the result codes of sqlite.org/rescode.html."""
        error = context.original_exception
        if not isinstance(error, sqlite3.Error):
            return None
        if isinstance(error, sqlite3.IntegrityError):
            return _broken_rule(error)
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
        if code in _BUSY_CODES:
            return TransactionConflictError(f"the database is in use by another process: {error}")
        if code == sqlite3.SQLITE_FULL:
            return StoreFullError("the disk that holds the database is full")
        if code in _UNREADABLE_CODES:
            return UnavailableError(f"the database file cannot be used: {error}")
        return None

    def exists(self) -> bool:
        """Whether the file is there; SQLite makes it with the first connection."""
        return self.embedded_path.exists()

    def create(self) -> None:
        """Make the directories; the file follows by itself."""
        self.embedded_path.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def schema_lock(self, engine: Engine) -> Iterator[None]:
        """A lock on the directory."""
        with directory_lock(self.embedded_path.parent):
            yield

    def back_up(self, engine: Engine, target: Path) -> None:
        """Copy page by page while others read and write (sqlite.org/backup.html)."""
        with closing(sqlite3.connect(self.embedded_path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)

    def insert_ignore(self, connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
        """By ON CONFLICT DO NOTHING."""
        return insert_with_on_conflict(connection, table, values)

    def add_column_clause(self) -> str:
        """As the standard has it."""
        return "ADD COLUMN"

    def advance_identity(self, connection: Connection, table: Table, highest: int) -> None:
        """Nothing to do: SQLite gives one more than the highest number that is there."""

    def refresh_statistics(self, connection: Connection) -> None:
        """Sample each index; a full scan of a million rows would not plan better."""
        connection.exec_driver_sql("PRAGMA analysis_limit=1000")
        connection.exec_driver_sql("ANALYZE")


def _broken_rule(error: sqlite3.IntegrityError) -> ConstraintError:
    kind = DuplicateKeyError if error.sqlite_errorcode in _DUPLICATE_CODES else ConstraintError
    return kind(f"a row breaks a rule of the schema: {error}")


def _set_up_connection(dbapi_connection: DBAPIConnection, _record: object) -> None:
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() != ("wal",):
            _start_write_ahead_log(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        cursor.execute(f"PRAGMA journal_size_limit={JOURNAL_LIMIT_BYTES}")
    finally:
        cursor.close()


def _start_write_ahead_log(cursor: DBAPICursor) -> None:
    """Change the mode of the file, once in its life; SQLite does not wait by itself if others do so too."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _BUSY_CODES or time.monotonic() > deadline:
                raise
            time.sleep(WAL_PAUSE_SECONDS)
        else:
            return


def _begin(connection: Connection) -> None:
    """Take the write lock at once, so that no transaction finds out at its end that it came too late."""
    writing = connection.get_execution_options().get(_WRITING, True)
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writing else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
