"""The two nodes of the demo: each a directory, a database, and processes started from the command line."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from meteorpi_client import MeteorClient
from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import UnavailableError
from meteorpi_server.cli.remote import open_node
from meteorpi_server.declarations import PREFIX
from meteorpi_server.settings import CONFIG_VARIABLE

Completed = subprocess.CompletedProcess[str]

ENGINES: Final = ("sqlite", "firebird", "postgresql")
STOP_SECONDS: Final = 10
_HOST: Final = "127.0.0.1"
_DATABASE_PASSWORD: Final = "meteorpi"


@contextmanager
def open_databases(engine: str, folder: Path) -> Iterator[Callable[[str], str]]:
    """Give a function from the name of a node to its `db_path`; runs a private server where one is needed."""
    if engine == "sqlite":
        yield lambda name: str(folder / name / "meteorpi.db")
        return
    from meteorpi_db.testing import servers  # needs the extra of the engine

    if engine == "firebird":
        with servers.FirebirdServer() as firebird:
            yield firebird.dsn
    else:
        with servers.PostgresServer() as postgres:
            yield postgres.url


class DemoNode:
    """One node. Everything it does is done by ``meteorpi`` in a process of its own.

    Args:
        name: of the node.
        folder: for its database, file store and log.
        db_path: its database.

    Attributes:
        url: address without trailing slash, once it serves.
    """

    def __init__(self, name: str, folder: Path, db_path: str) -> None:
        self.name = name
        self.url = ""
        self._folder = folder
        self._stack = ExitStack()
        self._environ = _inherited_environ() | {
            "METEORPI_DB_PATH": db_path,
            "METEORPI_DB_PASSWORD": _DATABASE_PASSWORD,
            "METEORPI_FILE_STORE": str(folder / "files"),
            "METEORPI_SECRET_KEY_FILE": str(folder / "secret.key"),
            "METEORPI_INSTALLATION_ID": f"demo{name:_<8}"[:12],
            "METEORPI_HOST": _HOST,
            "METEORPI_PORT": "0",
            "METEORPI_MARK_INTERVAL_SECONDS": "1",
            "METEORPI_DEFER_ON_FAILURE_SECONDS": "2",
        }

    def __enter__(self) -> Self:
        self._folder.mkdir()
        self._log = self._stack.enter_context((self._folder / "log").open("ab"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def client(self) -> MeteorClient:
        """The node over HTTP."""
        return self._stack.enter_context(open_node(self.url))

    @contextmanager
    def open_database(self) -> Iterator[MeteorDatabase]:
        """The node's database, opened beside the processes that use it."""
        with MeteorDatabase(
            self._environ["METEORPI_DB_PATH"],
            self._environ["METEORPI_FILE_STORE"],
            db_password=_DATABASE_PASSWORD,
            secret_key_file=self._environ["METEORPI_SECRET_KEY_FILE"],
        ) as database:
            yield database

    def initialise(self) -> None:
        """Create database and file store."""
        self._run("init")

    def describe_camera(self) -> None:
        """Say where its camera stands: folders of plain pictures do not."""
        place = ("--latitude", "52.2", "--longitude", "0.1", "--inst-name", f"Demo {self.name}")
        self._run("status", "set", "--from", "1990-01-01", *place)

    def add_importer(self, user_id: str) -> str:
        """Create the node with an account that may push data to it; gives its password."""
        password = secrets.token_urlsafe(16)
        self._run("init")
        self._run("users", "set", user_id, "--role", "import", "--password-file", "-", given=password)
        return password

    def export_to(self, target_url: str, user_id: str, password: str) -> None:
        """Push everything to an import route, from now on."""
        self._run("exports", "defaults", target_url, user_id, "--yes", "--password-file", "-", given=password)

    def ingest(self, data: Path) -> list[str]:
        """Take `data` in; gives what the command complained about."""
        done = self._run("ingest", str(data.resolve()), "--json", may_find=True)
        return done.stderr.splitlines()

    def serve(self, routes: str) -> None:
        """Start serving, and wait until the port is open."""
        self._environ["METEORPI_ROUTES"] = routes
        process = self._start("serve", "--json")
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise UnavailableError(f"the {self.name} did not start: {self._last_words()}")
        self.url = json.loads(line)["url"].rstrip("/")

    def start_exporter(self) -> None:
        """Start exporting."""
        self._start("export", "--json")

    def _run(self, *arguments: str, given: str = "", may_find: bool = False) -> Completed:
        done = subprocess.run(
            _command(arguments), env=self._environ, input=given, capture_output=True, text=True, check=False
        )
        if done.returncode not in ((0, 1) if may_find else (0,)):
            reason = done.stderr.strip()
            raise UnavailableError(f"meteorpi {arguments[0]} failed at the {self.name}: {reason}")
        return done

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            _command(arguments),
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )
        self._stack.callback(stop, process)
        return process

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and see that it does."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _inherited_environ() -> dict[str, str]:
    """The environment without the settings of this machine, those of its configuration file included."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, CONFIG_VARIABLE: ""}


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "meteorpi_server.cli", *arguments]
