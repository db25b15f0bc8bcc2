"""The databases that the fixtures hand out: fresh, apart from each other, and with the present schema."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import inspect

from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.migrations import SCHEMA, schema_version
from meteorpi_db.testing.servers import PASSWORD, USER


def connect(db_path: str) -> closing[Transactions]:
    return closing(open_database(db_path, USER, PASSWORD))


@pytest.mark.contract("B-61")
def test_each_new_database_has_the_schema_and_is_another_one(new_database: Callable[[], str]) -> None:
    paths = [new_database(), new_database()]

    assert len(set(paths)) == 2
    for path in paths:
        with connect(path) as transactions, transactions.reading() as connection:
            assert schema_version(connection) == SCHEMA.version


def test_bare_database_has_no_tables(bare_database: str) -> None:
    with connect(bare_database) as transactions, transactions.reading() as connection:
        assert inspect(connection).get_table_names() == []
