"""The private database servers that the rest of the suite, the benches and the demo stand on."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fdb
import psycopg
import pytest

from meteorpi_db.testing.processes import LOOPBACK, PrivateServer, find_program
from meteorpi_db.testing.servers import PASSWORD, USER, FirebirdServer, PostgresServer
from meteorpi_model.errors import ConfigurationError, UnavailableError


@pytest.fixture(params=[FirebirdServer, PostgresServer])
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    # The session's server proves that the programs are there, and skips the test otherwise.
    request.getfixturevalue("firebird_server" if request.param is FirebirdServer else "postgres_server")
    with request.param() as server:
        yield server


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def connect(server: PostgresServer, name: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(host=LOOPBACK, port=server.port, user=USER, dbname=name)


def test_server_listens_while_started_and_frees_the_port_when_stopped(server: PrivateServer) -> None:
    assert listens(server.port)

    server.stop()

    assert not listens(server.port)


@pytest.mark.parametrize("end", [PrivateServer.stop, PrivateServer.kill])
def test_ended_server_starts_again_on_its_port(
    server: PrivateServer, end: Callable[[PrivateServer], None]
) -> None:
    port = server.port

    end(server)
    server.start()

    assert server.port == port
    assert listens(port)


def test_paused_server_can_be_stopped(server: PrivateServer) -> None:
    server.pause()

    started = time.monotonic()
    server.stop()

    assert time.monotonic() - started < 5.5
    assert not listens(server.port)


def test_directory_made_by_the_server_goes_away_with_it(server: PrivateServer) -> None:
    directory = server.directory

    server.close()

    assert not directory.exists()


def test_firebird_copies_a_database_file(firebird_server: FirebirdServer) -> None:
    credentials = {"user": USER, "password": PASSWORD}
    with closing(fdb.create_database(dsn=firebird_server.dsn("copied"), **credentials)) as connection:
        connection.execute_immediate("create table found (number integer)")
        connection.commit()

    firebird_server.copy_database("copied", "copy")

    with closing(fdb.connect(dsn=firebird_server.dsn("copy"), **credentials)) as connection:
        assert connection.cursor().execute("select count(*) from found").fetchone() == (0,)


def test_firebird_refuses_a_wrong_password(firebird_server: FirebirdServer) -> None:
    with pytest.raises(fdb.DatabaseError, match="user name and password"):
        fdb.create_database(dsn=firebird_server.dsn("refused"), user=USER, password="wrong")


def test_postgres_copies_a_database(postgres_server: PostgresServer) -> None:
    postgres_server.create_database("copied")
    with connect(postgres_server, "copied") as connection:
        connection.execute("create table found (number integer)")

    postgres_server.create_database("copy", template="copied")

    with connect(postgres_server, "copy") as connection:
        assert connection.execute("select count(*) from found").fetchone() == (0,)


def test_missing_program_names_the_package_that_brings_it() -> None:
    with pytest.raises(ConfigurationError, match="apt-get install no-such-package"):
        find_program("no-such-program", "no-such-package")


def test_server_on_a_taken_port_is_refused(postgres_server: PostgresServer) -> None:
    second = PostgresServer(port=postgres_server.port)

    with pytest.raises(UnavailableError, match="is taken"):
        second.start()

    second.close()


def test_server_that_ends_while_starting_says_why(postgres_server: PostgresServer) -> None:
    broken = PostgresServer()
    broken.prepare()
    with (broken.directory / "cluster" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")

    with pytest.raises(UnavailableError, match="no_such_setting"):
        broken.start()

    broken.close()


def test_directory_closed_to_the_service_account_is_named(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    if postgres_server.account is None:
        pytest.skip("only root starts servers as another account")
    tmp_path.chmod(0o700)

    with pytest.raises(ConfigurationError, match="is closed to others"):
        PostgresServer(tmp_path / "server").start()
