"""Bring the schema of a database to the present version, once, whatever else is going on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
)

from meteorpi_db import tables
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import ExactText, TransactionConflictError
from meteorpi_db.migrations.editor import SchemaEditor
from meteorpi_db.migrations.history import SCHEMA, Schema
from meteorpi_model.errors import ConfigurationError, ConflictError, SchemaVersionError
from meteorpi_model.values import now, utc_datetime_to_milliseconds

logger = logging.getLogger("meteorpi.db.migrations")

DESCRIPTION_LENGTH = 255
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.1

# What nobody can make again.
_RECORDS: Final = (tables.camera_status, tables.file_record, tables.event, tables.user_account)

_history_metadata = MetaData()
schema_step = Table(
    "schema_step",
    _history_metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("description", ExactText(DESCRIPTION_LENGTH), nullable=False),
    Column("applied_at", BigInteger, nullable=False),
    # The oldest version whose software works with this one; none where nothing older does. Databases that no
    # step has been made in for long lack the column.
    Column("oldest_for", Integer),
)


@dataclass(frozen=True)
class SchemaChange:
    """What :func:`ensure_schema` found and did.

    Attributes:
        before: version found; 0 for an empty database.
        after: version now.
        backup: the copy made before the first step, for embedded databases that were not empty.
    """

    before: int
    after: int
    backup: Path | None = None


class SchemaState(NamedTuple):
    """What a database says about its schema.

    Attributes:
        version: 0 for none.
        oldest_for: the oldest version whose software works with it.
    """

    version: int
    oldest_for: int


def schema_state(connection: Connection) -> SchemaState:
    """The version of the schema in the database, and whose software works with it."""
    version = schema_version(connection)
    columns = inspect(connection).get_columns(schema_step.name) if version else []
    oldest = None
    if any(column["name"] == schema_step.c.oldest_for.name for column in columns):
        statement = select(schema_step.c.oldest_for).where(schema_step.c.version == version)
        oldest = connection.execute(statement).scalar()
    return SchemaState(version, version if oldest is None else oldest)


def schema_version(connection: Connection) -> int:
    """The version of the schema in the database; 0 when it has none."""
    if not inspect(connection).has_table(schema_step.name):
        return 0
    return int(connection.execute(select(func.max(schema_step.c.version))).scalar() or 0)


def ensure_schema(
    transactions: Transactions, *, create: bool | None = None, schema: Schema = SCHEMA
) -> SchemaChange:
    """Create a missing schema, or carry an older one forward.

    Several processes may do this at once: one does the work, the others wait for it. A newer schema is left
    as it is where this software tolerates all that was added.

    Args:
        transactions: of the database.
        create: make the database and the schema when they are missing. None: only for embedded databases,
            because a server's are made on purpose, by ``meteorpi init``.
        schema: what to bring the database to.

    Raises:
        SchemaVersionError: the schema is newer than this software, or missing and not to be created.
        UnavailableError: the database does not answer, or other processes keep its tables in use.
    """
    backend = transactions.backend
    may_create = backend.embedded_path is not None if create is None else create
    if not backend.exists():
        _check(SchemaState(0, 0), schema, may_create, backend.label)
        backend.create()
    version = _usable_version(transactions, schema, may_create)
    if version >= schema.version:
        return SchemaChange(version, version)
    with backend.schema_lock(transactions.engine):
        version = _usable_version(transactions, schema, may_create)
        return _change(transactions, version, schema)


def drop_schema(transactions: Transactions) -> None:
    """Drop every table of a database without records, so that its version is 0 again; the database stays.

    Raises:
        ConflictError: it has records or accounts; nothing was changed.
        ConfigurationError: the engine cannot take the tables away all at once, or not at all.
        UnavailableError: the database does not answer, or other processes keep its tables in use.
    """
    backend = transactions.backend
    if not backend.schema_in_transaction:
        raise ConfigurationError(f"the tables of {backend.label} cannot be removed: drop the whole database")
    with backend.schema_lock(transactions.engine):
        patiently(transactions, _drop)
    logger.info("schema dropped")


def _drop(editor: SchemaEditor) -> None:
    if schema_version(editor.connection):
        for table in _RECORDS:
            if editor.connection.execute(select(table).limit(1)).first() is not None:
                raise ConflictError(f"this is the database of a node: there is a {table.name} in it")
    editor.drop_all(SCHEMA.metadata)
    editor.drop_all(_history_metadata)


def _usable_version(transactions: Transactions, schema: Schema, may_create: bool) -> int:
    with transactions.reading() as connection:
        version = schema_version(connection)
        # Looked at only when it matters: this is done whenever a database is opened.
        state = SchemaState(version, version) if version <= schema.version else schema_state(connection)
    _check(state, schema, may_create, transactions.backend.label)
    return version


def _check(state: SchemaState, schema: Schema, may_create: bool, label: str) -> None:
    version = state.version
    if state.oldest_for > schema.version:
        raise SchemaVersionError(
            f"the database {label} has schema version {version}, but this software knows only versions up to"
            f" {schema.version}: install the newer software again, or restore a backup"
        )
    if version == 0 and not may_create:
        raise SchemaVersionError(f"the database {label} has no MeteorPi schema yet: run `meteorpi init`")


def _change(transactions: Transactions, version: int, schema: Schema) -> SchemaChange:
    if version == 0:
        creation = _creation_of(schema)
        oldest = schema.oldest_for(schema.version)
        make_step(transactions, schema.version, "created in its present shape", creation, oldest)
        return SchemaChange(version, schema.version)
    backup = back_up(transactions, version) if version < schema.version else None
    for reached, step in schema.steps_after(version):
        make_step(transactions, reached, step.description, step.upgrade, schema.oldest_for(reached))
    return SchemaChange(version, schema.version, backup)


def _creation_of(schema: Schema) -> Callable[[SchemaEditor], None]:
    """Make every table in its present shape; an interrupted attempt is taken up where it ended."""

    def create(editor: SchemaEditor) -> None:
        editor.create_all(schema.metadata)
        editor.create_table(schema_step)

    return create


def make_step(
    transactions: Transactions,
    version: int,
    description: str,
    change: Callable[[SchemaEditor], None],
    oldest_for: int,
) -> None:
    """Make `change`, which leads to `version` from below or from above, and note it.

    Args:
        transactions: of a database whose schema nobody else changes meanwhile.
        version: the one that the database has then.
        description: of the way there.
        change: see :class:`Step`.
        oldest_for: see :class:`SchemaState`.
    """

    def make(editor: SchemaEditor) -> None:
        if inspect(editor.connection).has_table(schema_step.name):
            editor.add_column(schema_step.name, schema_step.c.oldest_for.name, schema_step.c.oldest_for.type)
        change(editor)
        editor.execute(delete(schema_step).where(schema_step.c.version > version))
        if schema_version(editor.connection) < version:
            _record(editor.connection, version, description, oldest_for)

    patiently(transactions, make)
    logger.info("schema changed version=%d change=%s", version, description)


def patiently(transactions: Transactions, change: Callable[[SchemaEditor], None]) -> None:
    """Make `change`, waiting a bounded time for tables that other processes have in use."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with transactions.schema_connection() as connection:
                change(SchemaEditor(connection, transactions.backend))
                connection.commit()
        except TransactionConflictError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _record(connection: Connection, version: int, description: str, oldest_for: int) -> None:
    row = {"version": version, "description": description, "oldest_for": oldest_for}
    connection.execute(insert(schema_step).values(**row, applied_at=utc_datetime_to_milliseconds(now())))


def back_up(transactions: Transactions, version: int) -> Path | None:
    """Copy an embedded database of `version` to a file beside it; servers have backups of their own."""
    path = transactions.backend.embedded_path
    if path is None:
        return None
    target = path.with_name(f"{path.name}.version-{version}.{now():%Y%m%dT%H%M%S.%fZ}.backup")
    transactions.backend.back_up(transactions.engine, target)
    logger.info("database backed up before its schema changes file=%s", target)
    return target
