"""Archives without a node: the server of its own, its options, and its database."""

from __future__ import annotations

import dataclasses
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.connections import open_database
from meteorpi_db.migrations import drop_schema, ensure_schema, schema_version
from meteorpi_db.testing.processes import free_port
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import MeteorApp, archive_api
from meteorpi_server.archive_server import make_archive_app
from meteorpi_server.cli.archive_server import given_settings
from meteorpi_server.cli.archive_server import server as server_commands
from meteorpi_server.cli.setup import ArchiveSetup, Setup
from meteorpi_server.declarations import as_text, declarations
from meteorpi_server.settings import Settings
from tests.archive.own_server import NAME, ended, get, make_photos, names_in, served

NO_FILE = {"METEORPI_CONFIG": ""}
LARGE = 1 << 26
"""More than sockets and servers hold for a reader that takes nothing."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """What is offered."""
    return make_photos(tmp_path / "photos")


@pytest.fixture
def own_settings(tmp_path: Path, photos: Path) -> Settings:
    """Settings of a server without a node, in a directory of its own."""
    return Settings(
        archive_db_url=f"sqlite:///{tmp_path}/archive.db", archive_storage_path=str(photos)
    ).without_node()


@pytest.fixture
def own(own_settings: Settings) -> Iterator[tuple[Any, ArchiveRegister]]:
    """A client for the application of such a server, and its register."""
    with own_settings.open_database() as db:
        app = make_archive_app(db, own_settings).app
        yield app.test_client(), ArchiveRegister(db.transactions, db.clock)


# --- 3.1 -----------------------------------------------------------------------------------------------


@pytest.mark.contract("archive-3.1/standalone")
def test_directories_and_tickets_without_a_node(own: tuple[Any, ArchiveRegister], photos: Path) -> None:
    http, register = own
    client = {"Authorization": register.add_client("portal")}

    assert names_in(http.get(f"/archive/{NAME}/").data) == ["1.jpg"]
    made = http.post("/ticket/generate", json={"items": [{"dir": NAME}]}, headers=client)
    assert names_in(http.get(made.json["href"]).data) == ["1.jpg"]
    assert http.get("/health").status_code == 200
    assert [each["id"] for each in http.get("/ticket/", headers=client).json["tickets"]] == [made.json["id"]]


NOBODY_KNOWS = "00000000000040008000000000000001"
RECORD_ITEMS = [
    {"record": NOBODY_KNOWS},
    {"search": {}},
    {"event": NOBODY_KNOWS},
    {"night": {"camera": "x", "date": "2015-04-01"}},
]


@pytest.mark.contract("archive-3.1/standalone")
def test_records_are_unprocessable_without_a_node(own: tuple[Any, ArchiveRegister]) -> None:
    http, register = own
    client = {"Authorization": register.add_client("portal")}
    items = [*RECORD_ITEMS, {"dir": NAME}]

    answer = http.post("/ticket/generate", json={"items": items}, headers=client)

    assert answer.status_code == 422
    assert set(answer.json["errors"]["json"]["items"]) == {"0", "1", "2", "3"}
    for link in ("files/%7B%7D", f"event/{NOBODY_KNOWS}", "night/x/2015-04-01"):
        assert http.get(f"/bundle/{link}").status_code == 422, link


@pytest.mark.contract("archive-3.1/standalone", "archive-directory/index")
def test_index_is_also_at_the_root_in_debug_mode_only(own_settings: Settings) -> None:
    with own_settings.open_database() as db:
        http = make_archive_app(db, own_settings).app.test_client()
        assert [http.get(path).status_code for path in ("/", "/archive/")] == [404, 404]
    debug = Settings(
        archive_db_url=own_settings.db_path,
        archive_storage_path=own_settings.archive_storage_path,
        archive_debug=True,
        url_path="/files",
    ).without_node()
    with debug.open_database() as db:
        http = make_archive_app(db, debug).app.test_client()
        assert f'href="archive/{NAME}/"' in http.get("/files/").text
        assert f'href="{NAME}/"' in http.get("/files/archive/").text


def test_database_of_a_server_without_a_node_is_not_for_the_archives_of_a_node(
    own_settings: Settings, tmp_path: Path
) -> None:
    with own_settings.open_database() as db:
        meteor_app = MeteorApp(db, Settings())

        with pytest.raises(ConfigurationError, match="METEORPI_ARCHIVE_DB_URL is for"):
            archive_api.add_routes(meteor_app, db_url="sqlite:///other.db")


@pytest.mark.parametrize(
    ("extras", "told"),
    [("[1]", "must be a JSON object"), ("{", "is not JSON"), ('{"colour": 2}', "colour")],
)
def test_options_of_the_database_are_checked(own_settings: Settings, extras: str, told: str) -> None:
    settings = dataclasses.replace(own_settings, archive_db_extras=extras)

    with pytest.raises(ConfigurationError, match=told):
        settings.open_database()


@pytest.mark.contract("archive-3.21")
def test_options_of_the_database_reach_its_engine(own_settings: Settings) -> None:
    settings = dataclasses.replace(own_settings, archive_db_extras='{"pool_size": 3}')

    with settings.open_database() as db:
        assert db.con.pool.size() == 3  # type: ignore[attr-defined]  # of this kind of pool


@pytest.mark.contract("archive-3.21")
def test_origins_of_archives_may_call_archive_routes_only(own_settings: Settings) -> None:
    settings = dataclasses.replace(own_settings, archive_cors_origins=("https://a.example",))
    sent = {"Origin": "https://a.example"}
    with settings.open_database() as db:
        http = make_archive_app(db, settings).app.test_client()

        allowed = http.get(f"/archive/{NAME}/", headers=sent).headers.get("Access-Control-Allow-Origin")
        assert allowed == "https://a.example"
        assert "Access-Control-Allow-Origin" not in http.get("/health", headers=sent).headers


TABLE = {
    "debug": False, "host": "127.0.0.1", "port": 8080, "db_url": "", "db_extras": "", "storage_path": "",
    "log_file": "", "log_level": "", "chunk_size": 256 * 1024, "delay": 0.0, "no_queue": True,
    "simultaneous_downloads_limit": 2, "max_active": 0, "slot_lease": 30, "wait_ping": 20,
    "wait_timeout": 3600, "send_timeout": 120, "rate_download": 0, "rate_client": 0, "rate_total": 0,
    "transport": "auto", "connect_timeout": 10, "first_byte_timeout": 30, "idle_timeout": 60,
    "total_timeout": 21_600, "retries": 3, "prefetch": 4, "prefetch_bytes": 2**20, "preflight": 1000,
    "allowed_sources": (), "allow_peers": False, "max_redirects": 5, "jwt_algorithm": "HS256",
    "stream_require_exp": False, "max_items": 10_000, "max_entries": 200_000, "max_bytes": 0,
    "max_request_bytes": 32 * 2**20, "ttl": 86_400, "max_ttl": 30 * 86_400, "resume_grace": 3600,
    "cors_origins": (), "user_roles": ("user",), "min_hash_length": 16, "include_hidden": False,
    "dir_prefix": False, "dir_precompute": False,
    "offload": "", "offload_prefix": "/_meteorpi_files",
}  # fmt: skip
"""Each key of the contract with its default; 0 and nothing stand for what it says in words."""


@pytest.mark.contract("archive-3.21")
def test_every_key_has_its_default_and_a_variable() -> None:
    for key, default in TABLE.items():
        assert getattr(Settings(), f"archive_{key}") == default, key
        written = as_text(default if default != "" else declarations(Settings)[f"archive_{key}"].default)
        environ = NO_FILE | {f"METEORPI_ARCHIVE_{key.upper()}": written}
        assert Settings.load(environ) == Settings(), key


@pytest.mark.contract("archive-3.21")
def test_level_of_the_log_is_that_of_the_node_unless_told_otherwise() -> None:
    environ = {**NO_FILE, "METEORPI_LOG_LEVEL": "WARNING"}
    assert ArchiveSetup(Setup({}, environ), is_server=True).settings.log_level == "WARNING"
    environ["METEORPI_ARCHIVE_LOG_LEVEL"] = "DEBUG"
    assert ArchiveSetup(Setup({}, environ), is_server=True).settings.log_level == "DEBUG"


# --- 3.20 ----------------------------------------------------------------------------------------------


@pytest.mark.engines("firebird-embedded")
def test_engine_that_cannot_remove_all_tables_at_once_keeps_all_of_them(bare_database: str) -> None:
    with closing(open_database(bare_database, USER, PASSWORD)) as transactions:
        ensure_schema(transactions, create=True)

        with pytest.raises(ConfigurationError, match="drop the whole database"):
            drop_schema(transactions)

        with transactions.reading() as connection:
            assert schema_version(connection) > 0


@pytest.mark.engines("postgresql")
@pytest.mark.contract("archive-3.20/db")
def test_own_database_on_a_server_goes_down_and_up_again(bare_database: str) -> None:
    for _ in range(2):
        with closing(open_database(bare_database, USER, PASSWORD)) as transactions:
            ensure_schema(transactions, create=True)
            ArchiveRegister(transactions).add_client("portal")
            drop_schema(transactions)
            with transactions.reading() as connection:
                assert schema_version(connection) == 0


@pytest.mark.contract("archive-3.20/server", "archive-directory/options", "archive-fpx/command-line")
def test_server_takes_the_seven_options_by_letter(tmp_path: Path, photos: Path) -> None:
    log, port = tmp_path / "archive.log", free_port()
    options = ["-d", "-H", "127.0.0.1", "-P", port, "-S", "photos", "-L", log, "-C", 100, "-D", 0]

    with served(tmp_path, *options) as (process, url):
        assert url == f"http://127.0.0.1:{port}/"
        assert NAME in get(url)[1].decode()
        status, body = get(f"{url}archive/{NAME}/")
        assert (status, names_in(body)) == (200, ["1.jpg"])
        assert ended(process) == ""

    lines = log.read_text()
    assert "serving host=127.0.0.1" in lines
    assert "outcome=complete" in lines
    assert NAME not in lines
    assert (tmp_path / "meteorpi-archive.db").exists()


@pytest.mark.contract("archive-directory/options", "archive-3.20/server")
@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["-d"], {"archive_debug": True}),
        (["--debug"], {"archive_debug": True}),
        (["-H", "::1"], {"archive_host": "::1"}),
        (["--host", "10.0.0.1"], {"archive_host": "10.0.0.1"}),
        (["--port", "81"], {"archive_port": 81}),
        (["--storage_path", "a"], {"archive_storage_path": "a"}),
        (["--storage-path", "a"], {"archive_storage_path": "a"}),
        (["--log_file", "a"], {"archive_log_file": "a"}),
        (["-C", "100"], {"archive_chunk_size": 102_400}),
        (["--chunk_size", "1.5"], {"archive_chunk_size": 1536}),
        (["-D", "0.5"], {"archive_delay": 0.5}),
        (["--delay", "2"], {"archive_delay": 2.0}),
    ],
)
def test_options_have_the_names_and_units_of_before(options: list[str], settings: dict[str, Any]) -> None:
    command = server_commands.commands["run"]
    context = command.make_context("run", options, resilient_parsing=False)
    setup = ArchiveSetup(Setup({}, NO_FILE), given_settings(context.params), is_server=True)

    assert {name: getattr(setup.settings, name) for name in settings} == settings


@pytest.mark.contract("archive-3.20/server", "archive-defect-14")
def test_server_listens_on_loopback_without_index_or_throttle_unless_told_otherwise() -> None:
    settings = ArchiveSetup(Setup({}, NO_FILE), is_server=True).settings

    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.archive_debug, settings.archive_delay) == (False, 0.0)
    assert settings.archive_storage_path == ""


@pytest.mark.contract("archive-3.21", "archive-directory/container", "archive-fpx/configuration")
def test_what_was_taken_from_names_of_before_is_reported_once(tmp_path: Path, photos: Path) -> None:
    port = free_port()
    environ = {
        "DEBUG": "-d", "HOST": "127.0.0.1", "PORT": str(port), "STORAGE_PATH": str(photos), "LOG_FILE": "",
        "CHUNK_SIZE": "100", "DELAY": "0", "FPX_PIPE_SILLY_STREAM": "False",
        "FPX_DB_URL": f"sqlite:///{tmp_path}/secret-place.db",
    }  # fmt: skip

    with served(tmp_path, **environ) as (process, url):
        assert url.endswith(f":{port}/")
        assert names_in(get(f"{url}archive/{NAME}/")[1]) == ["1.jpg"]
        log = ended(process)

    for name, variable in {
        "DEBUG": "METEORPI_ARCHIVE_DEBUG",
        "PORT": "METEORPI_ARCHIVE_PORT",
        "CHUNK_SIZE": "METEORPI_ARCHIVE_CHUNK_SIZE",
        "FPX_DB_URL": "METEORPI_ARCHIVE_DB_URL",
        "FPX_PIPE_SILLY_STREAM": "it has no effect",
    }.items():
        assert log.count(f"setting taken from {name}: {variable}") == 1, log
    assert "secret-place" not in log


@pytest.mark.contract("archive-3.22", "archive-fpx/deployment")
def test_download_that_a_stop_cuts_off_goes_on_with_the_next_start(tmp_path: Path, photos: Path) -> None:
    with (photos / NAME / "2.bin").open("wb") as stream:
        stream.truncate(LARGE)
    options: list[object] = ["-S", photos, "-P", free_port()]

    with served(tmp_path, *options, METEORPI_ARCHIVE_SHUTDOWN_GRACE="1") as (process, url):
        answer = urllib.request.urlopen(f"{url}archive/{NAME}/", timeout=60)
        with answer:
            length, etag = int(answer.headers["Content-Length"]), answer.headers["ETag"]
            begun = answer.read(1000)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            begun += rest_of(answer)
    assert 1000 <= len(begun) < length

    with served(tmp_path, *options) as (_, url):
        rest = urllib.request.Request(f"{url}archive/{NAME}/")
        rest.add_header("Range", f"bytes={len(begun)}-")
        rest.add_header("If-Range", etag)
        with urllib.request.urlopen(rest, timeout=60) as answer:
            assert answer.status == 206
            whole = begun + answer.read()
    assert len(whole) == length
    assert names_in(whole) == ["1.jpg", "2.bin"]


def rest_of(answer: HTTPResponse) -> bytes:
    """What still comes until the connection ends, however it does."""
    parts = []
    with suppress(ConnectionError):
        while data := answer.read1(1 << 16):
            parts.append(data)
    return b"".join(parts)
