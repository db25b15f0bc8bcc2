"""A night of an RMS station becomes a camera status, files, and an event for each meteor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meteorpi_db.ingest import IngestOptions, StatusFacts, ingest
from meteorpi_db.ingest.base import Folder
from meteorpi_db.ingest.rms import RmsReader
from meteorpi_model import Event, EventSearch, FileRecordSearch, Location, Meta, MetaConstraint, NSString
from tests.ingest.trees import counts, held_files, tree_state

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase

pytestmark = pytest.mark.stores("local", "s3")

MAIN = "FTPdetectinfo_UK0006_20220914_185543_087124.txt"
MANUAL = "FTPdetectinfo_UK0006_20220914_194911_205_0079616_manual.txt"
START = datetime(2022, 9, 14, 18, 55, 43, 87000)


def events_of(db: MeteorDatabase) -> list[Event]:
    """All events, oldest first."""
    return list(db.iterate_events(EventSearch(limit=0)))[::-1]


def value(item: Event, key: str) -> object:
    return next(meta.value for meta in item.meta if str(meta.key) == key)


@pytest.mark.contract("issue-2.8")
def test_a_real_night_gives_43_events_and_every_file(db: MeteorDatabase, shared_data: Path) -> None:
    source = shared_data / "rms-night"

    report = ingest(db, source)

    assert (report.statuses, report.events, dict(report.folders)) == (1, 43, {"rms": 1})
    assert report.is_complete
    names = {path.name for path in source.iterdir()} - {".config"}
    held = held_files(db)
    assert {name: held[name] for name in names} == {name: tree_state(source)[name][0] for name in names}
    assert report.files == len(names) + 43
    assert report.bytes == sum(record.file_size for record in db.iterate_files(FileRecordSearch(limit=0)))


@pytest.mark.contract("issue-2.8")
def test_taking_a_real_night_in_again_adds_nothing(db: MeteorDatabase, shared_data: Path) -> None:
    ingest(db, shared_data / "rms-night")
    before = counts(db)

    report = ingest(db, shared_data / "rms-night")

    assert counts(db) == before == (1, 73, 43)
    assert (report.files, report.events, report.statuses, report.bytes) == (0, 0, 0, 0)
    assert (report.files_present, report.events_present) == (30, 43)


@pytest.mark.engines("sqlite")
def test_the_files_decide_which_camera_it_was(db: MeteorDatabase, shared_data: Path) -> None:
    """The configuration of the real night names another station."""
    ingest(db, shared_data / "rms-night")

    assert db.get_cameras() == ["UK0006"]


@pytest.mark.engines("sqlite")
def test_the_status_says_where_the_camera_stands_and_points(db: MeteorDatabase, shared_data: Path) -> None:
    ingest(db, shared_data / "rms-night")

    status = db.get_camera_status(START, "UK0006")

    assert status is not None
    assert status.valid_from == START
    assert (status.location.latitude, status.location.longitude) == (51.8831, -1.30616)
    assert status.orientation.azimuth == pytest.approx(237.7127, abs=1e-4)
    assert status.orientation.altitude == pytest.approx(41.3456, abs=1e-4)
    assert status.orientation.rotation == pytest.approx(29.58, abs=0.01)
    assert status.orientation.width_of_field == pytest.approx(88.7169 / 2, abs=1e-4)
    assert (status.lens, status.sensor) == ("87 x 45 degrees", "1280 x 720 at 25 frames/s")
    assert len(status.regions) == 1
    assert len(status.regions[0]) > 10


@pytest.mark.contract("issue-2.8", "12")
@pytest.mark.engines("sqlite")
def test_a_meteor_carries_its_measurements(db: MeteorDatabase, shared_data: Path) -> None:
    ingest(db, shared_data / "rms-night")

    first = events_of(db)[0]

    assert first.event_time == datetime(2022, 9, 14, 19, 49, 13, 567000)
    assert str(first.event_type) == "meteorpi:meteor"
    assert value(first, "meteorpi:duration") == pytest.approx(0.8177, abs=1e-4)
    assert value(first, "meteorpi:magnitudePeak") == 0.13
    assert value(first, "meteorpi:detectionCount") == 21
    assert value(first, "meteorpi:azimuthBegin") == 222.0294
    assert value(first, "meteorpi:altitudeEnd") == 43.3222
    assert value(first, "meteorpi:raBegin") == 269.7553
    assert value(first, "meteorpi:declEnd") == 12.4587
    assert value(first, "meteorpi:amplitudePeak") == 12148
    assert value(first, "meteorpi:pixelsPerFrame") == 15.7
    assert value(first, "meteorpi:angularLength") == pytest.approx(20.87, abs=0.01)
    assert value(first, "rms:ffFile") == "FF_UK0006_20220914_194911_205_0079616.fits"
    assert value(first, "rms:meteorNumber") == 1


@pytest.mark.engines("sqlite")
def test_meteors_can_be_searched_by_their_measurements(db: MeteorDatabase, shared_data: Path) -> None:
    ingest(db, shared_data / "rms-night")
    bright = MetaConstraint("less", NSString("magnitudePeak"), -1.0)

    found = db.search_events(EventSearch(event_type=NSString("meteor"), meta_constraints=[bright]))

    magnitudes = [value(each, "meteorpi:magnitudePeak") for each in events_of(db)]
    expected = sum(isinstance(magnitude, float) and magnitude <= -1.0 for magnitude in magnitudes)
    assert found["count"] == expected > 0


@pytest.mark.engines("sqlite")
def test_an_event_holds_its_recording_its_path_and_what_was_measured_again(
    db: MeteorDatabase, shared_data: Path
) -> None:
    ingest(db, shared_data / "rms-night")

    first, second, third = events_of(db)[:3]

    assert [record.file_name for record in first.file_records] == [
        "FF_UK0006_20220914_194911_205_0079616.fits",
        "FF_UK0006_20220914_194911_205_0079616_0001_path.json",
        MANUAL,
        "2022-09-14T19_49_11_RMS_UK0006.ecsv",
    ]
    assert [record.mime_type for record in second.file_records] == ["image/fits", "application/json"]
    assert [str(record.semantic_type) for record in third.file_records] == ["meteorpi:path"]


@pytest.mark.engines("sqlite")
def test_the_path_file_has_every_position(db: MeteorDatabase, shared_data: Path) -> None:
    ingest(db, shared_data / "rms-night")
    first = events_of(db)[0]
    file_id = first.file_records[1].file_id
    assert first.event_id is not None
    assert file_id is not None

    with db.open_content(file_id) as chunks:
        path = json.loads(b"".join(chunks))

    assert (path["event_id"], path["camera_id"]) == (first.event_id.hex, "UK0006")
    assert len(path["points"]) == 21
    point = dict(zip(path["columns"], path["points"][0], strict=True))
    assert point["time"] == pytest.approx(1663184953567.316, abs=0.01)
    assert (point["frame"], point["x"], point["y"]) == (59.0579, 499.18, 41.66)
    assert (point["ra"], point["dec"], point["azimuth"], point["altitude"]) == (
        269.7553,
        30.5593,
        222.0294,
        64.1737,
    )


@pytest.mark.contract("issue-2.8", "12")
@pytest.mark.engines("sqlite")
def test_files_have_types_and_times(db: MeteorDatabase, shared_data: Path) -> None:
    ingest(db, shared_data / "rms-night")
    records = {record.file_name: record for record in db.iterate_files(FileRecordSearch(limit=0))}

    capture = records["FF_UK0006_20220914_200017_020_0096000.fits"]
    assert (capture.mime_type, str(capture.semantic_type)) == ("image/fits", "rms:ff")
    assert capture.file_time == datetime(2022, 9, 14, 20, 0, 17, 20000)
    assert Meta(NSString("duration"), 10.24) in capture.meta
    plot = records["UK0006_20220914_185543_087124_radiants.png"]
    assert (plot.mime_type, str(plot.semantic_type), plot.file_time) == (
        "image/png",
        "rms:report/radiants",
        START,
    )
    assert records["platepar_cmn2010.cal"].mime_type == "application/json"
    assert str(records[MANUAL].semantic_type) == "rms:ftpdetectinfo/manual"
    assert records["UK0006-25km.kml"].mime_type == "application/vnd.google-earth.kml+xml"
    assert "rms:file" not in {str(record.semantic_type) for record in records.values()}


@pytest.mark.engines("sqlite")
def test_passwords_of_the_station_are_never_stored(db: MeteorDatabase, shared_data: Path) -> None:
    """The configuration holds the address of the camera with its password."""
    report = ingest(db, shared_data / "rms-night")

    assert ".config" not in held_files(db)
    assert report.left_out == {"settings, may hold passwords": 1}


def test_a_second_night_with_the_same_set_up_adds_no_status(db: MeteorDatabase, night: Path) -> None:
    ingest(db, night)
    later = Path(str(night).replace("20240812_210000", "20240813_210000"))
    shutil.copytree(night, later)
    for path in list(later.iterdir()):
        if "20240812" in path.name or "20240813" in path.name:
            text = path.name.replace("20240813", "20240814").replace("20240812", "20240813")
            path.rename(path.with_name(text))

    report = ingest(db, later)

    assert (report.statuses, report.files > 0) == (0, True)


def test_a_camera_that_was_turned_gets_a_new_status(db: MeteorDatabase, night: Path) -> None:
    ingest(db, night)
    later = night.with_name("XX0001_20240901_210000_000000")
    later.mkdir()
    for name in (".config", "mask.bmp"):
        shutil.copy(night / name, later)
    platepar = json.loads((night / "platepar_cmn2010.cal").read_text())
    (later / "platepar_cmn2010.cal").write_text(json.dumps({**platepar, "az_centre": 200.0}))
    recording = next(night.glob("FF_*.fits"))
    shutil.copy(recording, later / "FF_XX0001_20240901_220000_000_0000256.fits")

    ingest(db, later)

    history = db.get_status_history("XX0001")
    assert [status.orientation.azimuth for status in history] == [200.0, 122.0]
    assert history[0].valid_from == datetime(2024, 9, 1, 21)
    assert history[1].valid_to == datetime(2024, 9, 1, 21)


@pytest.mark.engines("sqlite")
def test_what_an_administrator_wrote_stays(db: MeteorDatabase, night: Path) -> None:
    ingest(db, night)
    edited = db.get_camera_status(camera_id="XX0001")
    assert edited is not None
    edited.inst_name, edited.lens = "Garden shed", "VST000001"
    db.update_camera_status(edited, datetime(2024, 8, 20), "XX0001")
    later = night.with_name("XX0001_20240901_210000_000000")
    later.mkdir()
    for name in (".config", "mask.bmp", "platepar_cmn2010.cal"):
        shutil.copy(night / name, later)
    shutil.copy(next(night.glob("FF_*.fits")), later / "FF_XX0001_20240901_220000_000_0000256.fits")

    report = ingest(db, later)

    current = db.get_camera_status(camera_id="XX0001")
    assert current is not None
    assert (report.statuses, current.inst_name, current.lens) == (0, "Garden shed", "VST000001")


def test_ingest_never_rolls_back(db: MeteorDatabase, night: Path, real_night: Callable[..., Path]) -> None:
    """A status set by hand before the high water mark would delete later data; ours must not."""
    ingest(db, night)
    db.set_high_water_mark(datetime(2030, 1, 1), "XX0001")
    before = counts(db)
    earlier = night.with_name("XX0001_20230101_210000_000000")
    earlier.mkdir()
    shutil.copy(night / ".config", earlier)
    shutil.copy(next(night.glob("FF_*.fits")), earlier / "FF_XX0001_20230101_220000_000_0000256.fits")

    ingest(db, earlier)

    assert counts(db) == (before[0] + 1, before[1] + 1, before[2])
    assert db.get_high_water_mark("XX0001") == datetime(2030, 1, 1)


@pytest.mark.engines("sqlite")
def test_without_a_calibration_the_configuration_gives_the_place(
    db: MeteorDatabase, real_night: Callable[..., Path]
) -> None:
    ingest(db, real_night(MAIN, ".config"))

    status = db.get_camera_status(START, "UK0006")

    assert status is not None
    assert status.location.latitude == 51.8831
    assert status.orientation.width_of_field == 0


@pytest.mark.engines("sqlite")
def test_a_night_without_any_place_is_refused_with_what_to_do(
    db: MeteorDatabase, real_night: Callable[..., Path]
) -> None:
    source = real_night(MAIN)

    refused = ingest(db, source)
    taken = ingest(db, source, IngestOptions(facts=StatusFacts(location=Location(51.9, -1.3))))

    assert [trouble.path for trouble in refused.refused] == [source]
    assert "state its latitude and longitude" in refused.refused[0].reason
    assert refused.events == 0
    assert taken.events == 43


@pytest.mark.engines("sqlite")
def test_nights_are_found_at_any_depth(db: MeteorDatabase, night: Path, tmp_path: Path) -> None:
    archive = tmp_path / "RMS_data" / "ArchivedFiles"
    shutil.copytree(night, archive / night.name)
    shutil.copytree(night, tmp_path / "RMS_data" / "CapturedFiles" / night.name)

    report = ingest(db, tmp_path / "RMS_data")

    assert (report.folders["rms"], report.events, report.events_present) == (2, 4, 4)


@pytest.mark.engines("sqlite")
def test_one_recording_alone_is_taken_with_the_set_up_beside_it(db: MeteorDatabase, night: Path) -> None:
    recording = next(night.glob("FF_*.fits"))

    report = ingest(db, recording)

    assert (report.files, report.statuses) == (1, 1)
    assert db.search_files(FileRecordSearch())["files"][0].file_name == recording.name


@pytest.mark.engines("sqlite")
def test_files_of_another_camera_are_passed_over(db: MeteorDatabase, night: Path) -> None:
    recording = next(night.glob("FF_*.fits"))
    shutil.copy(recording, night / recording.name.replace("XX0001", "ZZ0009"))

    report = ingest(db, night)

    assert report.left_out["belongs to camera ZZ0009, not XX0001"] == 1


def test_a_folder_is_recognised_by_what_its_files_hold(tmp_path: Path, night: Path) -> None:
    reader = RmsReader()
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / MAIN).write_text("a letter")
    (tmp_path / "fake" / "FF_XX0001_20240901_220000_000_0000256.fits").write_bytes(b"no fits")

    assert reader.recognises(Folder(night))
    assert not reader.recognises(Folder(tmp_path / "fake"))


def test_the_source_is_never_changed(db: MeteorDatabase, night: Path) -> None:
    before = tree_state(night)

    ingest(db, night)

    assert tree_state(night) == before


def test_moving_takes_the_files_away_and_loses_nothing(db: MeteorDatabase, night: Path) -> None:
    before = tree_state(night)

    report = ingest(db, night, IngestOptions(move=True))

    assert {path.name for path in night.iterdir()} == {".config"}
    held = held_files(db)
    assert all(held[name] == state[0] for name, state in before.items() if name != ".config")
    assert report.events == 4
    assert all(len(event.file_records) == 3 for event in events_of(db))
