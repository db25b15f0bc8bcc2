"""``demo``: two processes, a night, and every byte compared."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import requests

from meteorpi_db.testing.processes import wait_until
from meteorpi_server.cli.demo_check import compare, wait_for_arrival
from meteorpi_server.cli.demo_nodes import DemoNode
from tests.cli.conftest import Meteorpi
from tests.cli.processes import command, stop


@pytest.mark.contract("issue-2.9")
def test_demo_takes_the_meteors_of_a_real_night_to_the_hub(meteorpi: Meteorpi, shared_data: Path) -> None:
    done = meteorpi("demo", "--once", "--data", shared_data / "rms-night")

    assert done.code == 0, done.err
    assert "43 events" in done.out.splitlines()
    assert "SHA-256 at the hub equals the station's: 73 of 73 files" in done.out


@pytest.mark.contract("issue-2.9")
def test_demo_makes_a_night_of_its_own_and_tells_scripts(meteorpi: Meteorpi) -> None:
    done = meteorpi("demo", "--once", "--json")

    assert done.code == 0, done.err
    assert done.json["is_complete"]
    assert done.json["equal_files"] == done.json["files"] > 0
    assert done.json["equal_events"] == done.json["events"] > 0


@pytest.mark.contract("issue-2.9")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_demo_shows_the_night_and_leaves_no_process_behind(
    home: Path, shared_data: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        command("demo", "--data", shared_data / "allsky", "--folder", "made"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        page = next(line.split()[-1] for line in lines if line.startswith("look at the night"))
        night = requests.get(page, timeout=10)
        code, _, err = stop(process, number)
    finally:
        process.kill()
        process.communicate()

    assert night.status_code == 200
    assert "<img" in night.text
    assert "Traceback" not in err
    assert code == 0, err
    with pytest.raises(requests.ConnectionError):
        requests.get(page, timeout=10)


@pytest.mark.parametrize("seconds", [0.5, 3])
def test_demo_ended_early_leaves_no_process_behind(home: Path, shared_data: Path, seconds: float) -> None:
    process = subprocess.Popen(
        command("demo", "--data", shared_data / "rms-night", "--folder", "made"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)

    code, _, _ = stop(process)

    assert code in (130, -signal.SIGTERM)
    wait_until(lambda: not processes_of(home / "made"), 10, "the end of the nodes")


def processes_of(folder: Path) -> list[str]:
    """Processes whose environment names `folder`."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in environ.read_bytes():
                found.append(environ.parent.name)
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def without_pictures(night: Path, copy: Path) -> Path:
    """The small files of an RMS night: all its events, and a fraction of its bytes."""
    copy.mkdir()
    for path in night.iterdir():
        if path.stat().st_size < 100_000 and path.suffix not in (".jpg", ".png"):
            shutil.copy(path, copy)
    return copy


@pytest.mark.contract("issue-2.9")
def test_difference_at_the_hub_is_found(home: Path, shared_data: Path) -> None:
    with (
        DemoNode("hub", home / "hub", str(home / "hub" / "db")) as hub,
        DemoNode("station", home / "station", str(home / "station" / "db")) as station,
    ):
        password = hub.add_importer("station")
        hub.serve("importer,query")
        station.initialise()
        station.serve("query")
        station.export_to(f"{hub.url}/import", "station", password)
        station.ingest(without_pictures(shared_data / "rms-night", home / "night"))
        station.start_exporter()
        wait_for_arrival(station, hub, lambda done, total: None)
        damaged, *_ = (path for path in (home / "hub" / "files").iterdir() if len(path.name) == 32)
        damaged.chmod(0o600)
        damaged.write_bytes(bytes(damaged.stat().st_size))
        with station.open_database() as database:
            extra = next(database.iterate_events())
            assert extra.event_id is not None
            database.delete_event(extra.event_id)

        result = compare(station, hub, home, lambda done, total: None)

    assert not result.is_complete
    assert any(damaged.name in text.replace("-", "") for text in result.differences)
    assert any(extra.event_id.hex in text.replace("-", "") for text in result.differences)
