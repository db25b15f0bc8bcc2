"""Opening databases, reading snapshots, writing transactions; threads, processes, faults."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update

from meteorpi_db.connections import POOL_OVERFLOW, POOL_SIZE, Transactions, open_database
from meteorpi_db.dialects import ConstraintError, TransactionConflictError, backend_for
from meteorpi_db.dialects.choice import parse_db_path
from meteorpi_db.migrations import ensure_schema
from meteorpi_db.testing.processes import PrivateServer
from meteorpi_db.testing.servers import PASSWORD, USER, FirebirdServer, PostgresServer
from meteorpi_model.errors import (
    ConfigurationError,
    InvalidDocumentError,
    MeteorError,
    SchemaVersionError,
    UnavailableError,
)
from tests.db import workers
from tests.db.workers import counter, entries_in, entry, increment, next_line, number_of, say, worker

SERVERS = ("firebird", "postgresql")


# --- db_path -----------------------------------------------------------------------------------------


@pytest.mark.contract("4/connection", "0.1/database")
@pytest.mark.parametrize(
    ("db_path", "url"),
    [
        (
            "localhost:/var/lib/firebird/2.5/data/meteorpi.db",
            "firebird+fdb://localhost//var/lib/firebird/2.5/data/meteorpi.db",
        ),
        ("hub.example/3055:/data/a.fdb", "firebird+fdb://hub.example:3055//data/a.fdb"),
        ("192.0.2.1:alias", "firebird+fdb://192.0.2.1/alias"),
        ("[::1]/3055:/data/a.fdb", "firebird+fdb://[::1]:3055//data/a.fdb"),
        ("winbox:C:\\data\\a.fdb", "firebird+fdb://winbox/C%3A%5Cdata%5Ca.fdb"),
        ("/data/a.fdb", "firebird+fdb:////data/a.fdb"),
        ("/data/A.FDB", "firebird+fdb:////data/A.FDB"),
        ("/data/meteorpi.db", "sqlite:////data/meteorpi.db"),
        ("/data/odd:name.db", "sqlite:////data/odd%3Aname.db"),
        ("sqlite:////data/meteorpi.db", "sqlite:////data/meteorpi.db"),
        ("postgresql://u@db.example/meteorpi", "postgresql+psycopg://u@db.example/meteorpi"),
        ("postgres://db.example/meteorpi", "postgresql+psycopg://db.example/meteorpi"),
        ("postgresql+psycopg://db.example/m", "postgresql+psycopg://db.example/m"),
        ("firebird://hub.example//data/a.fdb", "firebird+fdb://hub.example//data/a.fdb"),
        ("firebird+fdb://SYSDBA:x@//data/a.fdb", "firebird+fdb://SYSDBA:x@//data/a.fdb"),
    ],
)
def test_db_path_names_an_engine_and_a_place(db_path: str, url: str) -> None:
    assert parse_db_path(db_path).render_as_string(hide_password=False) == url


def test_relative_path_counts_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert backend_for(None, None, None).embedded_path == tmp_path / "meteorpi.db"
    assert backend_for("data/a.db", None, None).embedded_path == tmp_path / "data" / "a.db"
    assert backend_for("sqlite:///a.db", None, None).embedded_path == tmp_path / "a.db"
    assert backend_for("a.fdb", None, None).embedded_path == tmp_path / "a.fdb"


@pytest.mark.parametrize(
    "db_path",
    [
        "",
        "  ",
        "C:\\meteorpi\\data.db",
        "C:/meteorpi/data.db",
        "\\\\server\\share\\data.db",
        "mysql://localhost/meteorpi",
        "sqlite://",
        "sqlite:///:memory:",
        "firebird+fdb://localhost",
        "postgresql://host:notaport/db",
        "/data/with:colon.fdb",
        "data\x00.db",
    ],
)
def test_unreadable_db_path_is_a_value_error(db_path: str) -> None:
    with pytest.raises(ValueError):
        backend_for(db_path, USER, PASSWORD)


def test_directory_as_db_path_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a directory"):
        open_database(tmp_path)


@pytest.mark.contract("B-12", "4/connection")
def test_credentials_go_to_servers_unless_the_url_has_its_own() -> None:
    assert backend_for("localhost:/data/a.fdb", "anna", "pw").url.username == "anna"
    assert backend_for("localhost:/data/a.fdb", "anna", "pw").url.password == "pw"
    assert backend_for("postgresql://db.example/m", "anna", "pw").url.username == "anna"
    assert backend_for("postgresql://bert:own@db.example/m", "anna", "pw").url.password == "own"


def test_password_never_shows() -> None:
    label = backend_for("postgresql://bert:secret@db.example/m", None, None).label
    with pytest.raises(InvalidDocumentError) as error:
        parse_db_path("postgresql://bert:secret@host:port/db")

    assert "bert" in label
    assert "secret" not in label
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("module", "db_path", "extra"),
    [
        ("psycopg", "postgresql://db.example/m", "postgresql"),
        ("fdb", "localhost:/data/a.fdb", "firebird"),
        ("sqlalchemy_firebird", "/data/a.fdb", "firebird"),
    ],
)
def test_missing_driver_says_how_to_install_it(
    module: str, db_path: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigurationError, match=rf"pip install 'meteorpi\[{extra}\]'"):
        open_database(db_path)


def test_opening_connects_to_nothing(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "a.db")), closing(open_database(tmp_path / "a.fdb")):
        pass
    with closing(open_database("nowhere.invalid:/data/a.fdb", USER, PASSWORD)):
        pass

    assert list(tmp_path.iterdir()) == []


# --- reading and writing -----------------------------------------------------------------------------


@pytest.mark.contract("B-38")
def test_reading_sees_one_state_while_others_write(transactions: Transactions) -> None:
    statement = select(counter.c.number)

    with transactions.reading() as connection:
        before = connection.execute(statement).scalar_one()
        transactions.write(increment)
        during = connection.execute(statement).scalar_one()

    assert (before, during, number_of(transactions)) == (0, 0, 1)


def test_reading_cannot_write(transactions: Transactions) -> None:
    with pytest.raises(MeteorError), transactions.reading() as connection:
        connection.execute(insert(entry).values(author="reader"))

    assert entries_in(transactions) == 0


def test_failed_operation_changes_nothing(transactions: Transactions) -> None:
    def operation(connection: Connection) -> None:
        increment(connection)
        raise LookupError("changed my mind")

    with pytest.raises(LookupError):
        transactions.write(operation)

    assert (number_of(transactions), entries_in(transactions)) == (0, 0)


def test_write_gives_what_the_operation_gives(transactions: Transactions) -> None:
    assert transactions.write(lambda _connection: "done") == "done"


def test_mistaken_statement_is_an_error_of_ours(transactions: Transactions) -> None:
    with pytest.raises(MeteorError), transactions.reading() as connection:
        connection.execute(text("SELECT no_such_column FROM counter"))


@pytest.mark.contract("B-38")
def test_threads_and_processes_lose_no_update(transactions: Transactions, bare_database: str) -> None:
    processes, threads, times = 3, 2, 15

    with ExitStack() as stack:
        others = [
            stack.enter_context(worker("increment", bare_database, str(threads), str(times)))
            for _ in range(processes)
        ]
        for other in others:
            assert next_line(other) == "ready"
        for other in others:
            say(other)
        workers.run_increments(transactions, threads, times)
        assert [other.wait() for other in others] == [0] * processes

    total = (processes + 1) * threads * times
    assert (number_of(transactions), entries_in(transactions)) == (total, total)


def second_database(transactions: Transactions) -> closing[Transactions]:
    url = transactions.backend.url.render_as_string(hide_password=False)
    return closing(open_database(url, USER, PASSWORD))


@pytest.mark.engines(*SERVERS, "firebird-embedded")
@pytest.mark.contract("B-38")
def test_overtaken_write_is_repeated_from_its_start(transactions: Transactions) -> None:
    seen: list[int] = []

    with second_database(transactions) as other:

        def operation(connection: Connection) -> None:
            seen.append(connection.execute(select(counter.c.number)).scalar_one())
            if len(seen) == 1:
                other.write(increment)
            connection.execute(update(counter).values(number=seen[-1] + 10))

        transactions.write(operation)

    assert seen == [0, 1]
    assert number_of(transactions) == 11


@pytest.mark.engines(*SERVERS, "firebird-embedded")
def test_write_that_is_always_overtaken_ends_at_its_deadline(
    transactions: Transactions, bare_database: str
) -> None:
    with closing(workers.open_plainly(bare_database, retry_seconds=0.2)) as slow:

        def operation(connection: Connection) -> None:
            number = connection.execute(select(counter.c.number)).scalar_one()
            transactions.write(increment)
            connection.execute(update(counter).values(number=number))

        with pytest.raises(UnavailableError):
            slow.write(operation)

    assert number_of(transactions) == entries_in(transactions) > 1


@pytest.mark.engines(*SERVERS, "firebird-embedded")
def test_key_stored_meanwhile_is_seen_by_the_second_try(transactions: Transactions) -> None:
    tries: list[bool] = []

    def store(connection: Connection) -> None:
        connection.execute(insert(counter).values(name="new", number=1))

    with second_database(transactions) as other:

        def operation(connection: Connection) -> None:
            tries.append(
                connection.execute(select(counter.c.name).where(counter.c.name == "new")).first() is not None
            )
            if len(tries) == 1:
                other.write(store)
            if not tries[-1]:
                store(connection)

        transactions.write(operation)

    assert tries == [False, True]


def test_key_that_stays_taken_is_a_conflict(transactions: Transactions) -> None:
    with pytest.raises(ConstraintError):
        transactions.write(lambda found: found.execute(insert(counter).values(name="shared", number=5)))


@pytest.mark.engines("sqlite")
def test_writer_waits_for_the_writer_before(transactions: Transactions) -> None:
    order: list[str] = []
    other = threading.Thread(target=lambda: transactions.write(lambda _found: order.append("second")))

    def first(_connection: Connection) -> None:
        other.start()
        other.join(timeout=0.2)  # it cannot end: we hold the lock
        order.append("first")

    transactions.write(first)
    other.join()

    assert order == ["first", "second"]


def test_connections_are_bounded(bare_database: str) -> None:
    with closing(workers.open_plainly(bare_database, pool_wait_seconds=0.05)) as transactions:
        with ExitStack() as stack:
            for _ in range(POOL_SIZE + POOL_OVERFLOW):
                stack.enter_context(transactions.reading())
            with pytest.raises(UnavailableError, match="in use"):
                stack.enter_context(transactions.reading())

        with transactions.reading() as connection:  # and given back
            assert connection.closed is False


# --- faults ------------------------------------------------------------------------------------------


def test_lock_of_a_killed_process_is_released(transactions: Transactions, bare_database: str) -> None:
    with worker("hold", bare_database) as other:
        assert next_line(other) == "holding"
        other.send_signal(signal.SIGKILL)
        other.wait()

    started = time.monotonic()
    transactions.write(increment)

    assert time.monotonic() - started < 15
    assert number_of(transactions) == 1


@pytest.fixture
def own_server(engine_name: str, request: pytest.FixtureRequest) -> PrivateServer:
    name = {"firebird": "firebird_server", "postgresql": "postgres_server"}[engine_name]
    server: FirebirdServer | PostgresServer = request.getfixturevalue(name)
    return server


@pytest.mark.contract("faults/database-gone")
@pytest.mark.engines(*SERVERS)
@pytest.mark.parametrize("end", [PrivateServer.stop, PrivateServer.kill])
def test_restarted_server_costs_no_request(
    transactions: Transactions, own_server: PrivateServer, end: Callable[[PrivateServer], None]
) -> None:
    with ExitStack() as stack:  # several connections, all of which will be dead
        for _ in range(3):
            stack.enter_context(transactions.reading())
    transactions.write(increment)

    end(own_server)
    try:
        with pytest.raises(UnavailableError):
            transactions.write(increment)
        with pytest.raises(UnavailableError), transactions.reading():
            pass
    finally:
        own_server.start()

    assert number_of(transactions) == 1
    transactions.write(increment)
    assert number_of(transactions) == 2


@pytest.mark.contract("faults/database-gone")
@pytest.mark.engines(*SERVERS)
def test_connection_that_breaks_in_a_write_is_replaced(
    transactions: Transactions, own_server: PrivateServer
) -> None:
    tries: list[int] = []

    def operation(connection: Connection) -> None:
        tries.append(1)
        increment(connection)
        if len(tries) == 1:
            own_server.kill()
            own_server.start()
        increment(connection)

    transactions.write(operation)

    assert len(tries) == 2
    assert number_of(transactions) == 2


@pytest.mark.contract("faults/database-gone")
@pytest.mark.engines(*SERVERS)
def test_connection_that_breaks_while_reading_is_unavailable(
    transactions: Transactions, own_server: PrivateServer
) -> None:
    with transactions.reading() as connection:
        own_server.kill()
        own_server.start()
        with pytest.raises(UnavailableError):
            connection.execute(select(counter.c.number)).scalar_one()

    assert number_of(transactions) == 0


@pytest.mark.contract("B-12", "4/connection")
@pytest.mark.engines(*SERVERS)
def test_unknown_user_is_a_configuration_error(bare_database: str, engine_name: str) -> None:
    if engine_name == "postgresql":
        bare_database = bare_database.replace(f"{USER}:{PASSWORD}@", "nobody_known:wrong@")

    with (
        closing(open_database(bare_database, "nobody_known", "wrong")) as transactions,
        pytest.raises(ConfigurationError, match="refuses the user"),
        transactions.reading(),
    ):
        pass
    with (
        closing(open_database(bare_database, "nobody_known", "wrong")) as transactions,
        pytest.raises(ConfigurationError, match="refuses the user"),
    ):
        ensure_schema(transactions, create=True)


@pytest.mark.engines(*SERVERS)
def test_missing_database_names_the_command_that_makes_it(bare_database: str) -> None:
    missing = bare_database.replace("test_", "never_made_")

    with (
        closing(workers.open_plainly(missing)) as transactions,
        pytest.raises(SchemaVersionError, match="meteorpi init"),
        transactions.reading(),
    ):
        pass


@pytest.mark.engines("sqlite", "firebird-embedded")
def test_file_that_is_no_database_is_unavailable(bare_database: str) -> None:
    Path(bare_database).write_bytes(b"not a database at all" * 1000)

    with (
        closing(open_database(bare_database)) as transactions,
        pytest.raises(UnavailableError),
        transactions.reading() as connection,
    ):
        connection.execute(select(counter.c.number))


# --- several processes -------------------------------------------------------------------------------


@pytest.mark.contract("4/coexistence")
def test_several_processes_create_one_database(bare_database: str) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(worker("ensure", bare_database)) for _ in range(4)]
        for other in others:
            assert next_line(other) == "ready"
        for other in others:
            say(other)
        found = sorted(next_line(other) for other in others)
        assert [other.wait() for other in others] == [0] * 4

    assert found == ["0", "1", "1", "1"]


def test_fork_leaves_the_parent_its_connections(
    transactions: Transactions, bare_database: str, engine_name: str
) -> None:
    with worker("fork", bare_database) as other:
        status, number = next_line(other).split()
        assert other.wait() == 0

    # The embedded Firebird engine has threads and locks of its own, which do not survive a fork.
    expected = ("7", "2") if engine_name == "firebird-embedded" else ("0", "3")
    assert (status, number) == expected
    assert number_of(transactions) == int(number)


@pytest.mark.engines("firebird-embedded")
def test_process_with_other_locks_is_kept_off_an_open_file(
    transactions: Transactions, bare_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIREBIRD_LOCK", str(tmp_path))

    with worker("increment", bare_database, "1", "1") as other:
        assert next_line(other) == "ready"
        say(other)
        assert other.wait() != 0

    assert number_of(transactions) == 0


@pytest.mark.engines("firebird-embedded")
def test_closed_file_may_be_opened_with_other_locks(
    transactions: Transactions, bare_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions.close()
    monkeypatch.setenv("FIREBIRD_LOCK", str(tmp_path))

    with worker("increment", bare_database, "1", "1") as other:
        assert next_line(other) == "ready"
        say(other)
        assert other.wait() == 0

    assert number_of(transactions) == 1


@pytest.mark.engines("firebird-embedded")
def test_process_adopts_the_locks_of_those_who_have_the_file_open(
    transactions: Transactions, bare_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions.close()
    monkeypatch.setenv("FIREBIRD_LOCK", str(tmp_path))
    with worker("stay", bare_database) as first:
        assert next_line(first) == "connected"
        monkeypatch.delenv("FIREBIRD_LOCK")

        with worker("increment", bare_database, "1", "1") as second:
            assert next_line(second) == "ready"
            say(second)
            assert second.wait() == 0
        say(first)
        assert first.wait() == 0

    assert number_of(transactions) == 1


# --- signals -----------------------------------------------------------------------------------------


def test_sigterm_ends_a_process_that_has_a_connection(transactions: Transactions, bare_database: str) -> None:
    with worker("stay", bare_database) as other:
        assert next_line(other) == "connected"
        other.send_signal(signal.SIGTERM)

        assert other.wait(timeout=5) == -signal.SIGTERM


def test_sigterm_handler_can_finish_its_work(transactions: Transactions, bare_database: str) -> None:
    with worker("finish_request", bare_database) as other:
        assert next_line(other) == "connected"
        other.send_signal(signal.SIGTERM)

        assert next_line(other) == "0"
        assert other.wait(timeout=5) == 0


def test_process_ends_without_closing_anything(transactions: Transactions, bare_database: str) -> None:
    transactions.write(lambda found: found.execute(delete(entry)))
    with worker("stay", bare_database) as other:
        assert next_line(other) == "connected"
        say(other)

        assert other.wait(timeout=5) == 0


def test_schema_of_an_open_database_is_found_again(transactions: Transactions) -> None:
    assert ensure_schema(transactions, schema=workers.SCHEMA).before == 1


def test_conflict_error_says_to_try_again() -> None:
    assert TransactionConflictError("busy").retryable
