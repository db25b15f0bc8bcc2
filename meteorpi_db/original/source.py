"""Reading the tables of a first-generation database, in one read-only transaction.

Its schema is known by the names of tables and columns. What differs between installations is asked of the
database itself: which columns are 32-bit floats, which are texts padded with blanks, and which column of a
table refers to which other table.

Texts come as bytes and are decoded here: the first generation stored UTF-8 in columns of the character set
UNICODE_FSS, but its driver did not check, and one broken text must not make a table unreadable.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection

from meteorpi_db.connections import open_database
from meteorpi_model.errors import InvalidDocumentError, NotFoundError

OriginalRow: TypeAlias = Mapping[str, Any]
"""A row by lower-case column names: text, bytes (UUIDs), int, float or None."""

PAGE: Final = 200
"""Rows fetched, and recorded, together."""

REQUIRED: Final = ("t_camerastatus", "t_file", "t_event")
"""Tables without which a database is none of the first generation."""

# Codes of rdb$field_type and of the character set of bytes (Firebird 3.0 Language Reference, appendix D).
_FLOAT, _CHAR, _VARCHAR = 10, 14, 37
_OCTETS = 1
_IN_LIST = 500

_COLUMNS = """
SELECT TRIM(c.rdb$relation_name), TRIM(c.rdb$field_name), f.rdb$field_type, f.rdb$field_length,
       f.rdb$character_set_id
