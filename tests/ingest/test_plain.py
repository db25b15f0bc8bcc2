"""Pictures, videos, tables and logs of any camera are taken in, each for itself."""

from __future__ import annotations

import os
import stat
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from meteorpi_db.ingest import IngestOptions, StatusFacts, ingest
from meteorpi_model import FileRecord, FileRecordSearch, Location, NSString
from meteorpi_model.errors import InvalidDocumentError
from tests.ingest.trees import counts, held_files, same_contents, tree_state

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase

HERE = StatusFacts(location=Location(48.2, 16.4), inst_name="Roof")
OPTIONS = IngestOptions(camera_id="roof", facts=HERE)


def picture(path: Path, shade: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 9), shade).save(path)
    return path


def records(db: MeteorDatabase) -> dict[str | None, FileRecord]:
    return {record.file_name: record for record in db.iterate_files(FileRecordSearch(limit=0))}


def meta_of(record: FileRecord) -> dict[str, object]:
    return {str(item.key): item.value for item in record.meta}


@pytest.mark.contract("issue-2.8")
def test_real_pictures_and_videos_are_taken(db: MeteorDatabase, shared_data: Path) -> None:
    for folder in ("allsky", "video"):
        report = ingest(db, shared_data / folder, OPTIONS)
        assert (report.files, report.is_complete) == (3, True)

    found = records(db)
    assert found["meteor1.avi"].mime_type == "video/x-msvideo"
    assert str(found["meteor1.avi"].semantic_type) == "meteorpi:video"
    assert str(found["keogram.png"].semantic_type) == "meteorpi:timelapse/frame"
    assert meta_of(found["keogram.png"])["meteorpi:timeSource"] == "mtime"
    assert meta_of(found["image.jpg"])["meteorpi:timeSource"] == "exif-changed"
    assert meta_of(found["wien-fireball-20150905.jpg"])["meteorpi:timeSource"] == "name-day"
    assert found["wien-fireball-20150905.jpg"].file_time == datetime(2015, 9, 5, 12)


@pytest.mark.contract("issue-2.8")
def test_twice_the_same_folder_adds_nothing(db: MeteorDatabase, shared_data: Path) -> None:
    ingest(db, shared_data / "allsky", OPTIONS)
    before = counts(db)

    report = ingest(db, shared_data / "allsky", OPTIONS)

    assert counts(db) == before
    assert (report.files, report.files_present, report.statuses) == (0, 3, 0)


def test_the_status_covers_the_earliest_file(db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "20240812_220000.png")
    picture(tmp_path / "in" / "20240811_220000.png")

    ingest(db, tmp_path / "in", OPTIONS)

    (status,) = db.get_status_history("roof")
    assert status.valid_from == datetime(2024, 8, 11, 22)
    assert (status.location.latitude, status.inst_name) == (48.2, "Roof")


def test_a_camera_without_status_is_refused_with_what_to_do(db: MeteorDatabase, tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "20240812_220000.png")

    report = ingest(db, tmp_path / "in", IngestOptions(camera_id="roof"))

    assert counts(db) == (0, 0, 0)
    assert [trouble.path for trouble in report.refused] == [path]
    assert "'roof' has no status" in report.refused[0].reason
    assert same_contents(db)


def test_a_known_camera_needs_no_more_words(db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "20240812_220000.png")
    ingest(db, tmp_path / "in", OPTIONS)
    picture(tmp_path / "in" / "20240813_220000.png", 50)

    report = ingest(db, tmp_path / "in", IngestOptions(camera_id="roof"))

    assert (report.files, report.files_present, report.statuses) == (1, 1, 0)


def test_the_camera_is_the_installation_unless_named(db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "20240812_220000.png")

    ingest(db, tmp_path / "in", IngestOptions(facts=HERE))

    assert db.get_cameras() == [db.installation_id]


@pytest.mark.engines("sqlite")
def test_local_times_become_utc(db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "20240812_220000.png")
    options = IngestOptions(camera_id="roof", facts=HERE, time_zone=ZoneInfo("Europe/Vienna"))

    ingest(db, tmp_path / "in", options)

    record = records(db)["20240812_220000.png"]
    assert record.file_time == datetime(2024, 8, 12, 20)
    assert meta_of(record)["meteorpi:timeZone"] == "Europe/Vienna"


def test_a_changed_file_is_another_file(db: MeteorDatabase, tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "20240812_220000.png", 40)
    ingest(db, tmp_path / "in", OPTIONS)
    picture(path, 41)

    report = ingest(db, tmp_path / "in", OPTIONS)

    assert (report.files, counts(db)) == (1, (1, 2, 0))


@pytest.mark.contract("faults/names")
@pytest.mark.parametrize(
    "name",
    [
        "Größe 流星 ☄ 20240812_220000.png",
        "with spaces, 'quotes\" and; semicolons 20240812.png",
        "line\nbreak\t20240812.png",
        "%2e%2e%2f20240812.png",
        "…" * 80 + "20240812.PNG",
        "-rf 20240812.png",
    ],
)
def test_names_are_kept_exactly(name: str, db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / name)

    ingest(db, tmp_path / "in", OPTIONS)

    assert list(records(db)) == [name]


