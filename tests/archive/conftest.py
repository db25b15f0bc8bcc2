"""A node that offers archives, something in it, and ways to ask for it."""

from __future__ import annotations

import gc
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.accounts import passwords
from meteorpi_db.archives.clients import Limits, Rights
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model import FileRecord, now
from meteorpi_model.errors import ConfigurationError
from meteorpi_model.values import truncate_to_milliseconds
from meteorpi_server import MeteorApp, archive_api
from meteorpi_server.outbound import PooledTransport
from meteorpi_server.outbound.choosing import TRANSPORTS, MakeTransport, transport_called
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.components import absent
from tests.conftest import OpenDatabase
from tests.engines import Engine
from tests.server.conftest import Node, basic

NOON = datetime(2015, 4, 1, 12)


@dataclass
class ArchiveNode(Node):
    """A node that offers archives.

    Attributes:
        clock: what it takes for the present; tests move it.
    """

    clock: SetClock

    @property
    def register(self) -> ArchiveRegister:
        return ArchiveRegister(self.db.transactions, self.db.clock)

    def add_files(self, count: int = 3, size: int = 2000) -> list[FileRecord]:
        """Register files of one evening, each of its own bytes."""
        return [
            self.add_file(
                bytes([65 + number]) * (size + number),
                time=NOON + timedelta(hours=8, minutes=number),
                file_name=f"{number}.txt",
            )
            for number in range(count)
        ]

    def generate(
        self, items: object, options: object = None, headers: dict[str, str] | None = None, **more: object
    ) -> TestResponse:
        """Ask for a ticket, as a visitor unless `headers` say otherwise."""
        body = {"items": items} | ({} if options is None else {"options": options}) | more
        sent = basic("visitor") if headers is None else headers
        return self.http.post("/ticket/generate", json=body, headers=sent)

    def ticket(self, items: object, headers: dict[str, str] | None = None, **options: object) -> Any:
        """The answer with a ticket for `items`."""
        answer = self.generate(items, options, headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    def client(self, name: str = "catalogue", *selectors: str, **limits: int) -> dict[str, str]:
        """Make a client; the header with its secret."""
        rights = Rights(selectors=frozenset(selectors)) if selectors else Rights()
        return {"authorize": self.register.add_client(name, rights, Limits(**limits))}


class SetClock:
    """Tells the time at which it was made, and what a test adds."""

    def __init__(self) -> None:
        self.start = truncate_to_milliseconds(now())
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return self.start + self.ahead


def opened(answer: TestResponse) -> dict[str, bytes]:
    """The entries of the zip that was sent, by name; it has to be sound."""
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> MakeTransport:
    """Each transport: whatever is tested over it, is true of all."""
    try:
        made = transport_called(request.param)
    except ConfigurationError as error:
        absent(error.detail)
    if request.param == "auto" and made is PooledTransport:
        absent("httptools is not installed: pip install 'meteorpi[archive]'")
    return made


@pytest.fixture
def quick_passwords() -> Iterator[None]:
    """Password hashes that take no time."""
    kept = passwords.SCRYPT_LOG2_N
    passwords.SCRYPT_LOG2_N = 1
    yield
    passwords.SCRYPT_LOG2_N = kept


@pytest.fixture(scope="session")
def furnished(sqlite_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with the accounts and the camera of every node, to be copied."""
    name = sqlite_engine.new_name()
    sqlite_engine.create_with_schema(name)
    files = tmp_path_factory.mktemp("files")
    with MeteorDatabase(db_path=sqlite_engine.db_path(name), file_store_path=str(files)) as db:
        furnish(Node(db, MeteorApp(db=db, settings=Settings()), files))
    yield name
    sqlite_engine.drop(name)


def furnish(node: Node) -> None:
    """Give a node its accounts and one camera."""
    kept, passwords.SCRYPT_LOG2_N = passwords.SCRYPT_LOG2_N, 1
    node.add_accounts()
    node.add_status()
    passwords.SCRYPT_LOG2_N = kept


@pytest.fixture
def db_path(request: pytest.FixtureRequest, engine: Engine, new_database: Callable[[], str]) -> Iterator[str]:
    """The test's own database; with what a node has in it if there is one, for a copy is had at once."""
    if "make_archive_node" not in request.fixturenames or engine.name != "sqlite":
        yield new_database()
        return
    name = engine.new_name()
    engine.copy(request.getfixturevalue("furnished"), name)
    yield engine.db_path(name)
    engine.drop(name)


@pytest.fixture
def make_archive_node(
    open_database: OpenDatabase, tmp_path: Path, quick_passwords: None
) -> Iterator[Callable[..., ArchiveNode]]:
    """Call it for a node with these settings of archives."""

    def make(**options: Any) -> ArchiveNode:
        clock = SetClock()
        db = open_database(clock=clock, installation_id="stationstati")
        meteor_app = MeteorApp(db=db, settings=Settings())
        archive_api.add_routes(meteor_app, **options)
        made = ArchiveNode(db, meteor_app, tmp_path, clock)
        if not db.get_users():
            furnish(made)
        return made

    yield make
    wait_for_watchers()


def wait_for_watchers() -> None:
    """Let whoever looks after downloads come to an end before the database is closed and removed."""
    for thread in threading.enumerate():
        if thread.name == "archive-watch":
            thread.join(1)
            if thread.is_alive():
                gc.collect()  # an answer that a test did not close is one that is still being sent
                thread.join(30)


@pytest.fixture
def archive_node(make_archive_node: Callable[..., ArchiveNode]) -> ArchiveNode:
    """A node that offers archives of records, with accounts and one camera."""
    return make_archive_node()


@pytest.fixture
def serve() -> Iterator[Callable[[ArchiveNode], str]]:
    """Call it for the address of a node over real sockets."""
    with ExitStack() as stack:

        def start(node: ArchiveNode) -> str:
            node.meteor_app.app.config["PROPAGATE_EXCEPTIONS"] = False
            server = StandaloneServer(node.meteor_app.app, Settings(host="127.0.0.1"), 0)
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            return f"http://127.0.0.1:{server.port}"

        yield start
