"""Rows into an empty database, all of them or none, and the proof that they arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from meteorpi_db.backup.rows import LineDigest, Values, digest_of, line_of, rows_of
from meteorpi_db.dialects import backend_of
from meteorpi_model.errors import ConflictError, MeteorError

INSERTED_ROWS = 500
"""Rows that are sent to the database at a time."""

RowSource = Callable[[Table], Iterator[Values]]
"""Gives the rows of a table in the order of its primary key."""


def fill(
    connection: Connection, tables: Sequence[Table], source: RowSource, advance: Callable[[int], object]
) -> dict[str, LineDigest]:
    """Load every table and read it back; part of a transaction that the caller commits.

    Args:
        connection: of a writing transaction on a database without rows.
        tables: what to load, parents before children.
        source: where the rows come from.
        advance: told the number of rows whenever some were sent.

    Returns:
        Number and digest of the rows of each table as the database gives them back.

    Raises:
        ConflictError: there are rows already, or a rule of the schema refuses one.
        MeteorError: the database gives other rows back than it was given.
    """
    require_empty(connection, tables)
    given = {table.name: _insert(connection, table, source(table), advance) for table in tables}
    kept = {table.name: digest_of(rows_of(connection, table)) for table in tables}
    for table in tables:
        if kept[table.name].hexadecimal != given[table.name].hexadecimal:
            raise MeteorError(f"the database gives back other rows of {table.name} than it was given")
        _continue_numbers(connection, table)
    return kept


def require_empty(connection: Connection, tables: Sequence[Table]) -> None:
    """Make sure that nothing is there that could be mixed with what comes.

    Raises:
        ConflictError: there are rows; it names the tables.
    """
    used = []
    for table in tables:
        first = next(iter(table.primary_key.columns))
        if connection.execute(select(first).limit(1)).first() is not None:
            used.append(table.name)
    if used:
        raise ConflictError(
            f"the database is not empty, and nothing in it is overwritten: rows are in {', '.join(used)};"
            " name a database that does not exist yet"
        )


def _insert(
    connection: Connection, table: Table, rows: Iterator[Values], advance: Callable[[int], object]
) -> LineDigest:
    digest, names = LineDigest(), table.c.keys()
    while batch := list(islice(rows, INSERTED_ROWS)):
        for row in batch:
            digest.add(line_of(row))
        values: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in batch]
        connection.execute(insert(table).inline(), values)
        advance(len(batch))
    return digest


def _continue_numbers(connection: Connection, table: Table) -> None:
    """Rows that are registered later get higher numbers than those that came with theirs."""
    if "id" not in table.c or table.c.id.autoincrement is not True:
        return
    highest = connection.execute(select(func.max(table.c.id))).scalar()
    if highest is not None:
        backend_of(connection).advance_identity(connection, table, int(highest))
