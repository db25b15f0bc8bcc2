"""The database engines the suite runs on: each hands out fresh databases, fast.

A database with the schema is made once per engine; every test then gets a copy of it, which takes
milliseconds where creating the schema takes a good part of a second.
"""

from __future__ import annotations

import itertools
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from meteorpi_db.connections import open_database
from meteorpi_db.migrations import ensure_schema
from meteorpi_db.testing.servers import PASSWORD, USER, FirebirdServer, PostgresServer


def create_schema(db_path: str) -> None:
    """Create the schema in the empty or missing database `db_path`, as ``meteorpi init`` does."""
    with closing(open_database(db_path, USER, PASSWORD)) as transactions:
        ensure_schema(transactions, create=True)


class Engine(ABC):
    """One kind of database; `db_path` of what it hands out goes to `MeteorDatabase` as it is."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._template: str | None = None

    def new_name(self) -> str:
        """A name no other database of this engine has."""
        return f"test_{next(self._numbers)}"

    @abstractmethod
    def db_path(self, name: str) -> str:
        """What `MeteorDatabase` takes to open database `name`; nothing is created."""

    @abstractmethod
    def create(self, name: str) -> None:
        """Create database `name` without any tables."""

    @abstractmethod
    def copy(self, source: str, name: str) -> None:
        """Create database `name` as a copy of `source`, which nobody has open."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove database `name`; no error when there is none."""

    def create_with_schema(self, name: str) -> None:
        """Create database `name` with the current schema and no records."""
        if self._template is None:
            self.create("template")
            create_schema(self.db_path("template"))
            self._template = "template"
        self.copy(self._template, name)

    def drop_template(self) -> None:
        """Remove what `create_with_schema` copies from; it makes a new one when called again."""
        if self._template is not None:
            self.drop(self._template)
            self._template = None


def lent(engine: Engine) -> Iterator[Engine]:
    """Give `engine` to the tests that want it, and tidy up while its server is still there."""
    yield engine
    engine.drop_template()


def named(name: str, request: pytest.FixtureRequest) -> Engine:
    """The engine of that name, from the fixture that makes it."""
    found: Engine = request.getfixturevalue(f"{name.replace('-', '_')}_engine")
    return found


class FileEngine(Engine):
    """An engine whose databases are files of this process."""

    suffix: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def path(self, name: str) -> Path:
        """The file of database `name`."""
        return self._directory / f"{name}{self.suffix}"

    def db_path(self, name: str) -> str:
        return str(self.path(name))

    def create(self, name: str) -> None:
        """Do nothing: embedded databases come into being on first use."""

    def copy(self, source: str, name: str) -> None:
        shutil.copyfile(self.path(source), self.path(name))

    def drop(self, name: str) -> None:
        for path in self._directory.glob(f"{name}{self.suffix}*"):
            path.unlink(missing_ok=True)  # who closes a database last takes its log along


class SqliteEngine(FileEngine):
    """SQLite by plain path, the default of a node."""

    name: ClassVar[str] = "sqlite"
    suffix: ClassVar[str] = ".db"


class FirebirdEmbeddedEngine(FileEngine):
    """The Firebird engine inside the process."""

    name: ClassVar[str] = "firebird-embedded"
    suffix: ClassVar[str] = ".fdb"


class FirebirdServerEngine(Engine):
    """A private Firebird server, opened by DSN and default credentials as in the configuration guide."""

    name: ClassVar[str] = "firebird"

    def __init__(self, server: FirebirdServer) -> None:
        super().__init__()
        self.server = server

    def db_path(self, name: str) -> str:
        return self.server.dsn(name)

    def create(self, name: str) -> None:
        create_firebird_database(self.server.dsn(name), USER, PASSWORD)

    def copy(self, source: str, name: str) -> None:
        self.server.copy_database(source, name)

    def drop(self, name: str) -> None:
        self.server.path(name).unlink(missing_ok=True)


class PostgresEngine(Engine):
    """A private PostgreSQL cluster."""

    name: ClassVar[str] = "postgresql"

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self.server = server

    def db_path(self, name: str) -> str:
        return self.server.url(name)

    def create(self, name: str) -> None:
        self.server.create_database(name)

    def copy(self, source: str, name: str) -> None:
        self.server.create_database(name, template=source)

    def drop(self, name: str) -> None:
        self.server.drop_database(name)


class ForeignFirebirdEngine(Engine):
    """A Firebird server run by somebody else, reachable over the network only: schemas are made one by one.

    Args:
        url: ``firebird+fdb://USER:PASSWORD@HOST:PORT//directory`` of an account that may create databases.
    """

    name: ClassVar[str] = "firebird"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = sqlalchemy.make_url(url)

    def db_path(self, name: str) -> str:
        url = self._url.set(database=f"{self._url.database}/{name}.fdb")
        return url.render_as_string(hide_password=False)

    def create(self, name: str) -> None:
        create_firebird_database(*self._login(name))

    def copy(self, source: str, name: str) -> None:
        self.create(name)
        create_schema(self.db_path(name))

    def drop(self, name: str) -> None:
        import fdb

        dsn, user, password = self._login(name)
        fdb.connect(dsn=dsn, user=user, password=password).drop_database()

    def _login(self, name: str) -> tuple[str, str, str]:
        url = self._url
        dsn = f"{url.host}/{url.port or 3050}:{url.database}/{name}.fdb"
        return dsn, url.username or "", str(url.password or "")


class ForeignPostgresEngine(Engine):
    """A PostgreSQL server run by somebody else.

    Args:
        url: ``postgresql+psycopg://...`` of a database to log in to, with an account that may create others.
    """

    name: ClassVar[str] = "postgresql"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = sqlalchemy.make_url(url)

    def db_path(self, name: str) -> str:
        return self._url.set(database=f"meteorpi_{name}").render_as_string(hide_password=False)

    def create(self, name: str) -> None:
        self.drop(name)
        self._run(f'CREATE DATABASE "meteorpi_{name}"')

    def copy(self, source: str, name: str) -> None:
        self.drop(name)
        self._run(f'CREATE DATABASE "meteorpi_{name}" TEMPLATE "meteorpi_{source}"')

    def drop(self, name: str) -> None:
        self._run(f'DROP DATABASE IF EXISTS "meteorpi_{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


def create_firebird_database(dsn: str, user: str, password: str) -> None:
    """Create an empty database; 16 KB pages, below which long texts cannot be indexed."""
    import fdb

    fdb.create_database(dsn=dsn, user=user, password=password, charset="UTF8", page_size=16384).close()
