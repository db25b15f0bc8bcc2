"""Damaged files are set aside with their reason, and the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meteorpi_db.ingest import IngestOptions, ingest
from meteorpi_db.ingest.runner import quarantine_path
from meteorpi_model import EventSearch
from meteorpi_model.errors import UnavailableError
from tests.ingest.trees import held_files, same_contents, tree_state

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase

pytestmark = pytest.mark.engines("sqlite")

MAIN = "FTPdetectinfo_UK0006_20220914_185543_087124.txt"


def cut(path: Path, keep: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def notes(db: MeteorDatabase) -> list[dict[str, object]]:
    directory = quarantine_path(db, IngestOptions())
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


@pytest.mark.contract("issue-2.8")
def test_cut_pictures_and_captures_are_set_aside(db: MeteorDatabase, night: Path) -> None:
    capture, picture = next(night.glob("FF_*.fits")), next(night.glob("XX*.jpg"))
    cut(capture)
    cut(picture)
    (night / "flux_time_intervals.json").write_bytes(b"")
    before = tree_state(night)

    report = ingest(db, night)

    assert {trouble.path.name for trouble in report.quarantined} == {
        capture.name,
        picture.name,
        "flux_time_intervals.json",
    }
    assert report.events == 4
    assert not report.is_complete
    assert tree_state(night) == before
    assert {capture.name, picture.name}.isdisjoint(held_files(db))
    assert same_contents(db)


@pytest.mark.contract("issue-2.8")
def test_a_copy_lies_beside_its_reason(db: MeteorDatabase, night: Path) -> None:
    capture = next(night.glob("FF_*.fits"))
    cut(capture)

    (trouble,) = ingest(db, night).quarantined

    assert trouble.copy is not None
    assert trouble.copy.read_bytes() == capture.read_bytes()
    assert trouble.copy.name.endswith(capture.name)
    note = json.loads(trouble.copy.with_name(trouble.copy.name + ".json").read_text())
    assert note["path"] == str(capture)
    assert "bytes before its FITS data do" in note["reason"]


def test_the_event_of_a_damaged_recording_stays(db: MeteorDatabase, night: Path) -> None:
    capture = sorted(night.glob("FF_*.fits"))[-1]
    cut(capture)

    ingest(db, night)

    newest = db.search_events(EventSearch(limit=1))["events"][0]
    assert [str(record.semantic_type) for record in newest.file_records] == [
        "rms:ff/picture",
        "meteorpi:path",
    ]


def test_the_same_damage_is_kept_once(db: MeteorDatabase, night: Path) -> None:
    cut(next(night.glob("FF_*.fits")))
    ingest(db, night)
    directory = quarantine_path(db, IngestOptions())
    before = sorted(path.name for path in directory.iterdir())

    ingest(db, night)

    assert sorted(path.name for path in directory.iterdir()) == before
    assert len(before) == 2


def test_a_mended_file_is_taken_the_next_time(db: MeteorDatabase, night: Path) -> None:
    capture = next(night.glob("FF_*.fits"))
    whole = capture.read_bytes()
    cut(capture)
    ingest(db, night)
    capture.write_bytes(whole)

    report = ingest(db, night)

    assert (report.files, report.is_complete) == (1, True)


def test_a_cut_detections_file_gives_its_whole_meteors(
    db: MeteorDatabase, real_night: Callable[..., Path]
) -> None:
    source = real_night(MAIN, "platepar_cmn2010.cal", ".config")
    cut(source / MAIN, 0.9)

    report = ingest(db, source)

    assert 20 < report.events < 43
    (trouble,) = report.quarantined
    assert trouble.path.name == MAIN
    assert f"{report.events} meteors could be read" in trouble.reason
    assert any(detail.startswith("line ") for detail in trouble.details)
    assert MAIN not in held_files(db)


def test_the_meteors_of_the_whole_file_come_later(
    db: MeteorDatabase, real_night: Callable[..., Path]
) -> None:
    source = real_night(MAIN, "platepar_cmn2010.cal", ".config")
    whole = (source / MAIN).read_bytes()
    cut(source / MAIN, 0.9)
    some = ingest(db, source).events
    (source / MAIN).write_bytes(whole)

    report = ingest(db, source)

    assert (report.events, report.events_present, report.is_complete) == (43 - some, some, True)


def test_one_garbled_line_costs_one_meteor(db: MeteorDatabase, real_night: Callable[..., Path]) -> None:
    source = real_night(MAIN, "platepar_cmn2010.cal")
    text = (source / MAIN).read_text()
    (source / MAIN).write_text(text.replace("59.0579 0499.18 0041.66", "59.0579 04?9.18 0041.66"))

    report = ingest(db, source)

    assert (report.events, len(report.quarantined)) == (42, 1)
    assert "line 16: " in report.quarantined[0].details[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"az_centre": null}', bytes(100)])
def test_a_broken_platepar_is_set_aside(
    content: bytes, db: MeteorDatabase, real_night: Callable[..., Path]
) -> None:
    source = real_night(MAIN, ".config", "platepar_cmn2010.cal")
    (source / "platepar_cmn2010.cal").write_bytes(content)

    report = ingest(db, source)

    assert [trouble.path.name for trouble in report.quarantined] == ["platepar_cmn2010.cal"]
    assert (report.events, report.statuses) == (43, 1)


def test_a_broken_configuration_is_noted_but_not_copied(
    db: MeteorDatabase, real_night: Callable[..., Path]
) -> None:
    """It may hold passwords."""
    source = real_night(MAIN, ".config", "platepar_cmn2010.cal")
    (source / ".config").write_text("[System\npassword: secret")

    report = ingest(db, source)

    assert [trouble.copy for trouble in report.quarantined] == [None]
    directory = quarantine_path(db, IngestOptions())
    assert not any(
        "secret" in path.read_text() for path in directory.iterdir() if "password" in path.read_text()
    )
    assert [note["path"] for note in notes(db)] == [str(source / ".config")]
    assert report.events == 43


def test_a_damaged_mask_leaves_the_regions_open(db: MeteorDatabase, night: Path) -> None:
    cut(night / "mask.bmp")

    report = ingest(db, night)

    assert [trouble.path.name for trouble in report.quarantined] == ["mask.bmp"]
    assert db.get_status_history("XX0001")[0].regions == []


def test_the_quarantine_can_be_elsewhere(db: MeteorDatabase, night: Path, tmp_path: Path) -> None:
    cut(next(night.glob("FF_*.fits")))

    ingest(db, night, IngestOptions(quarantine_path=tmp_path / "sick" / "bay"))

    assert len(list((tmp_path / "sick" / "bay").iterdir())) == 2


def test_moving_leaves_damaged_files_where_they_are(db: MeteorDatabase, night: Path) -> None:
    capture = next(night.glob("FF_*.fits"))
    cut(capture)

    ingest(db, night, IngestOptions(move=True))

    assert {path.name for path in night.iterdir()} == {".config", capture.name}


def test_a_quarantine_that_cannot_be_written_stops_the_ingest(
    db: MeteorDatabase, night: Path, tmp_path: Path
) -> None:
    cut(next(night.glob("FF_*.fits")))
    (tmp_path / "file").write_text("")

    with pytest.raises(UnavailableError, match="quarantine"):
        ingest(db, night, IngestOptions(quarantine_path=tmp_path / "file"))
