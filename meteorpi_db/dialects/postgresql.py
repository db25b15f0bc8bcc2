"""PostgreSQL through psycopg 3, and what speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    NullPool,
    Table,
    create_engine,
    exc,
    func,
    select,
    text,
)

from meteorpi_db.dialects.base import (
    Backend,
    ConnectionLostError,
    ConstraintError,
    DuplicateKeyError,
    TransactionConflictError,
    insert_with_on_conflict,
)
from meteorpi_model.errors import (
    ConfigurationError,
    MeteorError,
    SchemaVersionError,
    StoreFullError,
    UnavailableError,
)

CONNECT_TIMEOUT_SECONDS = 10
LOCK_TIMEOUT = "30s"
SCHEMA_LOCK_KEY = 0x6D6574656F727069  # "meteorpi"
MAINTENANCE_DATABASE = "postgres"

_CONFLICTS = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
_DUPLICATE_KEY = "23505"
_UNKNOWN_DATABASE = "3D000"
_DUPLICATE_DATABASES = {"42P04", _DUPLICATE_KEY}
_DISK_FULL = "53100"


class PostgresqlBackend(Backend):
    """A database on a PostgreSQL server."""

    name = "postgresql"
    in_list_limit = 30_000
    reading_options: ClassVar[Mapping[str, Any]] = {
        "isolation_level": "REPEATABLE READ",
        "postgresql_readonly": True,
    }
    writing_options: ClassVar[Mapping[str, Any]] = {"isolation_level": "REPEATABLE READ"}
    schema_options: ClassVar[Mapping[str, Any]] = {"isolation_level": "READ COMMITTED"}

    def engine_arguments(self) -> dict[str, Any]:
        """Bounded waits: a frozen client must not freeze the others."""
        return {
            "connect_args": {
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "application_name": "meteorpi",
                "options": f"-c lock_timeout={LOCK_TIMEOUT} -c timezone=UTC",
            }
        }

    def install(self, engine: Engine) -> None:
        """Nothing to attach: isolation and read-only travel with the execution options."""

    def translate(self, context: ExceptionContext) -> MeteorError | None:
        """By SQLSTATE (PostgreSQL manual, appendix A)."""
        error = context.original_exception
        state = getattr(error, "sqlstate", None) or ""
        if context.is_disconnect:
            return ConnectionLostError("the connection to the database broke")
        if state == _DUPLICATE_KEY:
            return DuplicateKeyError(f"a row with this key exists: {_first_line(error)}")
        if state.startswith("23"):
            return ConstraintError(f"a row breaks a rule of the schema: {_first_line(error)}")
        if state in _CONFLICTS:
            return TransactionConflictError(f"another transaction was faster: {_first_line(error)}")
        return self._translate_server_state(error, state, connecting=context.connection is None)

    def _translate_server_state(
        self, error: BaseException, state: str, *, connecting: bool
    ) -> MeteorError | None:
        if state == _UNKNOWN_DATABASE or (connecting and self._is_unknown_database(error)):
            return SchemaVersionError(f"there is no database {self.label}: run `meteorpi init`")
        if state == _DISK_FULL:
            return StoreFullError("the disk that holds the database is full")
        if state.startswith("28") or (connecting and _is_refusal(error)):
            return ConfigurationError(f"the database server refuses the user: {_first_line(error)}")
        if connecting or state.startswith(("08", "53", "57P")):
            return UnavailableError(f"the database server does not answer: {_first_line(error)}")
        return None

    def exists(self) -> bool:
        """Whether the server lets us connect to the database."""
        engine = create_engine(self.url, poolclass=NullPool, connect_args={"connect_timeout": 10})
        try:
            with engine.connect():
                return True
        except exc.OperationalError as error:
            if self._is_unknown_database(error):
                return False
            if _is_refusal(error):
                raise ConfigurationError(
                    f"the database server refuses the user: {_first_line(error)}"
                ) from error
            raise UnavailableError(f"the database server does not answer: {_first_line(error)}") from error

    def _is_unknown_database(self, error: BaseException) -> bool:
        """By the message: libpq reports failures to connect without SQLSTATE."""
        return f'database "{self.url.database}" does not exist' in str(error)

    def create(self) -> None:
        """Create the database from the maintenance database, if the account may."""
        with _maintenance(self.url) as connection:
            name = connection.dialect.identifier_preparer.quote(str(self.url.database))
            try:
                connection.execute(text(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"))
            except exc.DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _DUPLICATE_DATABASES:
                    raise ConfigurationError(
                        f"the database {self.label} cannot be created: {_first_line(error)}"
                    ) from error

    @contextmanager
    def schema_lock(self, engine: Engine) -> Iterator[None]:
        """An advisory lock; the server lets go when the connection ends."""
        with engine.connect() as connection:
            connection.detach()  # a disposed pool, and changing the schema disposes of it, never closes
            connection.begin()
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK_KEY})
            yield

    def back_up(self, engine: Engine, target: Path) -> None:
        """Server databases are backed up where they are."""
        raise ConfigurationError("back a PostgreSQL database up with pg_dump")

    def insert_ignore(self, connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
        """By ON CONFLICT DO NOTHING."""
        return insert_with_on_conflict(connection, table, values)

    def add_column_clause(self) -> str:
        """As the standard has it."""
        return "ADD COLUMN"

    def hold_tables(self, connection: Connection, tables: Sequence[Table]) -> None:
        """LOCK TABLE, in its strictest mode: who reads one has to wait, too."""
        quote = connection.dialect.identifier_preparer.quote
        names = ", ".join(quote(table.name) for table in tables)
        connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))

    def advance_identity(self, connection: Connection, table: Table, highest: int) -> None:
        """Set the sequence that the column owns."""
        sequence = func.pg_get_serial_sequence(table.name, "id")
        connection.execute(select(func.setval(sequence, highest)))

    def refresh_statistics(self, connection: Connection) -> None:
        """ANALYZE samples by itself."""
        connection.execute(text("ANALYZE"))


@contextmanager
def _maintenance(url: URL) -> Iterator[Connection]:
    """A connection without transactions to the database every server has."""
    engine = create_engine(
        url.set(database=MAINTENANCE_DATABASE), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    try:
        with engine.connect() as connection:
            yield connection
    except exc.OperationalError as error:
        raise UnavailableError(f"the database server does not answer: {_first_line(error)}") from error


def _is_refusal(error: BaseException) -> bool:
    message = str(error)
    return "authentication failed" in message or ('role "' in message and "does not exist" in message)


def _first_line(error: BaseException) -> str:
    """The driver's own words without the statement and its parameters."""
    original = getattr(error, "orig", error)
    return str(original).strip().split("\n", 1)[0]
