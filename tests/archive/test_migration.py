"""The step that brings the tables of archives to the database of a node that ran before there were any."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, insert, inspect

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tables import TABLES
from meteorpi_db.backup import making
from meteorpi_db.backup.rows import digest_of, rows_of
from meteorpi_db.connections import Transactions
from meteorpi_db.migrations import SCHEMA, Schema, SchemaChange, ensure_schema, schema_version
from meteorpi_db.testing.servers import PASSWORD, USER
from tests.db import workers
from tests.db.making import CAMERA, add_file, add_status
from tests.db.test_migrations import shape_of
from tests.older_schemas import metadata_of_version

# The embedded Firebird is the same engine as the server's, and making tables is what it is slowest at.
pytestmark = pytest.mark.engines("sqlite", "firebird", "postgresql")

ARCHIVE_TABLES = {table.name for table in TABLES}


OLD = metadata_of_version(1)


def fill(connection: Connection) -> None:
    """An account with a token's worth of text, and a high water mark."""
    account = {"user_id": "Ünïx ", "password_hash": "x" * 90, "role_mask": 3, "created_at": 2**41}
    connection.execute(
        insert(OLD.tables["user_account"]).values(account | {"is_enabled": True, "is_restricted": False})
    )
    connection.execute(insert(OLD.tables["high_water_mark"]).values(camera_id=CAMERA, mark=2**41))


def digests_of(transactions: Transactions) -> dict[str, str]:
    """What the tables of version 1 hold."""
    with transactions.reading() as connection:
        return {table.name: digest_of(rows_of(connection, table)).hexadecimal for table in OLD.sorted_tables}


def named_alike(shape: dict[str, object]) -> dict[str, str]:
    """A shape without the numbers that Firebird gives to constraints in the order in which they were made."""
    return {name: re.sub(r"rdb\$\d+", "rdb$", str(found)) for name, found in shape.items()}


@pytest.mark.contract("archive-3.19", "issue-2.2/migrations")
def test_node_of_version_1_gets_the_tables_of_a_new_one_and_keeps_its_data(
    bare_database: str, db: MeteorDatabase, open_database: Callable[..., MeteorDatabase]
) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        assert ensure_schema(transactions, create=True, schema=Schema(OLD)) == SchemaChange(0, 1)
        transactions.write(fill)
        before = digests_of(transactions)

        change = ensure_schema(transactions)

        assert (change.before, change.after) == (1, SCHEMA.version)
        assert digests_of(transactions) == before
        assert named_alike(shape_of(transactions)) == named_alike(shape_of(db.transactions))
    with open_database(bare_database, db_user=USER, db_password=PASSWORD) as node:
        ArchiveRegister(node.transactions).add_client("portal")
        add_status(node)
        add_file(node)
        assert [user.user_id for user in node.get_users()] == ["Ünïx "]


@pytest.mark.contract("archive-3.19", "issue-3.5/restore-versions")
def test_backup_of_version_1_is_restored_with_the_tables(
    db: MeteorDatabase, bare_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_status(db)
    add_file(db)
    with monkeypatch.context() as older_software:
        older_software.setattr(making, "SCHEMA", Schema(OLD))
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
        assert digests_of(transactions) == digests_of(db.transactions)
        ArchiveRegister(transactions).add_client("portal")


def test_step_that_was_cut_off_is_taken_up_where_it_ended(bare_database: str) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions, create=True, schema=Schema(OLD))
        half = MetaData()
        for table in TABLES[:1]:
            table.to_metadata(half)
        with transactions.schema_connection() as connection:
            half.create_all(connection)
            connection.commit()

        ensure_schema(transactions)

        with transactions.reading() as connection:
            assert set(inspect(connection).get_table_names()) >= ARCHIVE_TABLES
            assert schema_version(connection) == SCHEMA.version
