"""What a database engine has to offer; one subclass for each engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Engine, ExceptionContext, Executable, Index, Table
from sqlalchemy.schema import CreateIndex

from meteorpi_model.errors import ConflictError, MeteorError, UnavailableError

BACKEND_OPTION = "meteorpi_backend"
DIRECTIONS = "directions"
"""Key of `Index.info` for the directions in which an index is walked; without it, both."""
ASCENDING = "ascending"
DESCENDING = "descending"
ASCENDING_ONLY = {DIRECTIONS: (ASCENDING,)}
DESCENDING_ONLY = {DIRECTIONS: (DESCENDING,)}


class TransactionConflictError(UnavailableError):
    """Another transaction was faster; nothing was changed, and repeating the whole transaction cures it."""


class ConnectionLostError(UnavailableError):
    """The connection to the database broke; the next transaction gets a new one."""


class ConstraintError(ConflictError):
    """A unique key, foreign key or other rule of the schema refused a row."""


class DuplicateKeyError(ConstraintError):
    """A row with the same unique key exists."""


class Backend(ABC):
    """All that differs between database engines.

    Args:
        url: where the database is, complete with credentials where the engine wants them.

    Attributes:
        url: as given; never to be shown with its password.
        held: closed by :meth:`release`.
    """

    name: ClassVar[str]
    """Name of the SQLAlchemy dialect."""
    in_list_limit: ClassVar[int]
    """Most values that one IN list is given, with room for other parameters in the same statement."""
    reading_options: ClassVar[Mapping[str, Any]]
    """Execution options of a read-only transaction on one snapshot."""
    writing_options: ClassVar[Mapping[str, Any]]
    """Execution options of a writing transaction."""
    schema_options: ClassVar[Mapping[str, Any]]
    """Execution options of a transaction that changes tables."""
    schema_in_transaction: ClassVar[bool] = True
    """Whether a changed schema can be used, and undone, in the transaction that changed it."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.held = ExitStack()

    @property
    def embedded_path(self) -> Path | None:
        """The file that holds the database when the engine runs in this process, else None."""
        return None

    @property
    def label(self) -> str:
        """Where the database is, without the password."""
        if self.embedded_path is not None:
            return str(self.embedded_path)
        return self.url.render_as_string(hide_password=True)

    @abstractmethod
    def engine_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `sqlalchemy.create_engine`."""

    @abstractmethod
    def install(self, engine: Engine) -> None:
        """Attach the listeners that the engine needs."""

    @abstractmethod
    def translate(self, context: ExceptionContext) -> MeteorError | None:
        """The error of ours that says what the driver's error means; None when it is not a known one."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether the database exists (empty or not)."""

    @abstractmethod
    def create(self) -> None:
        """Create the empty database; no error when another process has done so meanwhile."""

    @abstractmethod
    def schema_lock(self, engine: Engine) -> AbstractContextManager[None]:
        """Hold off every other process that wants to change the schema; waits its turn."""

    @abstractmethod
    def back_up(self, engine: Engine, target: Path) -> None:
        """Write a consistent copy of an embedded database to `target` while others use it."""

    @abstractmethod
    def insert_ignore(self, connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
        """Insert a row unless one with the same key exists; whether it was inserted."""

    @abstractmethod
    def add_column_clause(self) -> str:
        """The words between the table and the column in ALTER TABLE."""

    @abstractmethod
    def refresh_statistics(self, connection: Connection) -> None:
        """Let the planner see what the tables hold now; worth its time after a bulk load."""

    @abstractmethod
    def advance_identity(self, connection: Connection, table: Table, highest: int) -> None:
        """Have the numbers that rows of `table` are given from now on begin above `highest`, at least 1.

        For rows that were inserted with their numbers; whether it can be undone depends on the engine.
        """

    def hold_tables(self, connection: Connection, tables: Sequence[Table]) -> None:  # noqa: B027
        """Keep everybody else away from `tables`, which exist, until the transaction of `connection` ends.

        Nothing to do where a transaction that changes tables is alone, or is refused while they are in use.
        """

    def index_statements(self, index: Index) -> Iterator[tuple[str, Executable]]:
        """The statements that create `index`, each with the name of what it creates."""
        yield str(index.name), CreateIndex(index)

    def release(self) -> None:
        """Give back what was held since the engine was installed."""
        self.held.close()


def insert_with_on_conflict(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """`insert_ignore` for engines that know ON CONFLICT DO NOTHING."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_row
    else:
        from sqlalchemy.dialects.postgresql import insert as insert_row  # type: ignore[assignment]
    # "inline": no generated key is wanted, which would come as a result in place of the number of rows.
    statement = insert_row(table).values(**values).on_conflict_do_nothing().inline()
    return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1


def directions_of(index: Index) -> tuple[str, ...]:
    """The directions in which queries walk `index`."""
    found: tuple[str, ...] = index.info.get(DIRECTIONS, (ASCENDING, DESCENDING))
    return found


def backend_of(connection: Connection | Engine) -> Backend:
    """The backend that `connection` was opened with."""
    found: Backend = connection.get_execution_options()[BACKEND_OPTION]
    return found
