"""Fixtures of the database tests: a small schema of their own on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import insert

from meteorpi_db.connections import Transactions
from meteorpi_db.migrations import ensure_schema
from tests.db import workers


@pytest.fixture
def transactions(bare_database: str) -> Iterator[Transactions]:
    """An open database with the tables of `workers` and the shared counter at zero."""
    with closing(workers.open_plainly(bare_database)) as opened:
        ensure_schema(opened, create=True, schema=workers.SCHEMA)
        opened.write(lambda found: found.execute(insert(workers.counter).values(name="shared", number=0)))
        yield opened
