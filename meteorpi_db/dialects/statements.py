"""Statements that every engine writes differently, as one function each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from meteorpi_db.dialects.base import backend_of

Value = TypeVar("Value")


def insert_ignore(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key exists.

    Args:
        connection: of a writing transaction.
        table: where to.
        values: by column name.

    Returns:
        Whether the row was inserted.

    Raises:
        ConstraintError: a rule other than a unique key refuses the row.
    """
    return backend_of(connection).insert_ignore(connection, table, values)


def in_chunks(connection: Connection, values: Iterable[Value]) -> Iterator[list[Value]]:
    """Cut `values` into lists that one IN condition of this engine can take."""
    limit = backend_of(connection).in_list_limit
    remaining = iter(values)
    while chunk := list(islice(remaining, limit)):
        yield chunk


def refresh_statistics(connection: Connection) -> None:
    """Let the query planner see what the tables hold now; call it after a bulk load."""
    backend_of(connection).refresh_statistics(connection)