FROM rdb$relation_fields c JOIN rdb$fields f ON f.rdb$field_name = c.rdb$field_source
WHERE c.rdb$relation_name STARTING WITH 'T_' ORDER BY c.rdb$field_position"""

_REFERENCES = """
SELECT TRIM(own.rdb$relation_name), TRIM(part.rdb$field_name), TRIM(other.rdb$relation_name)
FROM rdb$relation_constraints own
JOIN rdb$ref_constraints link ON link.rdb$constraint_name = own.rdb$constraint_name
JOIN rdb$relation_constraints other ON other.rdb$constraint_name = link.rdb$const_name_uq
JOIN rdb$index_segments part ON part.rdb$index_name = own.rdb$index_name
WHERE own.rdb$constraint_type = 'FOREIGN KEY'"""


@dataclass(frozen=True)
class _Column:
    name: str
    type: int
    length: int
    is_octets: bool

    @property
    def is_text(self) -> bool:
        return self.type in (_CHAR, _VARCHAR) and not self.is_octets

    def selected(self) -> str:
        """The column as it is asked for: texts as bytes, whatever character set the connection has."""
        if not self.is_text:
            return self.name
        return f"CAST({self.name} AS VARCHAR({self.length}) CHARACTER SET OCTETS)"

    def value(self, stored: Any) -> Any:
        """What was meant by what is stored."""
        if stored is None:
            return None
        if self.is_text:
            text = _text(bytes(stored) if not isinstance(stored, str) else stored.encode())
            return text.rstrip(" ") if self.type == _CHAR else text
        if self.type == _FLOAT:
            return shortest_float(stored)
        return bytes(stored) if self.is_octets and self.type == _CHAR else stored


def _text(stored: bytes) -> str:
    try:
        return stored.decode("utf-8")
    except UnicodeDecodeError:
        return stored.decode("latin-1")


def shortest_float(stored: float) -> float:
    """The shortest number that a 32-bit float keeps as `stored`: 52.2 for 52.20000076293945."""
    for digits in range(6, 9):
        candidate = float(f"{stored:.{digits}g}")
        if struct.pack("f", candidate) == struct.pack("f", stored):
            return candidate
    return stored


class OriginalDatabase:
    """A first-generation database that is open for reading.

    Args:
        connection: of a read-only transaction.

    Raises:
        InvalidDocumentError: it lacks the tables of one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._columns: defaultdict[str, list[_Column]] = defaultdict(list)
        for table, name, kind, length, character_set in connection.exec_driver_sql(_COLUMNS):
            column = _Column(name.lower(), kind, length, character_set == _OCTETS)
            self._columns[table.lower()].append(column)
        self._references = {
            (table.lower(), other.lower()): column.lower()
            for table, column, other in connection.exec_driver_sql(_REFERENCES)
        }
        missing = [name for name in REQUIRED if name not in self._columns]
        if missing:
            raise InvalidDocumentError(
                f"this is no database of the first generation: it has no table {', '.join(missing)}"
            )

    def has(self, table: str) -> bool:
        """Whether the table exists; exports and imports came later than the rest."""
        return table in self._columns

    def reference(self, table: str, other: str) -> str:
        """The column of `table` that refers to `other`."""
        by_name = [column.name for column in self._columns[table]]
        likely = (f"{other.removeprefix('t_')}id", other.removeprefix("t_"))
        found = self._references.get((table, other)) or next((n for n in likely if n in by_name), None)
        if found is None:
            raise InvalidDocumentError(f"table {table} of the original does not refer to {other}")
        return found

    def count(self, table: str) -> int:
        """Number of rows."""
        if not self.has(table):
            return 0
        return int(self._connection.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar_one())

    def repeated(self, table: str, column: str) -> list[bytes]:
        """Identities that more than one row has."""
        statement = f"SELECT {column} FROM {table} GROUP BY {column} HAVING COUNT(*) > 1"
        return [bytes(row[0]) for row in self._connection.exec_driver_sql(statement) if row[0] is not None]

    def rows(self, table: str) -> list[OriginalRow]:
        """All rows of a small table."""
        return self._select(table, "", ()) if self.has(table) else []

    def pages(self, table: str) -> Iterator[list[OriginalRow]]:
        """All rows of a table with a column ``internalID``, in the order in which they were made."""
        last = None
        while self.has(table):
            behind = "" if last is None else "WHERE internalid > ?"
            page = self._select(table, f"{behind} ORDER BY internalid", () if last is None else (last,), PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            last = page[-1]["internalid"]

    def referring(self, table: str, other: str, keys: Iterable[int]) -> dict[int, list[OriginalRow]]:
        """The rows of `table` that refer to rows of `other`, by the internal ids of these."""
        found: defaultdict[int, list[OriginalRow]] = defaultdict(list)
        if self.has(table):
            column = self.reference(table, other)
            for row in self._among(table, column, keys):
                found[row[column]].append(row)
        return found

    def by_internal_id(self, table: str, keys: Iterable[int]) -> dict[int, OriginalRow]:
        """Rows by their internal ids."""
        return {row["internalid"]: row for row in self._among(table, "internalid", keys)}

    def _among(self, table: str, column: str, keys: Iterable[int]) -> Iterator[OriginalRow]:
        remaining = iter(sorted(set(keys)))
        while chunk := tuple(islice(remaining, _IN_LIST)):
            marks = ", ".join("?" * len(chunk))
            yield from self._select(table, f"WHERE {column} IN ({marks})", chunk)

    def _select(
        self, table: str, rest: str, parameters: Sequence[int], first: int | None = None
    ) -> list[OriginalRow]:
        columns = self._columns[table]
        selected = ", ".join(column.selected() for column in columns)
        limit = "" if first is None else f"FIRST {first} "
        statement = f"SELECT {limit}{selected} FROM {table} {rest}"
        found = self._connection.exec_driver_sql(statement, tuple(parameters))
        return [
            {column.name: column.value(stored) for column, stored in zip(columns, row, strict=True)}
            for row in found
        ]


@contextmanager
def open_original(db_path: str | Path, user: str | None, password: str | None) -> Iterator[OriginalDatabase]:
    """Open a first-generation database for reading; nothing is written to it.

    Args:
        db_path: a Firebird DSN, or the path of a file that ends in ``.fdb``.
        user: account at a Firebird server.
        password: its password.

    Raises:
        InvalidDocumentError: it is no Firebird database, or not one of the first generation.
        NotFoundError: there is none.
        ConfigurationError: the extra ``firebird`` is not installed, or the server refuses the user.
        UnavailableError: the database does not answer, or was written by an older Firebird.
    """
    with closing(open_database(db_path, user, password)) as transactions:
        backend = transactions.backend
        if backend.name != "firebird":
            raise InvalidDocumentError(
                f"a database of the first generation is a Firebird one, not {backend.name}: name its DSN, or "
                "a file that ends in .fdb"
            )
        if not backend.exists():
            raise NotFoundError(f"there is no database {backend.label}")
        with transactions.reading() as connection:
            yield OriginalDatabase(connection)
