"""The step that brings the tables of blocks to the database of a node that ran before there were any."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.backup import making
from meteorpi_db.backup.rows import digest_of, rows_of
from meteorpi_db.blocks.tables import TABLES
from meteorpi_db.connections import Transactions
from meteorpi_db.migrations import SCHEMA, SchemaChange, ensure_schema, schema_version
from meteorpi_db.testing.servers import PASSWORD, USER
from tests.archive.test_migration import named_alike
from tests.blocks.making import PREFIX, StoredBlocks
from tests.db import workers
from tests.db.making import CAMERA, add_file, add_status
from tests.db.test_migrations import shape_of
from tests.older_schemas import metadata_of_version, schema_of_version

VERSIONS = pytest.mark.parametrize("version", [1, 2])


def fill(transactions: Transactions, version: int) -> None:
    """A mark, and where there can be one, a client of archives."""
    mark = metadata_of_version(version).tables["high_water_mark"]
    transactions.write(lambda c: c.execute(insert(mark).values(camera_id=CAMERA, mark=2**41)))
    if version > 1:
        ArchiveRegister(transactions).add_client("portal", secret="s" * 96)


def digests_of(transactions: Transactions, version: int) -> dict[str, str]:
    """What the tables of a version hold."""
    old = metadata_of_version(version).sorted_tables
    with transactions.reading() as connection:
        return {table.name: digest_of(rows_of(connection, table)).hexadecimal for table in old}


@pytest.mark.contract("K-401", "issue-2.2/migrations", "F.1/block_account", "F.1/block_event")
@VERSIONS
def test_older_node_gets_the_tables_of_a_new_one_and_keeps_its_data(
    bare_database: str, db: MeteorDatabase, open_database: Callable[..., MeteorDatabase], version: int
) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        old = schema_of_version(version)
        assert ensure_schema(transactions, create=True, schema=old) == SchemaChange(0, version)
        fill(transactions, version)
        before = digests_of(transactions, version)

        change = ensure_schema(transactions)
        again = ensure_schema(transactions)

        assert (change.before, change.after) == (version, SCHEMA.version)
        assert again == SchemaChange(SCHEMA.version, SCHEMA.version)
        assert digests_of(transactions, version) == before
        assert named_alike(shape_of(transactions)) == named_alike(shape_of(db.transactions))
    with open_database(bare_database, db_user=USER, db_password=PASSWORD) as node:
        blocks = StoredBlocks(node)
        blocks.make()
        blocks.store("a", b"first")
        assert blocks.counted() == (5, 1)


@pytest.mark.contract("K-401")
@pytest.mark.engines("sqlite", "postgresql")
@VERSIONS
def test_backup_of_an_older_node_is_restored_with_the_tables(
    db: MeteorDatabase, bare_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    add_status(db)
    add_file(db)
    with monkeypatch.context() as older_software:
        older_software.setattr(making, "SCHEMA", schema_of_version(version))
        db.backup_to(tmp_path / "backups")

    report = MeteorDatabase.restore_from(
        tmp_path / "backups",
        db_path=bare_database,
        file_store_path=tmp_path / "restored",
        db_user=USER,
        db_password=PASSWORD,
    )

    assert report.is_complete
    with closing(workers.open_plainly(bare_database)) as transactions:
        assert ensure_schema(transactions).before == SCHEMA.version
        assert digests_of(transactions, version) == digests_of(db.transactions, version)


@pytest.mark.contract("K-401")
@pytest.mark.engines("sqlite", "firebird", "postgresql")
def test_step_that_was_cut_off_is_taken_up_where_it_ended(bare_database: str) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions, create=True, schema=schema_of_version(2))
        half = metadata_of_version(3)
        wanted = [half.tables[table.name] for table in TABLES[:3]]
        with transactions.schema_connection() as connection:
            half.create_all(connection, tables=wanted)
            connection.commit()

        ensure_schema(transactions)

        with transactions.reading() as connection:
            assert set(inspect(connection).get_table_names()) >= {table.name for table in TABLES}
            assert schema_version(connection) == SCHEMA.version
        with transactions.reading() as connection:
            assert {index["name"] for index in inspect(connection).get_indexes("block_prefix")} >= {
                "ix_block_prefix_account"
            }


@pytest.mark.contract("K-400")
@pytest.mark.engines("sqlite", "firebird", "postgresql")
def test_numbers_of_64_bits_fit(db: MeteorDatabase) -> None:
    blocks = StoredBlocks(db)
    blocks.make()
    largest = {"used": 2**63 - 1, "quota": 2**63 - 1, "sequence": 2**63 - 1}
    prefix = TABLES[1]

    db.transactions.write(lambda c: c.execute(prefix.update().values(**largest)))

    with db.transactions.reading() as connection:
        row = connection.execute(prefix.select().where(prefix.c.name == PREFIX)).mappings().one()
    assert {name: row[name] for name in largest} == largest
