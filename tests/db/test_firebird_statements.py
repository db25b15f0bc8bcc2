"""Statements of fdb, which must not be left to the garbage collector."""

from __future__ import annotations

import pytest

from meteorpi_db.connections import Transactions


@pytest.mark.engines("firebird", "firebird-embedded")
def test_statement_is_dropped_when_its_cursor_is_closed(transactions: Transactions) -> None:
    """Collected later, in another thread, it would wait for its connection with that thread's rows locked."""
    with transactions.engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT 1 FROM rdb$database")
        statement = cursor._ps

        cursor.close()

        assert statement.closed


@pytest.mark.engines("firebird", "firebird-embedded")
def test_cursor_is_closed_after_many_executions_at_once(transactions: Transactions) -> None:
    """The driver has dropped their statement already."""
    with transactions.engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.executemany("RECREATE GLOBAL TEMPORARY TABLE gone (number INTEGER)", [()])

        cursor.close()
