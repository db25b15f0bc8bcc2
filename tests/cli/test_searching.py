"""``search`` and ``download``, here and over HTTP."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import FileRecord, Meta, NSString
from meteorpi_server import MeteorServer
from meteorpi_server.cli.remote import goal_of
from tests.cli.conftest import OWN_CAMERA, START, Meteorpi, add_file


@pytest.fixture
def filled(node: MeteorDatabase) -> list[FileRecord]:
    """Three files, the first two of them of one event."""
    clear = (Meta(NSString("skyClarity"), 80),)
    records = [
        add_file(node, 1, b"one", file_name="one.png", metas=clear),
        add_file(node, 2, b"two", mime_type="video/mp4", semantic_type="triggers/event", file_name="two.mp4"),
        add_file(node, 3, b"three", file_name="../../three.png"),
    ]
    node.register_event(OWN_CAMERA, records[0].file_time or START, NSString("meteorpi"), records[:2])
    return records


@pytest.mark.contract("issue-2.7/search")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [2, 1, 0]),
        (["--limit", "1"], [2]),
        (["--skip", "1"], [1, 0]),
        (["--mime", "video/mp4"], [1]),
        (["--type", "timelapse/frame"], [2, 0]),
        (["--no-events"], [2]),
        (["--after", "2015-04-01T00:01", "--before", "2015-04-01T00:03"], [1]),
        (["--meta", "skyClarity>=60"], [0]),
        (["--camera", "nobody"], []),
        (["--lat-min", "53"], []),
        (["--own"], [2, 1, 0]),
        (["--before-offset", "43250"], []),
    ],
)
def test_files_are_found_here_and_on_another_node(
    meteorpi: Meteorpi,
    server: MeteorServer,
    filled: list[FileRecord],
    options: list[str],
    expected: list[int],
) -> None:
    wanted = [filled[index].as_dict() for index in expected]

    here = meteorpi("search", "files", "--json", *options)
    there = meteorpi("search", "files", "--json", "--node", server.base_url(), *options)

    assert here.rows == wanted
    assert there.rows == wanted


@pytest.mark.contract("issue-2.7/search")
def test_events_are_found_here_and_on_another_node(
    meteorpi: Meteorpi, server: MeteorServer, filled: list[FileRecord]
) -> None:
    here = meteorpi("search", "events", "--json")
    there = meteorpi("search", "events", "--json", "--node", server.base_url(), "--type", "meteorpi")

    assert here.json == there.json
    assert [file["file_id"] for file in here.json["files"]] == [
        each.file_id.hex for each in filled[:2] if each.file_id
    ]
    assert "1 events" in meteorpi("search", "events").out


def test_node_that_does_not_answer_ends_with_3(meteorpi: Meteorpi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meteorpi_client.transport.Patience.pause", lambda *arguments: None)

    done = meteorpi("search", "files", "--node", "http://127.0.0.1:9")

    assert done.code == 3
    assert done.err.count("\n") == 1


@pytest.mark.contract("issue-2.7/search")
def test_download_fetches_what_matches_and_repeating_fetches_nothing(
    meteorpi: Meteorpi, server: MeteorServer, filled: list[FileRecord], home: Path
) -> None:
    first = meteorpi("download", server.base_url(), "--to", "got", "--json")
    second = meteorpi("download", server.base_url(), "--to", "got", "--json")

    assert (first.code, second.code) == (0, 0)
    assert {row["state"] for row in first.rows} == {"downloaded"}
    assert {row["state"] for row in second.rows} == {"present"}
    assert sorted(path.read_bytes() for path in (home / "got").rglob("*.*")) == [b"one", b"three", b"two"]
    assert all(path.parent.name == OWN_CAMERA for path in (home / "got").rglob("*.*"))
    assert "3 were here already" in meteorpi("download", server.base_url(), "--to", "got").out


@pytest.mark.contract("B-37")
def test_damaged_file_is_reported_and_the_others_fetched(
    meteorpi: Meteorpi, server: MeteorServer, node: MeteorDatabase, filled: list[FileRecord], home: Path
) -> None:
    damaged = filled[1].get_path()
    assert damaged is not None
    damaged.chmod(0o600)
    damaged.write_bytes(b"TWO")

    done = meteorpi("download", server.base_url(), "--to", "got")

    assert done.code == 1
    assert "two.mp4" in done.err
    assert "1 failed" in done.out
    assert sorted(path.read_bytes() for path in (home / "got").rglob("*.*")) == [b"one", b"three"]


@pytest.mark.contract("faults/names")
@pytest.mark.parametrize(
    ("camera_id", "file_name"),
    [
        ("../..", "../../etc/passwd"),
        ("/", "/etc/passwd"),
        ("..", ".."),
        ("a b", ".bashrc"),
        ("\0", "\x1b[2J"),
    ],
)
def test_names_from_a_node_stay_below_the_folder(camera_id: str, file_name: str) -> None:
    record = FileRecord(camera_id, "image/png", NSString("x"), status_id=None, file_name=file_name)  # type: ignore[arg-type]
    record.file_time = datetime(2015, 4, 1)

    goal = goal_of(record)

    assert not goal.is_absolute()
    assert len(goal.parts) == 2
    assert not any(part.startswith(".") for part in goal.parts)
    assert goal.name.isprintable()