@pytest.mark.contract("faults/names")
@pytest.mark.engines("sqlite")
def test_names_that_are_no_text_are_written_out(db: MeteorDatabase, tmp_path: Path) -> None:
    directory = tmp_path / "in"
    source = picture(directory / "a.png")
    os.rename(source, os.fsencode(directory) + b"/caf\xe9_20240812.png")  # noqa: PTH104 - bytes

    report = ingest(db, directory, OPTIONS)

    assert report.files == 1
    assert list(records(db)) == ["caf\\xe9_20240812.png"]


@pytest.mark.engines("sqlite")
def test_other_kinds_of_files_are_passed_over(db: MeteorDatabase, tmp_path: Path) -> None:
    for name in ("archive.zip", "readme", "code.py", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")

    report = ingest(db, tmp_path, OPTIONS)

    assert report.left_out["unknown kind of file"] + report.left_out["hidden file"] >= 5
    assert counts(db) == (0, 0, 0)


@pytest.mark.engines("sqlite")
def test_pipes_loops_and_broken_links_do_no_harm(db: MeteorDatabase, tmp_path: Path) -> None:
    source = tmp_path / "in"
    picture(source / "20240812_220000.png")
    os.mkfifo(source / "pipe.png")
    (source / "loop").symlink_to(source)
    (source / "nowhere.png").symlink_to(source / "missing.png")
    (source / "linked_20240813.png").symlink_to(picture(tmp_path / "elsewhere.png", 99))

    report = ingest(db, source, OPTIONS)

    assert (report.files, report.is_complete) == (2, True)


@pytest.mark.engines("sqlite")
def test_the_node_does_not_take_in_itself(db: MeteorDatabase, tmp_path: Path) -> None:
    """File store and quarantine may lie below the directory that is taken in."""
    picture(tmp_path / "in" / "20240812_220000.png")
    (tmp_path / "in" / "20240813_220000.png").write_bytes(b"broken")
    ingest(db, tmp_path / "in", OPTIONS)

    report = ingest(db, tmp_path, OPTIONS)

    assert (report.files, report.files_present, len(report.quarantined)) == (0, 1, 1)


@pytest.mark.engines("sqlite")
def test_what_cannot_be_read_is_reported(
    db: MeteorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails to read one file; root may read everything else."""
    picture(tmp_path / "in" / "20240812_220000.png")
    bad = picture(tmp_path / "in" / "20240813_220000.png", 41)
    opened = Path.open

    def failing_open(self: Path, *args: object, **options: object) -> object:
        if self == bad:
            raise OSError(5, "Input/output error")
        return opened(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", failing_open)

    report = ingest(db, tmp_path / "in", OPTIONS)

    assert (report.files, [trouble.path for trouble in report.refused]) == (1, [bad])
    assert "Input/output error" in report.refused[0].reason


def test_a_missing_path_is_an_error(db: MeteorDatabase, tmp_path: Path) -> None:
    with pytest.raises(InvalidDocumentError, match="there is no file or directory"):
        ingest(db, tmp_path / "nowhere", OPTIONS)


@pytest.mark.engines("sqlite")
def test_the_source_is_never_changed(db: MeteorDatabase, tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "20240812_220000.png")
    path.chmod(stat.S_IRUSR)
    before = tree_state(tmp_path / "in")

    ingest(db, tmp_path / "in", OPTIONS)

    assert tree_state(tmp_path / "in") == before
    assert held_files(db) == {path.name: before[path.name][0]}


@pytest.mark.engines("sqlite")
def test_content_that_the_store_lost_comes_back(db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "20240812_220000.png")
    picture(tmp_path / "in" / "20240813_220000.png", 41)
    ingest(db, tmp_path / "in", OPTIONS)
    lost, corrupt = (record.file_id for record in db.iterate_files(FileRecordSearch(limit=0)))
    assert lost is not None
    assert corrupt is not None
    db.store.delete(lost)
    db.mark_corrupt(corrupt)

    report = ingest(db, tmp_path / "in", OPTIONS)

    assert (report.files, report.files_present, report.files_restored) == (0, 2, 2)
    assert len(held_files(db)) == 2


@pytest.mark.engines("sqlite")
def test_types_can_be_chosen(db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "20240812_220000.png")
    options = IngestOptions(camera_id="roof", facts=HERE, picture_type=NSString("keogram", "allsky"))

    ingest(db, tmp_path / "in", options)

    assert str(records(db)["20240812_220000.png"].semantic_type) == "allsky:keogram"


@pytest.mark.engines("sqlite")
def test_progress_is_told_while_it_goes_on(db: MeteorDatabase, tmp_path: Path) -> None:
    for minute in range(150):
        picture(tmp_path / "in" / f"20240812_{minute // 60:02d}{minute % 60:02d}00.png", minute)
    told: list[int] = []

    report = ingest(db, tmp_path / "in", OPTIONS, lambda so_far: told.append(so_far.files))

    assert told == sorted(told)
    assert len(told) >= 3
    assert told[-1] == report.files == 150


@pytest.mark.engines("sqlite")
def test_a_lens_can_be_stated_for_a_known_camera(db: MeteorDatabase, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "20240812_220000.png")
    ingest(db, tmp_path / "in", OPTIONS)
    picture(tmp_path / "in2" / "20240813_220000.png", 41)

    report = ingest(
        db, tmp_path / "in2", IngestOptions(camera_id="roof", facts=StatusFacts(lens="VST000001"))
    )

    newest, first = db.get_status_history("roof")
    assert (report.statuses, newest.lens, newest.location) == (1, "VST000001", first.location)
