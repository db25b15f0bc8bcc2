"""Rows of any table as lines of text that mean the same to every engine, and back.

A line is a JSON array with the values in the order of the columns: whole numbers, numbers with all their 64
bits (the shortest digits that give the same double), true and false, texts with everything beyond ASCII
escaped, ids as 32 hexadecimal digits, null. Lines are in the order of the primary key, which is the same on
every engine. So two databases hold the same exactly if the digests of their tables are equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, select

from meteorpi_db.dialects import Identifier

FETCHED_ROWS = 1000
"""Rows that are held in memory at a time."""

Values = Sequence[Any]
"""The values of one row in the order of the columns."""


def line_of(row: Values) -> bytes:
    """One row as a line, with its end."""
    values = [_plain(value) for value in row]
    return json.dumps(values, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, float):
        return value + 0.0  # SQLite keeps no negative zero
    return value


def row_reader(table: Table) -> Callable[[bytes], list[Any]]:
    """What turns lines of `table` into rows again.

    The reader raises ``ValueError`` for a line that is none.
    """
    identifiers = [number for number, column in enumerate(table.c) if isinstance(column.type, Identifier)]
    width = len(table.c)

    def read(line: bytes) -> list[Any]:
        row = json.loads(line)
        if not isinstance(row, list) or len(row) != width:
            raise ValueError(f"a row of {table.name} needs {width} values")
        for number in identifiers:
            if row[number] is not None:
                row[number] = UUID(hex=row[number])
        return row

    return read


def rows_of(connection: Connection, table: Table) -> Iterator[Values]:
    """Every row of `table` in the order of its primary key, read in pieces."""
    statement = select(table).order_by(*table.primary_key.columns)
    options = {"yield_per": FETCHED_ROWS}
    with connection.execute(statement, execution_options=options) as result:
        yield from result


class LineDigest:
    """Number and digest of lines that are taken one after the other."""

    def __init__(self) -> None:
        self.rows = 0
        self._sha256 = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Take the next line."""
        self.rows += 1
        self._sha256.update(line)

    @property
    def hexadecimal(self) -> str:
        """SHA-256 of all lines so far."""
        return self._sha256.hexdigest()


def digest_of(rows: Iterable[Values]) -> LineDigest:
    """Number and digest of all `rows`."""
    digest = LineDigest()
    for row in rows:
        digest.add(line_of(row))
    return digest
