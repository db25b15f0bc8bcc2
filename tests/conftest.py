"""Fixtures of the whole suite: the engines, a database on each of them, and the shared real data.

A test that asks for `db`, `open_database`, `new_database` or `engine` runs once per engine; the marker
``engines("sqlite", ...)`` narrows that down, and ``pytest --engine sqlite`` does so for a whole run.

A component that is not installed (a database server, the shared data) skips the tests that need it, visibly.
With CI=true, or TEST_REQUIRE_ALL=1 as `make test` sets it, one that make installs is a failure instead.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import hypothesis
import pytest

from meteorpi_db.testing.object_servers import ACCESS_KEY, SECRET_KEY
from meteorpi_db.testing.servers import FirebirdServer, PostgresServer, firebird_library
from meteorpi_model.errors import ConfigurationError
from tests import engines
from tests.components import absent, started
from tests.object_stores import (  # noqa: F401 - fixtures
    ceph_server,
    moto_server,
    rclone_server,
    shared_bucket,
)
from tests.redis_servers import redis_server  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase

REPOSITORY = Path(__file__).resolve().parent.parent
ENGINE_NAMES = ("sqlite", "firebird", "firebird-embedded", "postgresql")
STORE_NAMES = ("local", "s3")
ENGINES_WITH_S3 = ("sqlite", "postgresql")

TEARDOWN_SECONDS = 120
_stderr: list[int] = []

# Examples take as long as the engine behind them does; a slow machine is not a defect.
hypothesis.settings.register_profile("meteorpi", deadline=None)
hypothesis.settings.load_profile("meteorpi")


class OpenDatabase(Protocol):
    """The type of the fixture `open_database`."""

    def __call__(self, path: str | None = None, /, **options: Any) -> MeteorDatabase: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine", action="append", choices=ENGINE_NAMES, help="run on this engine only; may be repeated"
    )
    parser.addoption("--store", choices=STORE_NAMES, help="keep all contents in this kind of file store")
    parser.addoption("--hammer", type=float, metavar="SECONDS", help="how long races go on at least")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "stores(*names): the file stores a test runs on, in place of local")
    config.addinivalue_line("markers", "engines(*names): the engines a test makes sense on, in place of all")
    assert sys.__stderr__ is not None
    _stderr.append(os.dup(sys.__stderr__.fileno()))  # later on the output of tests is captured


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """End a process whose fixtures hang: a test that has failed has used up the limits of pyproject.toml."""
    faulthandler.dump_traceback_later(TEARDOWN_SECONDS, exit=True, file=_stderr[0])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


class FailuresAtOnce:
    """Names a failure when it happens: a run that is cut off has then told of it."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash else report.longreprtext
            self._terminal.ensure_newline()
            self._terminal.write_line(f"{report.nodeid} ({report.when}, {report.duration:.0f} s): {reason}")
            self._terminal.flush()


def pytest_sessionstart(session: pytest.Session) -> None:
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:  # a worker has none
        session.config.pluginmanager.register(FailuresAtOnce(terminal))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine_name" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("engines")
    wanted = metafunc.config.getoption("engine") or ENGINE_NAMES
    names = [name for name in (marker.args if marker else ENGINE_NAMES) if name in wanted]
    stores = metafunc.definition.get_closest_marker("stores")
    if stores is None or metafunc.config.getoption("store"):
        metafunc.parametrize("engine_name", names, scope="session")
        return
    pairs = [(name, store) for store in stores.args for name in names if has_store(name, store)]
    metafunc.parametrize(("engine_name", "store_name"), pairs, scope="session")


def has_store(engine_name: str, store_name: str) -> bool:
    """Whether tests run with both: S3 with the engines of a small node and of a hub."""
    return store_name == "local" or engine_name in ENGINES_WITH_S3


@pytest.fixture(scope="session", autouse=True)
def _firebird_client(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the client library configured by us: what is opened first, and be it by the bare driver, decides.

    An account without a home directory keeps the locks beside the databases.
    """
    if find_spec("fdb"):
        from meteorpi_db.dialects import firebird_client

        with suppress(ConfigurationError):
            firebird_client.prepare(tmp_path_factory.getbasetemp() / "any.fdb")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings, kept beside the checkout and not part of it; without them the test is skipped."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the shared data is not beside the checkout (../shared/data)")
    return path


@pytest.fixture(scope="session")
def shared_seeds() -> Path:
    """The published configuration guide, kept beside the checkout; without it the test is skipped."""
    path = REPOSITORY.parent / "shared" / "seeds"
    if not path.is_dir():
        pytest.skip("the guide is not beside the checkout (../shared/seeds)")
    return path


@pytest.fixture(scope="session")
def firebird_server() -> Iterator[FirebirdServer]:
    """A private Firebird server for the whole run; whoever pauses or stops it makes it answer again."""
    with ExitStack() as stack:
        yield started(stack, FirebirdServer)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A private PostgreSQL server for the whole run; whoever pauses or stops it makes it answer again."""
    with ExitStack() as stack:
        yield started(stack, lambda: PostgresServer(durable=False))


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Engine]:
    yield from engines.lent(engines.SqliteEngine(tmp_path_factory.mktemp("sqlite")))


