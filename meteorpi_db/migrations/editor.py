"""The few changes that migration steps make, each in the words of the engine at hand.

Every change looks first whether it has been made, because Firebird cannot undo one together with the
rest of its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Index, MetaData, Table, inspect, text
from sqlalchemy.schema import CreateColumn, CreateTable, DropTable
from sqlalchemy.sql import Executable
from sqlalchemy.types import TypeEngine

from meteorpi_db.dialects import Backend


class SchemaEditor:
    """Changes tables through one connection.

    Args:
        connection: its transaction is left open for the caller to commit, except on engines whose schema
            changes take effect with the commit: there each of them is committed at once.
        backend: of the same database.
    """

    def __init__(self, connection: Connection, backend: Backend) -> None:
        self.connection = connection
        self._backend = backend

    def create_all(self, metadata: MetaData) -> None:
        """Create every table of `metadata` with its indices."""
        for table in metadata.sorted_tables:
            self.create_table(table)

    def create_table(self, table: Table) -> None:
        """Create `table` with its indices."""
        if not inspect(self.connection).has_table(table.name):
            self.connection.execute(CreateTable(table))
            self._settle()
        for index in sorted(table.indexes, key=lambda found: str(found.name)):
            self.create_index(index)

    def drop_all(self, metadata: MetaData) -> None:
        """Drop every table of `metadata` that is there."""
        present = set(inspect(self.connection).get_table_names())
        for table in reversed(metadata.sorted_tables):
            if table.name in present:
                self.connection.execute(DropTable(table))
                self._settle()

    def drop_table(self, table: Table) -> None:
        """Drop `table` with its indices and rows."""
        if inspect(self.connection).has_table(table.name):
            self.connection.execute(DropTable(table))
            self._settle()

    def add_column(
        self,
        table_name: str,
        name: str,
        column_type: TypeEngine[Any],
        *,
        server_default: str | None = None,
        nullable: bool = True,
    ) -> None:
        """Add a column; one that is not nullable needs a `server_default` for the rows that exist."""
        present = {found["name"] for found in inspect(self.connection).get_columns(table_name)}
        if name in present:
            return
        default = None if server_default is None else text(server_default)
        column = Column(name, column_type, server_default=default, nullable=nullable)
        Table(table_name, MetaData(), column)
        dialect = self.connection.dialect
        specification = CreateColumn(column).compile(dialect=dialect)
        quoted = dialect.identifier_preparer.quote(table_name)
        clause = self._backend.add_column_clause()
        self.connection.exec_driver_sql(f"ALTER TABLE {quoted} {clause} {specification}")
        self._settle()

    def drop_column(self, table_name: str, name: str) -> None:
        """Drop a column that no index and no key has."""
        if name not in {found["name"] for found in inspect(self.connection).get_columns(table_name)}:
            return
        quote = self.connection.dialect.identifier_preparer.quote
        self.connection.exec_driver_sql(f"ALTER TABLE {quote(table_name)} DROP {quote(name)}")
        self._settle()

    def create_index(self, index: Index) -> None:
        """Create `index`, in each direction that the engine needs it."""
        assert index.table is not None
        present = {found["name"] for found in inspect(self.connection).get_indexes(index.table.name)}
        for name, statement in self._backend.index_statements(index):
            if name not in present:
                self.connection.execute(statement)
        self._settle()

    def drop_index(self, index: Index) -> None:
        """Drop `index`, in each direction that it was created for."""
        assert index.table is not None
        present = {found["name"] for found in inspect(self.connection).get_indexes(index.table.name)}
        quote = self.connection.dialect.identifier_preparer.quote
        for name, _ in self._backend.index_statements(index):
            if name in present:
                self.connection.exec_driver_sql(f"DROP INDEX {quote(name)}")
        self._settle()

    def hold(self, tables: Sequence[Table]) -> None:
        """Keep everybody else away from `tables` until the transaction ends, where that takes something."""
        if tables:
            self._backend.hold_tables(self.connection, tables)

    def execute(self, statement: Executable) -> None:
        """Run a statement that changes data."""
        self.connection.execute(statement)

    def _settle(self) -> None:
        """Make a changed schema usable by what follows."""
        if not self._backend.schema_in_transaction:
            self.connection.commit()
