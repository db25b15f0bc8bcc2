"""The test data that others rely on."""

from __future__ import annotations

from datetime import datetime

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.dummy_data import (
    CAMERA_1,
    CAMERA_2,
    CAMERA_3,
    add_dummy_event,
    add_dummy_file,
    add_dummy_status,
    make_time,
    setup_dummy_data,
)
from meteorpi_model import (
    EventSearch,
    FileRecordSearch,
    Meta,
    MetaConstraint,
    NSString,
    utc_datetime_to_milliseconds,
)


@pytest.mark.contract("13/cameras", "13/make_time")
def test_published_values_are_as_published() -> None:
    assert (CAMERA_1, CAMERA_2, CAMERA_3) == ("aabbccddeeff", "001122334455", "667788990011")
    assert make_time(0) == datetime(2015, 4, 1)
    assert utc_datetime_to_milliseconds(make_time(7)) == 1427846400000 + 7 * 60000


@pytest.mark.contract("13/add_dummy_file", "13/mark")
def test_dummy_file_has_what_was_asked_for(db: MeteorDatabase) -> None:
    add_dummy_status(db, CAMERA_1, make_time(1))

    record = add_dummy_file(db, CAMERA_1, make_time(5), 2, number_meta=3.5, date_meta=make_time(4))

    assert (record.file_size, record.mime_type, str(record.semantic_type)) == (
        21, "text/plain", "meteorpi:test_file",
    )  # fmt: skip
    assert record.meta == [
        Meta(NSString("meta_key_0"), "meta_value_0"),
        Meta(NSString("meta_key_1"), "meta_value_1"),
        Meta(NSString("number_key"), 3.5),
        Meta(NSString("date_key"), make_time(4)),
    ]
    assert db.get_high_water_mark(CAMERA_1) == make_time(5)
    add_dummy_file(db, CAMERA_1, make_time(3), 0)
    assert db.get_high_water_mark(CAMERA_1) == make_time(5)


@pytest.mark.contract("13/add_dummy_status")
def test_dummy_status_has_the_published_defaults_and_two_triangles(db: MeteorDatabase) -> None:
    add_dummy_status(db, CAMERA_1, make_time(1), region_size=50)

    status = db.get_camera_status(make_time(1), CAMERA_1)

    assert status is not None
    assert status.location.as_dict() == {"lat": 30, "long": 20, "gps": True, "error": 1.0}
    assert status.orientation.as_dict() == {"alt": 0.5, "az": 0.6, "error": 0.7, "rot": 1.0, "width": 80.0}
    assert status.regions == [
        [{"x": 0, "y": 0}, {"x": 50, "y": 0}, {"x": 0, "y": 50}],
        [{"x": 50, "y": 0}, {"x": 50, "y": 50}, {"x": 0, "y": 50}],
    ]


@pytest.mark.contract("13/add_dummy_event")
def test_dummy_event_has_its_files(db: MeteorDatabase) -> None:
    add_dummy_status(db, CAMERA_1, make_time(1))
    given = add_dummy_file(db, CAMERA_1, make_time(2), 0)

    event = add_dummy_event(db, CAMERA_1, make_time(3), 2.5, [given], file_count=2)

    assert str(event.event_type) == "meteorpi:omgmeteors"
    assert [str(record.semantic_type) for record in event.file_records] == [
        "meteorpi:test_file", "meteorpi:event_test_file", "meteorpi:event_test_file",
    ]  # fmt: skip
    assert Meta(NSString("file_count"), 3) in event.meta
    assert Meta(NSString("camera_id"), CAMERA_1) in event.meta


@pytest.mark.contract("13/setup", "13/helper")
def test_standard_set_is_named_and_can_be_made_again(db: MeteorDatabase) -> None:
    helper = setup_dummy_data(db)
    assert set(helper.files.values()) == {*"abcdefgh", "e0:0", "e0:1", "e1:0"}
    assert set(helper.events.values()) == {"e0", "e1", "e2", "e3"}

    helper = setup_dummy_data(db, clear=True)

    found = db.search_files(FileRecordSearch(exclude_events=True))["files"]
    assert helper.seq_to_string(found) == "a,b,c,d,e,f,g"
    assert helper.seq_to_string_no_sort(found) == "e,d,c,g,b,f,a"
    events = db.search_events(EventSearch())["events"]
    assert helper.seq_to_string_no_sort(events) == "e1,e3,e2,e0"
    assert helper.seq_to_string(events) == "e0,e1,e2,e3"
    assert db.get_cameras() == [CAMERA_1, CAMERA_3, CAMERA_2]


@pytest.mark.contract("13/setup")
@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({"camera_ids": CAMERA_2}, "f,g,h"),
        ({"lat_min": 35}, "e1:0,f,g,h"),
        ({"long_max": 10}, "f,g,h"),
        ({"after": make_time(5), "before": make_time(11)}, "c,g,h"),
        ({"semantic_type": NSString("event_test_file")}, "e0:0,e0:1,e1:0"),
        ({"meta_constraints": [MetaConstraint("greater", NSString("number_key"), 2)]}, "c,d,e,h"),
        (
            {"meta_constraints": [MetaConstraint("string_equals", NSString("meta_key_3"), "meta_value_3")]},
            "e",
        ),
        ({"meta_constraints": [MetaConstraint("before", NSString("date_key"), make_time(4))]}, "a,f"),
        ({"limit": 2}, "e0:1,e1:0"),
    ],
)
def test_standard_set_answers_searches(
    db: MeteorDatabase, criteria: dict[str, object], expected: str
) -> None:
    helper = setup_dummy_data(db)

    found = db.search_files(FileRecordSearch(**criteria))["files"]  # type: ignore[arg-type]

    assert helper.seq_to_string(found) == expected