@pytest.fixture(scope="session")
def firebird_embedded_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Engine]:
    try:
        firebird_library()
    except ConfigurationError as error:
        absent(error.detail)
    yield from engines.lent(engines.FirebirdEmbeddedEngine(tmp_path_factory.mktemp("firebird")))


@pytest.fixture(scope="session")
def firebird_engine(request: pytest.FixtureRequest) -> Iterator[engines.Engine]:
    url = os.environ.get("TEST_FIREBIRD_URL")
    if url:
        yield from engines.lent(engines.ForeignFirebirdEngine(url))
    else:
        yield from engines.lent(engines.FirebirdServerEngine(request.getfixturevalue("firebird_server")))


@pytest.fixture(scope="session")
def postgresql_engine(request: pytest.FixtureRequest) -> Iterator[engines.Engine]:
    url = os.environ.get("TEST_POSTGRESQL_URL")
    if url:
        yield from engines.lent(engines.ForeignPostgresEngine(url))
    else:
        yield from engines.lent(engines.PostgresEngine(request.getfixturevalue("postgres_server")))


@pytest.fixture(scope="session")
def engine(engine_name: str, request: pytest.FixtureRequest) -> engines.Engine:
    """The engine of this run of the test: makes, copies and drops databases."""
    return engines.named(engine_name, request)


@pytest.fixture
def new_database(engine: engines.Engine) -> Iterator[Callable[[], str]]:
    """Call it for the `db_path` of another fresh database with the schema and no records."""
    names: list[str] = []

    def make() -> str:
        names.append(engine.new_name())
        engine.create_with_schema(names[-1])
        return engine.db_path(names[-1])

    yield make
    for name in names:
        engine.drop(name)


@pytest.fixture
def bare_database(engine: engines.Engine) -> Iterator[str]:
    """The `db_path` of a database without tables: on a server it exists, embedded it will on first use."""
    name = engine.new_name()
    engine.create(name)
    yield engine.db_path(name)
    engine.drop(name)


@pytest.fixture
def db_path(new_database: Callable[[], str]) -> str:
    """The `db_path` of the test's own database; `db` and a bare `open_database()` use the same one."""
    return new_database()


@pytest.fixture
def store_name(request: pytest.FixtureRequest) -> str:
    """The kind of file store of this run of the test; local unless the marker ``stores`` says more."""
    return str(request.config.getoption("store") or "local")


@pytest.fixture
def file_store_at(store_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Call it with a name for the location of another file store of the test."""
    if store_name == "local":
        return lambda name: str(tmp_path / name)
    bucket = request.getfixturevalue("shared_bucket")
    endpoint = request.getfixturevalue("ceph_server").endpoint
    place = f"s3://{ACCESS_KEY}:{SECRET_KEY}@{bucket}/{uuid4().hex}"
    return lambda name: f"{place}/{name}?endpoint={endpoint}&region=us-east-1"


@pytest.fixture
def file_store_path(file_store_at: Callable[[str], str]) -> str:
    """Where the test's own file store is."""
    return file_store_at("files")


@pytest.fixture
def open_database(
    db_path: str, file_store_path: str, store_name: str, tmp_path: Path
) -> Iterator[OpenDatabase]:
    """Call it for a `MeteorDatabase` that is closed after the test.

    Without arguments it opens the test's own database and file store, each time in a new object; options
    are those of `MeteorDatabase`.
    """
    from meteorpi_db import MeteorDatabase

    with ExitStack() as stack:

        def open_(path: str | None = None, **options: Any) -> MeteorDatabase:
            options.setdefault("file_store_path", file_store_path)
            if store_name != "local":  # else the key is beside the store, or the database
                options.setdefault("secret_key_file", tmp_path / "secret.key")
            return stack.enter_context(MeteorDatabase(db_path=path or db_path, **options))

        yield open_


@pytest.fixture
def db(open_database: OpenDatabase) -> MeteorDatabase:
    """A node's database on each engine, with a file store on local disk and nothing in either."""
    return open_database()
