"""Camera statuses: the one in force, its end, numbers that survive."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from meteorpi_db import SOFTWARE_VERSION, MeteorDatabase
from meteorpi_model import CameraStatus, FileRecordSearch
from tests.conftest import OpenDatabase
from tests.db.making import CAMERA, OTHER_CAMERA, StandingClock, add_file, add_status, at, status_of


@pytest.mark.contract("4.3/get_cameras", "B-16", "0/camera-id")
def test_cameras_come_exactly_and_descending(db: MeteorDatabase) -> None:
    for camera in ("b", "a", "B", "a ", "ä", "x" * 64):
        add_status(db, camera)
        add_status(db, camera, minute=1)

    assert db.get_cameras() == ["ä", "x" * 64, "b", "a ", "a", "B"]


@pytest.mark.contract(
    "4.3/get_camera_status", "4.3/valid_to", "4.3/get_camera_status_by_id", "4.3/has_status_id"
)
def test_status_is_valid_from_its_start_until_the_next_one_starts(db: MeteorDatabase) -> None:
    first, second = add_status(db, minute=0), add_status(db, minute=10)
    add_status(db, OTHER_CAMERA, minute=5)

    assert db.get_camera_status(at(-1), CAMERA) is None
    first = _required(db.get_camera_status(at(0), CAMERA))
    assert (first.valid_from, first.valid_to) == (at(0), at(10))
    assert db.get_camera_status(at(9.999), CAMERA) == first
    second = _required(db.get_camera_status(at(10), CAMERA))
    assert (second.valid_from, second.valid_to) == (at(10), None)
    assert db.get_camera_status_by_id(_id(second)) == second
    assert db.has_status_id(_id(first))
    assert not db.has_status_id(uuid4())
    assert db.get_camera_status_by_id(uuid4()) is None
    assert db.get_status_history(CAMERA) == [second, first]


@pytest.mark.contract("4.3/get_camera_status", "4.3/update_camera_status", "4/installation_id")
def test_defaults_are_now_and_the_installation(open_database: OpenDatabase) -> None:
    clock = StandingClock(at(5))
    db = open_database(installation_id="aabbccddeeff", clock=clock)

    db.update_camera_status(status_of())

    clock.move(minutes=1)
    found = _required(db.get_camera_status())
    assert (found.camera_id, found.valid_from) == ("aabbccddeeff", at(5))
    assert db.get_high_water_mark() == at(5)
    assert db.get_status_history() == [found]
    clock.move(minutes=-2)
    assert db.get_camera_status() is None


@pytest.mark.contract("4.3/update_camera_status")
def test_id_camera_and_version_of_the_argument_are_not_used(db: MeteorDatabase) -> None:
    given = status_of(status_id=uuid4(), software_version=7)

    db.update_camera_status(given, at(0), CAMERA)
    db.update_camera_status(given, at(1), CAMERA)

    second, first = db.get_status_history(CAMERA)
    assert first.software_version == SOFTWARE_VERSION
    assert first.camera_id == CAMERA
    assert len({first.status_id, second.status_id, given.status_id}) == 3


@pytest.mark.contract("4.3/update_camera_status")
def test_of_two_statuses_at_one_instant_the_later_registration_wins(db: MeteorDatabase) -> None:
    before = add_status(db, minute=-1)
    add_status(db, minute=0, latitude=1)
    winner = add_status(db, minute=0, latitude=2)

    assert winner.location.latitude == 2
    assert db.get_camera_status(at(5), CAMERA) == winner
    assert winner.valid_to is None
    assert _required(db.get_camera_status_by_id(_id(before))).valid_to == at(0)
    assert add_file(db, 0).status_id == winner.status_id
    assert [status.location.latitude for status in db.get_status_history(CAMERA)] == [2, 1, 52]


@pytest.mark.contract("4.3/update_camera_status", "4.4/later")
def test_status_before_the_mark_deletes_what_is_later(db: MeteorDatabase) -> None:
    add_status(db, minute=0)
    kept, gone = add_file(db, 5), add_file(db, 6)
    db.set_high_water_mark(at(10), CAMERA)

    db.update_camera_status(status_of(), at(5), CAMERA)

    assert db.get_high_water_mark(CAMERA) == at(5)
    assert db.search_files(FileRecordSearch())["files"] == [kept]
    assert not db.store.stat(gone.file_id)  # type: ignore[arg-type]


@pytest.mark.contract("B-17", "B-04", "4.3/get_camera_status_by_id")
@pytest.mark.parametrize("has_gps", [True, False])
def test_numbers_and_texts_survive_unchanged(db: MeteorDatabase, has_gps: bool) -> None:
    given = status_of(latitude=-0.1 + 0.3, longitude=math.pi, inst_url="http://exämple/☄", inst_name=None)
    given.location.gps = has_gps
    given.location.error = 1e-300
    given.orientation.altitude = 1 / 3
    given.add_region([0, 0, 0.5, -1e9, 2**53, 1 / 3])
    given.add_region([0, 0, 100, 0, 0, 100])

    db.update_camera_status(given, datetime(2015, 4, 1, 0, 0, 0, 123000), CAMERA)

    found = _required(db.get_camera_status(camera_id=CAMERA))
    expected = given.as_dict() | {
        "camera_id": CAMERA,
        "valid_from": 1427846400123,
        "status_id": _id(found).hex,
    }
    assert found.as_dict() == expected
    assert found.location.gps is has_gps


@pytest.mark.contract("B-41", "faults/input")
@pytest.mark.parametrize(
    ("name", "value"),
    [("lens", "x" * 256), ("sensor", None), ("inst_name", "x" * 256), ("inst_url", "a\x00"), ("lens", 7)],
)
def test_members_that_cannot_be_kept_are_refused(db: MeteorDatabase, name: str, value: object) -> None:
    status = status_of()
    setattr(status, name, value)

    with pytest.raises(ValueError, match=name):
        db.update_camera_status(status, at(0), CAMERA)
    assert db.get_cameras() == []
    assert db.get_high_water_mark(CAMERA) is None


@pytest.mark.contract("B-17")
def test_numbers_that_cannot_be_kept_are_refused(db: MeteorDatabase) -> None:
    with pytest.raises(ValueError, match="latitude"):
        add_status(db, latitude=math.nan)
    with pytest.raises(ValueError, match="camera_id"):
        add_status(db, camera="")


def _id(status: CameraStatus) -> UUID:
    assert status.status_id is not None
    return status.status_id


def _required(status: CameraStatus | None) -> CameraStatus:
    assert status is not None
    return status
