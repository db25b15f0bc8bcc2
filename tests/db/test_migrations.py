"""The schema: created, carried forward with its data, backed up before, refused when newer."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    false,
    insert,
    inspect,
    select,
    text,
    update,
)

from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.dialects import ExactText, LongText, RowId
from meteorpi_db.migrations import (
    SCHEMA,
    Schema,
    SchemaChange,
    SchemaEditor,
    Step,
    ensure_schema,
    schema_version,
)
from meteorpi_db.migrations.runner import schema_step
from meteorpi_db.testing.processes import find_program
from meteorpi_model.errors import SchemaVersionError
from tests.db import workers
from tests.db.workers import counter, next_line, number_of, say, worker

SERVERS = ("firebird", "postgresql")
EMBEDDED = ("sqlite", "firebird-embedded")


def metadata_of_version_3() -> MetaData:
    """`workers.metadata` after the two steps below, as an empty database gets it at once."""
    metadata = MetaData()
    Table(
        "counter",
        metadata,
        Column("name", ExactText(64), primary_key=True),
        Column("number", BigInteger, nullable=False),
        Column("is_open", Boolean(create_constraint=False), nullable=False, server_default=false()),
        Column("remark", LongText),
        Index("ix_counter_open", "is_open", "number"),
    )
    Table(
        "entry",
        metadata,
        Column("id", RowId, primary_key=True, autoincrement=True),
        Column("author", ExactText(64), nullable=False),
    )
    Table(
        "note",
        metadata,
        Column("id", RowId, primary_key=True, autoincrement=True),
        Column("counter_name", ExactText(64), ForeignKey("counter.name", ondelete="CASCADE")),
        Column("position", Integer, nullable=False),
        Index("ix_note_counter", "counter_name", "position"),
    )
    return metadata


PRESENT = metadata_of_version_3()


def open_counters(editor: SchemaEditor) -> None:
    """A column with a value for the rows that exist, one without, an index, and data."""
    table = PRESENT.tables["counter"]
    editor.add_column("counter", "is_open", table.c.is_open.type, server_default="FALSE", nullable=False)
    editor.add_column("counter", "remark", LongText())
    for index in table.indexes:
        editor.create_index(index)
    editor.execute(update(table).where(table.c.number > 10).values(is_open=True, remark="many"))


def add_notes(editor: SchemaEditor) -> None:
    """A table that refers to another."""
    editor.create_table(PRESENT.tables["note"])


STEPS = (Step("counters can be open", open_counters), Step("counters have notes", add_notes))
UPGRADED = Schema(PRESENT, STEPS)


def fill(connection: Connection) -> None:
    connection.execute(insert(counter).values(name="ünïcode ", number=2**60))
    connection.execute(insert(workers.entry).values(author="somebody"))


def shape_of(transactions: Transactions) -> dict[str, object]:
    """Tables, columns and indices as the engine sees them."""
    with transactions.reading() as connection:
        inspector = inspect(connection)
        return {
            name: (
                sorted((str(c["name"]), str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)),
                sorted((str(i["name"]), tuple(i["column_names"])) for i in inspector.get_indexes(name)),
                sorted((k["constrained_columns"], k["options"]) for k in inspector.get_foreign_keys(name)),
            )
            for name in inspector.get_table_names()
            if name != "schema_lock"
        }


@pytest.mark.contract("B-39", "B-61")
def test_present_schema_is_created_once(bare_database: str) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        first = ensure_schema(transactions, create=True)
        second = ensure_schema(transactions, create=True)

        with transactions.reading() as connection:
            assert schema_version(connection) == SCHEMA.version
            assert set(SCHEMA.metadata.tables) <= set(inspect(connection).get_table_names())

    assert (first, second) == (SchemaChange(0, SCHEMA.version), SchemaChange(SCHEMA.version, SCHEMA.version))


@pytest.mark.contract("issue-2.2/creation")
@pytest.mark.engines(*EMBEDDED)
def test_embedded_database_is_created_on_first_use(bare_database: str) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions)

    assert Path(bare_database).exists()


@pytest.mark.contract("issue-2.2/creation")
@pytest.mark.engines(*SERVERS)
def test_database_of_a_server_is_not_filled_unasked(bare_database: str) -> None:
    with (
        closing(workers.open_plainly(bare_database)) as transactions,
        pytest.raises(SchemaVersionError, match="meteorpi init"),
    ):
        ensure_schema(transactions)


def test_missing_database_is_left_missing_unless_asked(bare_database: str) -> None:
    missing = bare_database.replace("test_", "never_made_")

    with (
        closing(workers.open_plainly(missing)) as transactions,
        pytest.raises(SchemaVersionError, match="meteorpi init"),
    ):
        ensure_schema(transactions, create=False)

    assert not Path(missing).exists()


@pytest.mark.engines(*SERVERS)
def test_missing_database_of_a_server_is_created_when_asked(bare_database: str) -> None:
    missing = bare_database.replace("test_", "made_")

    with closing(workers.open_plainly(missing)) as transactions:
        assert ensure_schema(transactions, create=True, schema=workers.SCHEMA).before == 0
        with transactions.reading() as connection:
            assert schema_version(connection) == 1


@pytest.mark.contract("issue-2.2/migrations")
def test_older_schema_is_carried_forward_with_its_data(transactions: Transactions) -> None:
    transactions.write(fill)

    change = ensure_schema(transactions, schema=UPGRADED)

    present = PRESENT.tables["counter"]
    with transactions.reading() as connection:
        rows = connection.execute(select(present).order_by(present.c.number)).all()
        history = connection.execute(select(schema_step.c.description).order_by(schema_step.c.version)).all()
    assert (change.before, change.after) == (1, 3)
    assert [tuple(row) for row in rows] == [
        ("shared", 0, False, None),
        ("ünïcode ", 2**60, True, "many"),
    ]
    assert [row.description for row in history] == [
        "created in its present shape",
        "counters can be open",
        "counters have notes",
    ]


@pytest.mark.contract("issue-2.2/migrations")
def test_upgraded_schema_equals_a_new_one(
    transactions: Transactions, engine_name: str, request: pytest.FixtureRequest
) -> None:
    ensure_schema(transactions, schema=UPGRADED)

    engine = request.getfixturevalue("engine")
    name = engine.new_name()
    engine.create(name)
    with closing(workers.open_plainly(engine.db_path(name))) as other:
        ensure_schema(other, create=True, schema=UPGRADED)
        assert shape_of(transactions) == shape_of(other)
    engine.drop(name)


def test_new_columns_and_tables_can_be_used(transactions: Transactions) -> None:
    ensure_schema(transactions, schema=UPGRADED)
    note = PRESENT.tables["note"]

    transactions.write(lambda found: found.execute(insert(note).values(counter_name="shared", position=1)))
    transactions.write(lambda found: found.execute(workers.counter.delete()))

    with transactions.reading() as connection:
        assert connection.execute(select(note)).all() == []  # the foreign key cascades


@pytest.mark.contract("issue-2.2/migrations", "archive-3.19")
def test_newer_schema_is_refused(transactions: Transactions) -> None:
    ensure_schema(transactions, schema=UPGRADED)

    with pytest.raises(SchemaVersionError, match="version 3, but this software knows only versions up to 1"):
        ensure_schema(transactions, schema=workers.SCHEMA)


def test_upgrade_goes_on_while_others_have_the_tables_open(
    transactions: Transactions, bare_database: str
) -> None:
    with worker("stay", bare_database) as other:
        assert next_line(other) == "connected"

        assert ensure_schema(transactions, schema=UPGRADED).after == 3


@pytest.mark.contract("issue-2.2/migrations", "archive-3.19")
def test_two_processes_upgrade_once(transactions: Transactions, bare_database: str) -> None:
    transactions.close()
    with worker("upgrade_slowly", bare_database) as first, worker("upgrade_slowly", bare_database) as second:
        say(first)  # lets the step go on, in whichever process makes it
        say(second)
        answers = [[next_line(other), next_line(other)] for other in (first, second)]
        assert [first.wait(), second.wait()] == [0, 0]

    assert sorted(answers) == [["2", ""], ["in step", "1"]]
    assert number_of(transactions) == 1


def test_step_of_a_killed_process_is_made_again(transactions: Transactions, bare_database: str) -> None:
    transactions.close()
    with worker("upgrade_slowly", bare_database) as other:
        assert next_line(other) == "in step"
        other.send_signal(signal.SIGKILL)
        other.wait()
    with transactions.reading() as connection:
        assert schema_version(connection) == 1
    transactions.close()

    with worker("upgrade_slowly", bare_database) as other:
        assert next_line(other) == "in step"
        say(other)
        assert next_line(other) == "1"
        assert other.wait() == 0

    assert number_of(transactions) == 1
    with transactions.reading() as connection:
        assert schema_version(connection) == 2


def test_failing_step_leaves_the_version_as_it_was(transactions: Transactions) -> None:
    def fail(editor: SchemaEditor) -> None:
        editor.execute(update(counter).values(number=99))
        raise LookupError("a step that does not work")

    broken = Schema(workers.metadata, (Step("works", lambda _editor: None), Step("fails", fail)))

    with pytest.raises(LookupError):
        ensure_schema(transactions, schema=broken)

    with transactions.reading() as connection:
        assert schema_version(connection) == 2
    assert number_of(transactions) == 0


# --- backups -----------------------------------------------------------------------------------------


@pytest.mark.contract("issue-2.2/migrations")
@pytest.mark.engines("sqlite")
def test_embedded_sqlite_is_backed_up_before_an_upgrade(transactions: Transactions) -> None:
    transactions.write(fill)

    change = ensure_schema(transactions, schema=UPGRADED)

    assert change.backup is not None
    with closing(sqlite3.connect(change.backup)) as copy:
        assert copy.execute("SELECT MAX(version) FROM schema_step").fetchone() == (1,)
        assert copy.execute("SELECT COUNT(*) FROM counter").fetchone() == (2,)


@pytest.mark.contract("issue-2.2/migrations")
@pytest.mark.engines("firebird-embedded")
def test_embedded_firebird_is_backed_up_before_an_upgrade(transactions: Transactions, tmp_path: Path) -> None:
    transactions.write(fill)

    change = ensure_schema(transactions, schema=UPGRADED)

    assert change.backup is not None
    restored = tmp_path / "restored.fdb"
    gbak = find_program("gbak", "firebird3.0-utils")
    subprocess.run([gbak, "-c", "-user", "SYSDBA", change.backup, restored], check=True)
    with closing(open_database(restored)) as old, old.reading() as connection:
        assert schema_version(connection) == 1
        assert len(connection.execute(select(counter)).all()) == 2


@pytest.mark.engines(*EMBEDDED)
def test_nothing_is_backed_up_without_need(transactions: Transactions, bare_database: str) -> None:
    assert ensure_schema(transactions, schema=workers.SCHEMA).backup is None
    assert list(Path(bare_database).parent.glob(f"{Path(bare_database).name}*.backup")) == []


@pytest.mark.engines(*SERVERS)
def test_server_databases_are_not_backed_up_by_us(transactions: Transactions) -> None:
    assert ensure_schema(transactions, schema=UPGRADED).backup is None


@pytest.mark.engines(*EMBEDDED)
def test_backup_is_made_while_others_write(transactions: Transactions, tmp_path: Path) -> None:
    def operation(connection: Connection) -> None:
        connection.execute(update(counter).values(number=5))
        transactions.backend.back_up(transactions.engine, tmp_path / "copy")
        connection.execute(text("UPDATE counter SET number = 6"))

    transactions.write(operation)

    assert number_of(transactions) == 6
    assert (tmp_path / "copy").stat().st_size > 0
