"""From every engine to every engine: what goes in comes out, row by row and byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_db.backup import RestoreOptions
from meteorpi_db.backup.dumping import NOT_CARRIED
from meteorpi_db.connections import open_database
from meteorpi_db.testing.servers import PASSWORD, USER
from tests.backup.conftest import Restore
from tests.backup.nodes import contents_of, digests, digests_at, empty_tables, fill, id_of
from tests.conftest import ENGINE_NAMES
from tests.db.making import add_event, add_export, add_file, add_status
from tests.db.test_migrations import shape_of

KEEP = RestoreOptions(keep_exports=True)


@pytest.mark.contract("issue-3.5/backup", "issue-3.5/restore", "issue-3.5/copy-db", "K-524")
@pytest.mark.parametrize("target", ENGINE_NAMES)
def test_node_moves_between_engines(
    db: MeteorDatabase,
    target: str,
    empty_database: Callable[[str], str],
    restore: Restore,
    backups: Path,
    tmp_path: Path,
) -> None:
    fill(db)
    assert empty_tables(db.transactions) == set()
    before = digests(db.transactions)
    restored, copied = empty_database(target), empty_database(target)

    assert db.backup_to(backups).is_complete
    report = restore(restored, options=KEEP)
    copy = db.copy_database_to(copied, online=True)

    assert report.is_complete
    assert report.rows == copy.rows > 40
    with (
        MeteorDatabase(restored, tmp_path / "restored-files") as first,
        MeteorDatabase(copied, tmp_path / "files") as second,
    ):
        assert digests(first.transactions) == digests(second.transactions) == before
        assert contents_of(first) == contents_of(db)
        assert first.verify(deep=True).is_clean
        assert second.verify(deep=True).is_clean
        assert empty_tables(first.transactions) == empty_tables(second.transactions) == NOT_CARRIED
        # Passwords of peers are readable, so the key came along both times.
        for node in (first, second):
            assert {config.password for config in node.get_export_configurations()} == {"secret ☄"}
            _assert_alive(node)


@pytest.mark.contract("issue-3.5/restore", "issue-3.5/copy-db")
def test_missing_database_is_made(
    db: MeteorDatabase, bare_database: str, new_database: Callable[[], str], restore: Restore, backups: Path
) -> None:
    fill(db)
    before = digests(db.transactions)
    db.backup_to(backups)

    assert restore(bare_database, options=KEEP).is_complete

    assert digests_at(bare_database) == before
    with (
        closing(open_database(bare_database, USER, PASSWORD)) as made,
        closing(open_database(new_database(), USER, PASSWORD)) as usual,
    ):
        assert shape_of(made) == shape_of(usual)


def _assert_alive(node: MeteorDatabase) -> None:
    """New rows get numbers above those that came with theirs, in every table that counts."""
    counted = [table for table in tables.metadata.sorted_tables if "id" in table.c]
    highest = {table.name: _numbers(node, table.name)[-1] for table in counted}
    record = add_file(node, 41, content=b"new")
    add_event(node, 42, [record])
    add_status(node, "new camera", 50)
    node.record_audit("a", "b", "c")
    node.mark_entities_to_export(add_export(node))
    for table in counted:
        numbers = _numbers(node, table.name)
        assert len(numbers) == len(set(numbers))
        assert numbers[-1] > highest[table.name], table.name
    with node.open_content(id_of(record)) as chunks:
        assert b"".join(chunks) == b"new"


def _numbers(node: MeteorDatabase, name: str) -> list[int]:
    table = tables.metadata.tables[name]
    with node.transactions.reading() as connection:
        return list(connection.execute(select(table.c.id).order_by(table.c.id)).scalars())
