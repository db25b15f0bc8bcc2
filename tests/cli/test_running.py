"""``serve``, ``export`` and ``watch``: processes that work until they are told to stop."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from meteorpi_client import MeteorClient
from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from meteorpi_server import MeteorServer
from tests.cli.conftest import Meteorpi, add_file, add_status
from tests.cli.processes import STOP_SECONDS, running, stop


@pytest.fixture
def any_engine(home: Path, db_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that name the test's own database on each engine."""
    monkeypatch.setenv("METEORPI_DB_PATH", db_path)
    monkeypatch.setenv("METEORPI_DB_PASSWORD", "meteorpi")


@pytest.mark.contract("issue-2.7/running", "stop/sigterm")
@pytest.mark.usefixtures("any_engine")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_within_two_seconds_when_told(number: signal.Signals) -> None:
    with running("serve", "--port", 0, "--export", "--json") as (process, announced):
        client = MeteorClient(announced["url"])
        assert client.list_cameras() == []  # so that the process has connected to its database

        code, seconds, err = stop(process, number)

    assert code == 0, err
    assert seconds < STOP_SECONDS
    assert "Traceback" not in err


@pytest.mark.contract("stop/sigterm", "B-58")
@pytest.mark.usefixtures("any_engine")
def test_exporter_ends_within_two_seconds_when_told() -> None:
    with running("export", "--json", METEORPI_MARK_INTERVAL_SECONDS="1") as (process, _):
        code, seconds, err = stop(process)

    assert code == 0, err
    assert seconds < STOP_SECONDS
    assert "Traceback" not in err


@pytest.mark.contract("issue-2.7/running", "8/url_path")
def test_serving_offers_the_routes_of_the_settings_below_a_path(node: MeteorDatabase) -> None:
    environ = {"METEORPI_ROUTES": "query,node", "METEORPI_URL_PATH": "/api"}

    with running("serve", "--port", 0, "--json", **environ) as (_, announced):
        client = MeteorClient(announced["url"])

        assert announced["url"].endswith("/api/")
        assert client.list_cameras() == node.get_cameras()
        assert client.node.health() == {"status": "ok"}
        routes = client.node.capabilities()["routes"]

    assert isinstance(routes, list)
    assert [route["name"] for route in routes] == ["query", "node"]


def test_port_in_use_is_one_line(meteorpi: Meteorpi, server: MeteorServer) -> None:
    done = meteorpi("serve", "--host", "localhost", "--port", server.port)

    assert done.code == 2
    assert str(server.port) in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_unknown_route_package_is_named(meteorpi: Meteorpi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METEORPI_ROUTES", "query,nonsense")

    done = meteorpi("serve", "--port", 0)

    assert done.code == 2
    assert "nonsense" in done.err


@pytest.mark.contract("issue-2.7/running")
def test_export_once_sends_what_is_there(
    meteorpi: Meteorpi, server: MeteorServer, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server.db.create_or_update_user("station", "sesame", ["import"])
    folder = tmp_path_factory.mktemp("station")
    with MeteorDatabase(folder / "db", folder / "files", installation_id="station00001") as station:
        add_status(station, camera_id="station00001")
        record = add_file(station, 1, camera_id="station00001")
        options = ["--db-path", folder / "db", "--file-store", folder / "files"]
        target = f"{server.base_url()}import"
        meteorpi(*options, "exports", "defaults", target, "station", "--password-file", "-", given="sesame")

        done = meteorpi(*options, "export", "--once", "--json")

        assert (done.code, done.json) == (0, {"tasks_handled": 1, "failing_configurations": 0})
        assert record.file_id is not None
        assert server.db.get_file(record.file_id) == record

        server.db.create_or_update_user("station", "another", None)
        add_file(station, 2, camera_id="station00001")
        refused = meteorpi(*options, "export", "--once", "--json")
        assert refused.code == 1
        assert refused.json["failing_configurations"] == 1


@pytest.mark.contract("issue-2.8")
def test_ingest_takes_a_folder_in_once(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    make_picture(home / "in" / "20150401_000100.png")
    make_picture(home / "in" / "20150401_000200.png")

    first = meteorpi("ingest", "in", "--json")
    second = meteorpi("ingest", "in", "--json")

    assert (first.code, first.json["files"]) == (0, 2)
    assert (second.code, second.json["files"], second.json["files_present"]) == (0, 0, 2)
    assert "2 files" in meteorpi("ingest", "in").out


def test_ingest_reports_damage_and_ends_with_1(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    make_picture(home / "in" / "20150401_000100.png")
    (home / "in" / "20150401_000200.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")

    done = meteorpi("ingest", "in")

    assert done.code == 1
    assert "20150401_000200.png" in done.err
    assert "1 files" in done.out


@pytest.mark.parametrize(
    "options", [["--latitude", "5"], ["--time-zone", "Middle/Earth"], ["--time-zone", "../x"]]
)
def test_ingest_options_that_make_no_sense_are_wrong_usage(
    meteorpi: Meteorpi, home: Path, options: list[str]
) -> None:
    assert meteorpi("ingest", ".", *options).code == 2


def test_ingest_gives_a_new_camera_its_place(meteorpi: Meteorpi, home: Path) -> None:
    make_picture(home / "in" / "20150401_000100.png")
    place = ["--camera", "new", "--latitude", "52", "--longitude", "0.5", "--lens", "wide", "--name", "Hill"]

    done = meteorpi("ingest", "in", *place, "--json")

    assert done.code == 0, done.err
    status = meteorpi("status", "show", "new", "--json").json
    assert (status["location"]["lat"], status["lens"], status["inst_name"]) == (52, "wide", "Hill")


@pytest.mark.contract("issue-2.8")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_watch_takes_in_what_appears_and_ends_when_told(
    node: MeteorDatabase, home: Path, number: signal.Signals
) -> None:
    make_picture(home / "in" / "20150401_000100.png")

    with running("watch", "in", "--interval", 0.05, "--settle", 0.1, "--json") as (process, report):
        assert report["files"] == 1
        make_picture(home / "in" / "20150401_000200.png")
        wait_until(lambda: node.count_entities()["files"] == 2, 20, "the second picture")

        code, seconds, err = stop(process, number)

    assert code == 0, err
    assert seconds < STOP_SECONDS


def make_picture(path: Path) -> None:
    """A small picture; no two with the same bytes."""
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(exist_ok=True)
    image.new("RGB", (8, 6), (hash(path.name) % 256, 40, 60)).save(path)
