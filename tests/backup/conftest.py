"""Fixtures of the backup tests: empty databases of any engine, and backups of small nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from meteorpi_db.backup import RestoreOptions, RestoreReport
from meteorpi_db.database import MeteorDatabase
from tests import engines
from tests.engines import Engine


class Restore(Protocol):
    """The type of the fixture `restore`."""

    def __call__(
        self, db_path: str | Path, *, snapshot: str | None = None, options: RestoreOptions | None = None
    ) -> RestoreReport: ...


@pytest.fixture
def empty_database(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Call it with the name of an engine for the `db_path` of a database with tables and no rows."""
    made: list[tuple[Engine, str]] = []

    def make(engine_name: str) -> str:
        engine = engines.named(engine_name, request)
        made.append((engine, engine.new_name()))
        engine.create_with_schema(made[-1][1])
        return engine.db_path(made[-1][1])

    yield make
    for engine, name in made:
        engine.drop(name)


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """Where backups go; nothing is there."""
    return tmp_path / "backups"


@pytest.fixture
def restore(backups: Path, tmp_path: Path) -> Restore:
    """Call it to restore out of `backups` into a database and the store in ``restored-files``."""

    def restore_to(
        db_path: str | Path, *, snapshot: str | None = None, options: RestoreOptions | None = None
    ) -> RestoreReport:
        store = tmp_path / "restored-files"
        return MeteorDatabase.restore_from(
            backups, snapshot, db_path=db_path, file_store_path=store, options=options
        )

    return restore_to
