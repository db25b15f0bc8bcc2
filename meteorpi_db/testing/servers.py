"""Private Firebird and PostgreSQL servers for tests, benches and the demo: the real programs."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, LiteralString

from meteorpi_db.testing.processes import LOOPBACK, PrivateServer, find_program
from meteorpi_model.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    import psycopg

USER = "meteorpi"
PASSWORD = "meteorpi"
FIREBIRD_LINKS = ("intl", "plugins", "lib", "plugins.conf", "firebird.msg")
# Super is the server's default mode: it alone opens the files, which is what a private server may do.
FIREBIRD_CONF = """\
ServerMode = Super
RemoteBindAddress = localhost
RemoteServicePort = {port}
SecurityDatabase = {security}
DefaultDbCachePages = 2048
DeadlockTimeout = 1
"""


class FirebirdServer(PrivateServer):
    """A Firebird 3 server with its own root, security database and port.

    The account `meteorpi`, password `meteorpi`, may create databases, so that a client with its default
    credentials can. Database files lie in `data_directory`.
    """

    name: ClassVar[str] = "firebird"
    accounts: ClassVar[tuple[str, ...]] = ("firebird",)

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        self._daemon = find_program("firebird", "firebird3.0-server", places=("opt/firebird/bin",))
        self._isql = find_program("isql-fb", "firebird3.0-utils")
        super().__init__(directory, port=port)
        self.data_directory = self.make_directory(self.directory / "data")
        self._root = self.make_directory(self.directory / "root")
        self._locks = self.make_directory(self.directory / "lock")

    def dsn(self, name: str) -> str:
        """The name by which clients open database `name`: ``localhost/<port>:<path>``."""
        return f"localhost/{self.port}:{self.path(name)}"

    def path(self, name: str) -> Path:
        """The file of database `name`."""
        return self.data_directory / f"{name}.fdb"

    def copy_database(self, source: str, name: str) -> None:
        """Make database `name` from the file of `source`, which nobody may have open; takes milliseconds."""
        shutil.copyfile(self.path(source), self.path(name))
        self.give(self.path(name))

    def environment(self) -> dict[str, str]:
        """The variables by which engine and tools find the private root instead of the system's."""
        places = {"FIREBIRD": self._root, "FIREBIRD_LOCK": self._locks, "FIREBIRD_TMP": self.directory}
        return super().environment() | {name: str(path) for name, path in places.items()}

    def prepare(self) -> None:
        """Write the root directory and, once, the security database with the account."""
        library = firebird_library()
        for link in FIREBIRD_LINKS:
            target = self._root / link
            target.unlink(missing_ok=True)
            target.symlink_to(library / link)
        security = self._root / "security3.fdb"
        (self._root / "firebird.conf").write_text(FIREBIRD_CONF.format(port=self.port, security=security))
        (self._root / "databases.conf").write_text("")
        if not security.exists():
            self._create_security_database(security)

    def command(self) -> list[str]:
        """The daemon itself, without the guardian."""
        places = ["-e", str(self._root), "-el", str(self._locks), "-em", str(self._root)]
        return [str(self._daemon), *places]

    def _create_security_database(self, security: Path) -> None:
        # Embedded: without a server in between the engine takes SYSDBA at its word.
        script = security_script()
        self.run(
            [self._isql, "-q", "-b", "-user", "SYSDBA"],
            f"create database '{security}' user 'SYSDBA' page_size 8192 default character set UNICODE_FSS;\n"
            f"commit; in '{script}'; commit;",
        )
        self.run(
            [self._isql, "-q", "-b", "-user", "SYSDBA", security],
            f"create user {USER} password '{PASSWORD}' using plugin Srp; commit;\n"
            f"grant create database to user {USER}; commit;",
        )


class PostgresServer(PrivateServer):
    """A PostgreSQL cluster of its own on a loopback port; the superuser is `meteorpi` and needs no password.

    Args:
        directory: as for every private server.
        port: as for every private server.
        durable: False leaves out the flush to disk at each commit. Faster for tests, which never cut the
            power; benches keep True.
    """

    name: ClassVar[str] = "postgresql"
    accounts: ClassVar[tuple[str, ...]] = ("postgres",)
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends sessions instead of waiting for them

    def __init__(
        self, directory: Path | None = None, *, port: int | None = None, durable: bool = True
    ) -> None:
        places = ("usr/lib/postgresql/*/bin", "usr/local/pgsql/bin")
        self._initdb = find_program("initdb", "postgresql", places=places)
        super().__init__(directory, port=port)
        self._cluster = self.directory / "cluster"
        self._durable = durable

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of database `name`."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@{LOOPBACK}:{self.port}/{name}"

    def create_database(self, name: str, template: str = "template0") -> None:
        """Create database `name`, as a copy of `template`, which nobody may be connected to."""
        with self._administrator() as connection:
            connection.execute(quoted("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'", name, template))

    def drop_database(self, name: str) -> None:
        """Remove database `name`, ending the sessions in it; no error when there is none."""
        with self._administrator() as connection:
            connection.execute(quoted("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))

    def prepare(self) -> None:
        """Create the cluster, once."""
        if not (self._cluster / "PG_VERSION").exists():
            choices = [
                "--auth=trust",
                f"--username={USER}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]
            self.run([self._initdb, "-D", self._cluster, *choices])

    def command(self) -> list[str]:
        """The postmaster in the foreground, without a Unix socket: its path may be too long for one."""
        settings = [f"port={self.port}", f"listen_addresses={LOOPBACK}", "unix_socket_directories="]
        if not self._durable:
            settings += ["fsync=off", "full_page_writes=off"]
        options = [part for setting in settings for part in ("-c", setting)]
        return [str(self._initdb.with_name("postgres")), "-D", str(self._cluster), *options]

    def _is_ready(self) -> bool:
        # The port is open before the start-up is over, and connections are refused by name until then.
        return super()._is_ready() and self._answers()

    def _answers(self) -> bool:
        try:
            with self._administrator():
                return True
        except UnavailableError:
            return False

    @contextmanager
    def _administrator(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        try:
            import psycopg
        except ImportError as error:
            raise ConfigurationError("psycopg is missing: pip install 'meteorpi[postgresql]'") from error
        address = f"host={LOOPBACK} port={self.port} user={USER} dbname=postgres connect_timeout=5"
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise UnavailableError(f"{self.name}: {error}; the end of its log: {self.last_words}") from error


def quoted(statement: LiteralString, *names: str) -> psycopg.sql.Composed:
    """`statement` with each ``{}`` replaced by a quoted identifier."""
    from psycopg import sql

    return sql.SQL(statement).format(*map(sql.Identifier, names))


def firebird_library() -> Path:
    """The directory with the engine's plugins and messages.

    Raises:
        ConfigurationError: the engine is not installed.
    """
    found = sorted(Path("/usr/lib").glob("*/firebird/*/plugins"))
    if not found:
        raise ConfigurationError("the Firebird engine is missing: apt-get install firebird3.0-server-core")
    return found[-1].parent


def security_script() -> Path:
    """The script that fills a new security database.

    Raises:
        ConfigurationError: it is not installed.
    """
    found = sorted(Path("/usr/share/firebird").glob("*/security.sql"))
    if not found:
        raise ConfigurationError("security.sql is missing: apt-get install firebird3.0-server-core")
    return found[-1]
