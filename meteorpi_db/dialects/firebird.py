"""Firebird 3 and later, on a server or embedded in this process, through fdb."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fdb
from fdb import services
from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    ExceptionContext,
    Executable,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    and_,
    event,
    insert,
    inspect,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.schema import CreateTable

from meteorpi_db.dialects import firebird_client, firebird_errors, firebird_fdb
from meteorpi_db.dialects.base import (
    ASCENDING,
    DESCENDING,
    Backend,
    DuplicateKeyError,
    TransactionConflictError,
    directions_of,
)
from meteorpi_db.dialects.file_locks import directory_lock
from meteorpi_db.dialects.firebird_fdb import IMPATIENT, SNAPSHOT, SNAPSHOT_READ_ONLY
from meteorpi_db.dialects.firebird_guard import claim
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, MeteorError

PAGE_SIZE = 16384  # an index key may take a quarter of a page
EMBEDDED_USER = "SYSDBA"  # the embedded engine asks nobody for a password
DESCENDING_SUFFIX = "_d"

_schema_lock = Table("schema_lock", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False))
_LOCK_ROW = 1
_SEQUENCE_OF_ID = text(
    "SELECT TRIM(rdb$generator_name) FROM rdb$relation_fields"
    " WHERE TRIM(rdb$relation_name) = UPPER(:table_name) AND rdb$field_name = 'ID'"
)
_ADVANCE = 'SELECT GEN_ID("{}", {}) FROM rdb$database'


class FirebirdBackend(Backend):
    """A Firebird database; embedded when the URL names no host."""

    name = "firebird"
    in_list_limit = 1400
    reading_options: ClassVar[Mapping[str, Any]] = {"isolation_level": SNAPSHOT_READ_ONLY}
    writing_options: ClassVar[Mapping[str, Any]] = {"isolation_level": SNAPSHOT}
    schema_options: ClassVar[Mapping[str, Any]] = {"isolation_level": IMPATIENT}
    schema_in_transaction = False

    def __init__(self, url: URL) -> None:
        firebird_fdb.register()
        if not url.host:
            if ":" in str(url.database):
                raise InvalidDocumentError(f"Firebird takes the colon in {url.database!r} for that of a host")
            url = url.set(username=EMBEDDED_USER, password=None)
        super().__init__(url)
        self._claiming = threading.Lock()
        self._is_claimed = False

    @property
    def embedded_path(self) -> Path | None:
        """The file that this process opens itself."""
        return None if self.url.host else Path(str(self.url.database))

    def engine_arguments(self) -> dict[str, Any]:
        """Nothing beyond the common ones."""
        return {}

    def install(self, engine: Engine) -> None:
        """Prepare the client library before each connection."""
        event.listen(engine, "do_connect", self._before_connecting)

    def translate(self, context: ExceptionContext) -> MeteorError | None:
        """By status code."""
        return firebird_errors.meaning_of(context.original_exception, self.label)

    def exists(self) -> bool:
        """Whether the file is there, or the server opens the database for us."""
        if self.embedded_path is not None:
            return self.embedded_path.exists()
        firebird_client.prepare(None)
        try:
            self._connect().close()
        except fdb.DatabaseError as error:
            if firebird_errors.is_missing_file(error):
                return False
            raise firebird_errors.meaning_or_default(error, self.label) from error
        return True

    def create(self) -> None:
        """Create the database; an embedded one under another name first, so that nobody sees half of it."""
        path = self.embedded_path
        if path is None:
            firebird_client.prepare(None)
            self._create_as(self._dsn(str(self.url.database)))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._claim(path)
        with directory_lock(path.parent):
            if not path.exists():
                unfinished = path.with_name(f"{path.name}.new")
                unfinished.unlink(missing_ok=True)
                self._create_as(str(unfinished))
                unfinished.replace(path)

    @contextmanager
    def schema_lock(self, engine: Engine) -> Iterator[None]:
        """Embedded, a lock on the directory; on a server, a row that nobody else updates meanwhile."""
        if self.embedded_path is not None:
            with directory_lock(self.embedded_path.parent):
                yield
            return
        engine.dispose()  # an idle connection holds the tables that it has used, and this one stays open
        with engine.connect() as connection:
            connection.detach()
            _ensure_lock_row(connection)
            while not _hold_lock_row(connection):
                pass
            yield
            connection.rollback()

    def back_up(self, engine: Engine, target: Path) -> None:
        """A gbak file, made by the engine itself while others read and write."""
        path = self.embedded_path
        if path is None:
            raise ConfigurationError("back a Firebird server's database up with gbak")
        firebird_client.prepare(path)
        try:
            with (
                closing(services.connect(user=EMBEDDED_USER, password=EMBEDDED_USER)) as service,
                target.open("xb") as stream,
            ):
                service.local_backup(str(path), stream)
                stream.flush()
                os.fsync(stream.fileno())
        except fdb.DatabaseError as error:
            raise firebird_errors.meaning_or_default(error, self.label) from error

    def insert_ignore(self, connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
        """Insert, and when a key is taken make sure that its row can be seen.

        A row that another transaction committed after this one began refuses ours but is invisible to it;
        then the whole transaction has to be repeated.
        """
        try:
            connection.execute(insert(table).values(**values))
        except DuplicateKeyError as error:
            if _sees_same_key(connection, table, values):
                return False
            raise TransactionConflictError("another transaction has just stored the same key") from error
        return True

    def add_column_clause(self) -> str:
        """Firebird knows ADD only."""
        return "ADD"

    def index_statements(self, index: Index) -> Iterator[tuple[str, Executable]]:
        """An index for each direction that is asked for: Firebird walks one in its own direction only."""
        directions = directions_of(index)
        if ASCENDING in directions or index.unique:
            yield from super().index_statements(index)
        if DESCENDING in directions:
            prepared = firebird_fdb.FirebirdFdbDialect().identifier_preparer
            name = f"{index.name}{DESCENDING_SUFFIX}"
            columns = ", ".join(prepared.quote(column.name) for column in index.columns)
            assert index.table is not None
            table = prepared.quote(index.table.name)
            yield name, text(f"CREATE DESCENDING INDEX {prepared.quote(name)} ON {table} ({columns})")

    def advance_identity(self, connection: Connection, table: Table, highest: int) -> None:
        """Push the sequence of the column on; ALTER TABLE would need the table for itself.

        Names of sequences that belong to a column are the engine's own. A rollback does not take it back.
        """
        sequence = connection.execute(_SEQUENCE_OF_ID, {"table_name": table.name}).scalar_one()
        missing = highest - int(connection.exec_driver_sql(_ADVANCE.format(sequence, 0)).scalar_one())
        if missing > 0:
            # Fetched, since the engine does not evaluate a row before it is.
            connection.exec_driver_sql(_ADVANCE.format(sequence, missing)).scalar_one()

    def refresh_statistics(self, connection: Connection) -> None:
        """Recompute the selectivity of every index of ours."""
        names = connection.exec_driver_sql(
            "SELECT TRIM(rdb$index_name) FROM rdb$indices WHERE COALESCE(rdb$system_flag, 0) = 0"
        ).scalars()
        for name in names.all():
            connection.exec_driver_sql(f'SET STATISTICS INDEX "{name}"')

    def _before_connecting(self, *_arguments: object) -> DBAPIConnection | None:
        """Returning None lets SQLAlchemy go on and connect."""
        path = self.embedded_path
        if path is None:
            firebird_client.prepare(None)
        elif path.exists():
            self._claim(path)
        else:
            self.create()
        return None

    def _claim(self, path: Path) -> None:
        firebird_client.prepare(path)
        with self._claiming:
            if not self._is_claimed:
                descriptor = claim(path, firebird_client.lock_directory())
                self._is_claimed = True
                self.held.callback(self._give_back, descriptor)

    def _give_back(self, descriptor: int) -> None:
        self._is_claimed = False
        os.close(descriptor)

    def _dsn(self, database: str) -> str:
        _, options = firebird_fdb.FirebirdFdbDialect().create_connect_args(self.url.set(database=database))
        return str(options["dsn"])

    def _connect(self) -> fdb.Connection:
        _, options = firebird_fdb.FirebirdFdbDialect().create_connect_args(self.url)
        with firebird_client.keeping_signal_handlers():
            return fdb.connect(**options)

    def _create_as(self, dsn: str) -> None:
        password = f" password {_quoted(str(self.url.password))}" if self.url.password else ""
        statement = (
            f"create database {_quoted(dsn)} user {_quoted(str(self.url.username))}{password}"
            f" page_size {PAGE_SIZE} default character set UTF8"
        )
        try:
            with firebird_client.keeping_signal_handlers():
                fdb.create_database(sql=statement).close()
        except fdb.DatabaseError as error:
            if firebird_errors.is_existing_file(error):
                return
            reason = firebird_errors.words_of(error)
            raise ConfigurationError(f"the database {self.label} cannot be created: {reason}") from error


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _ensure_lock_row(connection: Connection) -> None:
    """Make the table and its row; whoever comes second finds them made."""
    try:
        if not inspect(connection).has_table(_schema_lock.name):
            connection.execute(CreateTable(_schema_lock))
            connection.commit()
        if connection.execute(select(_schema_lock.c.id)).first() is None:
            connection.execute(insert(_schema_lock).values(id=_LOCK_ROW))
    except (TransactionConflictError, DuplicateKeyError, firebird_errors.ExistsAlreadyError):
        connection.rollback()
        _ensure_lock_row(connection)
    else:
        connection.commit()


def _hold_lock_row(connection: Connection) -> bool:
    """Wait for the row for as long as the lock timeout allows."""
    try:
        connection.execute(update(_schema_lock).values(id=_LOCK_ROW))
    except TransactionConflictError:
        connection.rollback()
        return False
    return True


def _sees_same_key(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Whether this transaction sees a row that shares a key with `values`."""
    keys = [list(table.primary_key.columns)]
    keys += [list(found.columns) for found in table.constraints if isinstance(found, UniqueConstraint)]
    keys += [list(index.columns) for index in table.indexes if index.unique]
    for key in keys:
        if key and all(values.get(column.name) is not None for column in key):
            same = and_(*(column == values[column.name] for column in key))
            if connection.execute(select(literal_column("1")).select_from(table).where(same)).first():
                return True
    return False
