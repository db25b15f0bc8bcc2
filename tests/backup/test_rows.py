"""Rows as text: what goes in comes out, and the shapes of tables likewise."""

from __future__ import annotations

import json
import math
import re
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, LargeBinary, MetaData, Table
from sqlalchemy.types import TypeEngine

from meteorpi_db import tables
from meteorpi_db.backup.rows import digest_of, line_of, row_reader
from meteorpi_db.backup.shape import describe_table, metadata_from
from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.dialects import Amount, ExactText, Identifier, LongText
from meteorpi_db.migrations import Schema, ensure_schema
from meteorpi_db.testing.servers import PASSWORD, USER
from tests.db.test_migrations import shape_of

ALL_TABLES = tables.metadata.sorted_tables


def values_of(kind: TypeEngine[Any], nullable: bool) -> st.SearchStrategy[Any]:
    """Values that a column of that type can hold."""
    if isinstance(kind, ExactText | LongText):
        found: st.SearchStrategy[Any] = st.text()  # NUL and all of Unicode but halves of surrogates
    elif isinstance(kind, Identifier):
        found = st.uuids()
    elif kind is Amount:
        found = st.floats(allow_nan=False, allow_infinity=False)
    elif kind.python_type is bool:
        found = st.booleans()
    else:
        found = st.integers(-(2**63), 2**63 - 1)
    return st.none() | found if nullable else found


@st.composite
def rows(draw: st.DrawFn) -> tuple[Table, list[Any]]:
    table = draw(st.sampled_from(ALL_TABLES))
    return table, [draw(values_of(column.type, column.nullable is True)) for column in table.c]


@given(rows())
def test_row_comes_back_exactly(table_and_row: tuple[Table, list[Any]]) -> None:
    table, row = table_and_row

    line = line_of(row)
    read = row_reader(table)(line)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert read == row
    assert [type(value) for value in read] == [type(value) for value in row]
    assert line_of(read) == line


def test_zeros_are_alike_and_numbers_that_are_none_are_refused() -> None:
    assert line_of([-0.0]) == line_of([0.0])
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            line_of([number])


@pytest.mark.parametrize("line", [b"[1]\n", b"[1,2,3]\n", b"{}\n", b"[\n", b"\n", b"7\n"])
def test_line_that_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        row_reader(tables.high_water_mark)(line)


def test_digest_depends_on_values_and_order() -> None:
    found = {
        digest_of(some).hexadecimal
        for some in ([[1, "a"], [2, "b"]], [[2, "b"], [1, "a"]], [[1, "a"]], [[1, "a"], [2, "B"]])
    }

    assert len(found) == 4


def test_shapes_survive_as_text() -> None:
    shapes = {table.name: describe_table(table) for table in ALL_TABLES}

    again = metadata_from(json.loads(json.dumps(shapes)))

    assert {table.name: describe_table(table) for table in again.sorted_tables} == shapes


def test_column_that_no_backup_could_keep_is_refused() -> None:
    """Whoever adds a type to the schema learns here that backups need to know it."""
    with pytest.raises(TypeError, match="LargeBinary"):
        describe_table(Table("picture", MetaData(), Column("bytes", LargeBinary)))


def without_given_names(transactions: Transactions) -> dict[str, object]:
    """The shape of a database without the names that Firebird makes up for indices, in order of creation."""
    text = json.dumps(shape_of(transactions), default=str, sort_keys=True)
    found: dict[str, object] = json.loads(re.sub(r"rdb\$\d+", "rdb", text))
    return found


@pytest.mark.contract("issue-3.5/restore-versions")
def test_tables_made_from_their_shapes_equal_the_usual_ones(bare_database: str, db_path: str) -> None:
    metadata = metadata_from({table.name: describe_table(table) for table in ALL_TABLES})

    with (
        closing(open_database(bare_database, USER, PASSWORD)) as made,
        closing(open_database(db_path, USER, PASSWORD)) as usual,
    ):
        ensure_schema(made, create=True, schema=Schema(metadata))
        assert without_given_names(made) == without_given_names(usual)
