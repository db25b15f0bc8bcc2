"""The way back of the schema: data is kept or the way refused, and it can be gone again and again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, UniqueConstraint, func, insert, inspect, select, update

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.blocks.tables import TABLES as BLOCK_TABLES
from meteorpi_db.blocks.tables import block_event, block_prefix
from meteorpi_db.connections import Transactions
from meteorpi_db.migrations import (
    SCHEMA,
    Schema,
    SchemaChange,
    SchemaEditor,
    Step,
    ensure_schema,
    revert_schema,
    schema_state,
    schema_version,
)
from meteorpi_db.migrations.history import STEPS as PRESENT_STEPS
from meteorpi_db.migrations.history import added
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model.errors import ConfigurationError, ConflictError, SchemaVersionError
from tests.archive.test_migration import named_alike
from tests.blocks.making import PREFIX, StoredBlocks
from tests.db import workers
from tests.db.making import add_file, add_status
from tests.db.test_migrations import PRESENT, fill, open_counters, shape_of
from tests.db.workers import counter
from tests.older_schemas import schema_of_version

NOTE = PRESENT.tables["note"]

# Making and dropping tables is what the embedded Firebird, the same engine as the server's, is slowest at.
THREE = pytest.mark.engines("sqlite", "firebird", "postgresql")


def close_counters(editor: SchemaEditor) -> None:
    """The way back from columns and an index, which keeps what the older columns can hold."""
    table = PRESENT.tables["counter"]
    for index in table.indexes:
        editor.drop_index(index)
    editor.drop_column("counter", "remark")
    editor.drop_column("counter", "is_open")


STEPS = (
    Step("counters can be open", open_counters, close_counters, is_tolerated=True),
    added("counters have notes", [NOTE]),
)
UPGRADED = Schema(PRESENT, STEPS)


def add_note(connection: Connection) -> None:
    connection.execute(insert(NOTE).values(counter_name="shared", position=1))


def counters_in(connection: Connection) -> list[tuple[object, ...]]:
    rows = connection.execute(select(counter.c.name, counter.c.number).order_by(counter.c.number))
    return [tuple(row) for row in rows]


@pytest.mark.contract("K-401")
@THREE
def test_there_and_back_again_keeps_data_and_shape(transactions: Transactions) -> None:
    transactions.write(fill)
    before = named_alike(shape_of(transactions))
    ensure_schema(transactions, schema=UPGRADED)
    upgraded = named_alike(shape_of(transactions))

    back = revert_schema(transactions, 1, schema=UPGRADED)

    assert (back.before, back.after) == (3, 1)
    assert {**named_alike(shape_of(transactions)), "schema_step": ""} == {**before, "schema_step": ""}
    with transactions.reading() as connection:
        assert schema_version(connection) == 1
        assert counters_in(connection) == [("shared", 0), ("ünïcode ", 2**60)]
    assert revert_schema(transactions, 1, schema=UPGRADED) == SchemaChange(1, 1)  # twice is harmless
    assert ensure_schema(transactions, schema=UPGRADED).after == 3
    assert named_alike(shape_of(transactions)) == upgraded


@pytest.mark.contract("K-522")
@pytest.mark.engines("sqlite")
def test_data_that_would_be_lost_is_refused_unless_forced(transactions: Transactions) -> None:
    ensure_schema(transactions, schema=UPGRADED)
    transactions.write(add_note)

    with pytest.raises(ConflictError, match="note 1"):
        revert_schema(transactions, 1, schema=UPGRADED)

    with transactions.reading() as connection:
        assert schema_version(connection) == 3
        assert connection.execute(select(func.count()).select_from(NOTE)).scalar() == 1
    assert revert_schema(transactions, 2, force=True, schema=UPGRADED).after == 2
    with transactions.reading() as connection:
        assert "note" not in inspect(connection).get_table_names()


@pytest.mark.contract("K-401")
@THREE
def test_way_back_that_was_cut_off_is_gone_to_its_end(transactions: Transactions) -> None:
    """On Firebird each change takes effect at once: the version may be ahead of, or behind, the tables."""
    ensure_schema(transactions, schema=UPGRADED)
    with transactions.schema_connection() as connection:
        editor = SchemaEditor(connection, transactions.backend)
        editor.drop_table(NOTE)
        connection.commit()

    assert revert_schema(transactions, 2, schema=UPGRADED).after == 2
    with transactions.schema_connection() as connection:
        SchemaEditor(connection, transactions.backend).create_table(NOTE)
        connection.commit()
    assert revert_schema(transactions, 2, schema=UPGRADED) == SchemaChange(2, 2)

    with transactions.reading() as connection:
        assert "note" not in inspect(connection).get_table_names()


@pytest.mark.contract("K-521")
@pytest.mark.engines("sqlite")
def test_software_works_with_a_newer_schema_that_it_tolerates(transactions: Transactions) -> None:
    older = workers.SCHEMA
    ensure_schema(transactions, schema=Schema(PRESENT, STEPS[:1]))

    assert ensure_schema(transactions, schema=older) == SchemaChange(2, 2)

    with transactions.reading() as connection:
        assert schema_state(connection) == (2, 1)
    ensure_schema(transactions, schema=UPGRADED)
    with pytest.raises(SchemaVersionError, match="version 3, but this software knows only versions up to 1"):
        ensure_schema(transactions, schema=older)


@THREE
def test_database_from_before_the_way_back_learns_of_it(transactions: Transactions) -> None:
    with transactions.schema_connection() as connection:
        SchemaEditor(connection, transactions.backend).drop_column("schema_step", "oldest_for")
        connection.commit()
    with transactions.reading() as connection:
        assert schema_state(connection) == (1, 1)

    ensure_schema(transactions, schema=UPGRADED)

    with transactions.reading() as connection:
        assert schema_state(connection) == (3, 3)
    assert revert_schema(transactions, 2, schema=UPGRADED).after == 2
    with transactions.reading() as connection:
        assert schema_state(connection) == (2, 1)


@pytest.mark.engines("sqlite")
def test_what_is_created_at_once_says_the_same_of_older_software(bare_database: str) -> None:
    tolerant = Schema(
        PRESENT, tuple(Step(step.description, step.upgrade, is_tolerated=True) for step in STEPS)
    )

    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions, create=True, schema=tolerant)

        with transactions.reading() as connection:
            assert schema_state(connection) == (3, 1)


@pytest.mark.contract("K-522")
@pytest.mark.engines("sqlite")
def test_only_software_that_knows_the_steps_takes_them_back(transactions: Transactions) -> None:
    ensure_schema(transactions, schema=UPGRADED)

    with pytest.raises(SchemaVersionError, match="only the newer software knows the way back"):
        revert_schema(transactions, 1, schema=Schema(PRESENT, STEPS[:1]))
    with pytest.raises(ConfigurationError, match="is not below"):
        revert_schema(transactions, 4, schema=UPGRADED)
    with pytest.raises(ConfigurationError, match="no way back from: one way"):
        revert_schema(
            transactions, 1, schema=Schema(PRESENT, (STEPS[0], Step("one way", lambda _editor: None)))
        )


@pytest.mark.engines("sqlite")
def test_embedded_database_is_copied_before_it_goes_back(transactions: Transactions) -> None:
    ensure_schema(transactions, schema=UPGRADED)
    transactions.write(lambda found: found.execute(update(counter).values(number=7)))

    backup = revert_schema(transactions, 1, schema=UPGRADED).backup

    assert backup is not None
    with closing(workers.open_plainly(str(backup))) as copy:
        assert workers.number_of(copy) == 7
        with copy.reading() as connection:
            assert schema_version(connection) == 3


# --- the steps of a node -----------------------------------------------------------------------------------


def test_every_step_has_a_way_back() -> None:
    assert [step.description for step in PRESENT_STEPS if step.downgrade is None] == []


@pytest.mark.contract("KD-15")
@THREE
def test_node_goes_back_to_its_first_schema_and_forward_again(db: MeteorDatabase, bare_database: str) -> None:
    add_status(db)
    add_file(db)
    present = named_alike(shape_of(db.transactions))

    revert_schema(db.transactions, 1)

    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions, create=True, schema=schema_of_version(1))
        assert named_alike(shape_of(db.transactions)) == named_alike(shape_of(transactions))
    ensure_schema(db.transactions)
    assert named_alike(shape_of(db.transactions)) == present
    assert db.count_entities()["files"] == 1


@pytest.mark.contract("K-401", "K-522")
@THREE
def test_blocks_and_archives_of_a_node_are_not_dropped_unasked(db: MeteorDatabase) -> None:
    blocks = StoredBlocks(db)
    blocks.make()
    blocks.store("a", b"first")
    ArchiveRegister(db.transactions).add_client("portal")

    with pytest.raises(ConflictError, match=r"archive_clients 1, block_account 1, block_object 1"):
        revert_schema(db.transactions, 1)

    assert blocks.counted() == (5, 1)
    assert db.get_schema_version() == SCHEMA.version
    assert revert_schema(db.transactions, 2, force=True).after == 2
    with pytest.raises(ConflictError, match="archive_clients 1;"):
        revert_schema(db.transactions, 1)


@pytest.mark.engines("sqlite")
def test_what_nobody_misses_does_not_hold_the_way_up(db: MeteorDatabase) -> None:
    blocks = StoredBlocks(db)
    blocks.make()
    statements = [
        insert(block_event).values(prefix=PREFIX, number=1, operation="DELETE", path="a", occurred_at=2**41),
        block_prefix.delete(),
    ]
    with db.transactions.reading() as connection:
        assert schema_state(connection) == (SCHEMA.version, SCHEMA.oldest_for(SCHEMA.version))
    db.transactions.write(lambda c: [c.execute(statement) for statement in statements])
    db.transactions.write(lambda c: c.exec_driver_sql("DELETE FROM block_account"))

    assert revert_schema(db.transactions, 2).after == 2


@pytest.mark.contract("KD-15")
@pytest.mark.engines("sqlite", "postgresql")
def test_prefixes_of_an_account_are_found_by_an_index(
    open_database: Callable[..., MeteorDatabase], bare_database: str, tmp_path: Path
) -> None:
    """On a node that was carried forward, where the ancestor never made it."""
    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions, create=True, schema=schema_of_version(2))
        revert_schema(transactions, 1)
    with open_database(bare_database, db_user=USER, db_password=PASSWORD) as node:
        with node.transactions.reading() as connection:
            indices = {i["name"]: i["column_names"] for i in inspect(connection).get_indexes("block_prefix")}
        assert indices["ix_block_prefix_account"] == ["account_id", "name"]
        if node.transactions.backend.name == "sqlite":
            with node.transactions.reading() as connection:
                plan = connection.exec_driver_sql(
                    "EXPLAIN QUERY PLAN SELECT name FROM block_prefix WHERE account_id = 'a' ORDER BY name"
                ).all()
            assert "ix_block_prefix_account" in str(plan)


@pytest.mark.contract("K-400", "KD-15")
def test_every_table_of_blocks_is_searched_by_account_through_an_index() -> None:
    tables = [table for table in BLOCK_TABLES if "account_id" in table.columns]
    keys = {
        table.name: [index.columns for index in table.indexes]
        + [found.columns for found in table.constraints if isinstance(found, UniqueConstraint)]
        + [table.primary_key.columns]
        for table in tables
    }

    assert len(tables) >= 5
    first = {name: {columns.keys()[0] for columns in found} for name, found in keys.items()}
    assert [name for name, found in first.items() if "account_id" not in found] == []
