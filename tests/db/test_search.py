"""Searches: what each criterion means, how many statements they take, what they refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event as engine_event

from meteorpi_db import MeteorDatabase
from meteorpi_db.searching import FEW, MOST_BRANCHES, PAGE
from meteorpi_model import Event, EventSearch, FileRecordSearch, Meta, MetaConstraint, NSString
from tests.conftest import OpenDatabase
from tests.db.making import (
    CAMERA,
    OTHER_CAMERA,
    add_event,
    add_export,
    add_file,
    add_status,
    at,
    ids_of,
    imported_event,
    new_file,
)


@contextmanager
def statements(db: MeteorDatabase) -> Iterator[list[str]]:
    """The queries that are sent inside the block."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            sent.append(statement)

    engine_event.listen(db.con, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        engine_event.remove(db.con, "before_cursor_execute", note)


def minutes(db: MeteorDatabase, **criteria: Any) -> list[float]:
    """What a search finds, as minutes after the start."""
    found = db.search_files(FileRecordSearch(**criteria))
    return [
        (record.file_time - at(0)) / timedelta(minutes=1) for record in found["files"] if record.file_time
    ]


@pytest.fixture
def filled(db: MeteorDatabase) -> MeteorDatabase:
    """Files in minutes 0 to 5: even ones of the first camera, odd ones of the second."""
    add_status(db, CAMERA, latitude=10, longitude=20)
    add_status(db, OTHER_CAMERA, latitude=-10, longitude=170)
    for minute in range(6):
        metas = [
            Meta(NSString("text"), f"value {minute % 3}"),
            Meta(NSString("number"), minute / 2),
            Meta(NSString("date"), at(minute)),
        ]
        add_file(db, minute, *metas, camera=(CAMERA, OTHER_CAMERA)[minute % 2])
    return db


@pytest.mark.contract("4.1/search_files", "3.3/limit", "3.3/skip", "3.3/result-order")
def test_page_is_cut_from_the_newest_on_and_count_is_of_all(filled: MeteorDatabase) -> None:
    assert minutes(filled) == [5, 4, 3, 2, 1, 0]
    assert minutes(filled, limit=2, skip=1) == [4, 3]
    assert minutes(filled, limit=0, skip=4) == [1, 0]
    assert minutes(filled, limit=None) == [5, 4, 3, 2, 1, 0]
    for limit, skip in ((2, 1), (0, 4), (None, 0), (6, 0), (7, 0), (1, 6), (3, 100)):
        assert filled.search_files(FileRecordSearch(limit=limit, skip=skip))["count"] == 6


@pytest.mark.contract("3.3/camera_ids", "B-16")
def test_cameras_are_compared_exactly(filled: MeteorDatabase) -> None:
    assert minutes(filled, camera_ids=CAMERA) == [4, 2, 0]
    assert minutes(filled, camera_ids=[OTHER_CAMERA, CAMERA, "unknown"]) == [5, 4, 3, 2, 1, 0]
    assert minutes(filled, camera_ids=[CAMERA, OTHER_CAMERA], limit=3, skip=2) == [3, 2, 1]
    assert minutes(filled, camera_ids=CAMERA + " ") == []
    assert minutes(filled, camera_ids=CAMERA.upper()) == []


@pytest.mark.contract("3.3/times")
def test_times_are_strict(filled: MeteorDatabase) -> None:
    assert minutes(filled, after=at(2)) == [5, 4, 3]
    assert minutes(filled, before=at(2)) == [1, 0]
    assert minutes(filled, after=at(2) - timedelta(milliseconds=1), before=at(4)) == [3, 2]
    assert minutes(filled, after=at(2), before=at(2)) == []


@pytest.mark.contract("3.3/offsets")
def test_time_of_night_is_strict_and_counts_on_any_date(filled: MeteorDatabase) -> None:
    add_file(filled, 24 * 60 + 3)
    seconds = 8 * 3600  # from midday to the start

    assert minutes(filled, after_offset=seconds + 120, before_offset=seconds + 240) == [24 * 60 + 3, 3]
    assert minutes(filled, after_offset=seconds + 119.5, before_offset=seconds + 120.5) == [2]
    assert minutes(filled, after_offset=-5, before_offset=1e9) == [24 * 60 + 3, 5, 4, 3, 2, 1, 0]
    assert minutes(filled, after_offset=1e9) == []
    assert minutes(filled, camera_ids=OTHER_CAMERA, before_offset=seconds + 240) == [3, 1]


@pytest.mark.contract("3.3/mime_type", "3.3/semantic_type")
def test_types_are_exact(filled: MeteorDatabase) -> None:
    filled.add_file(new_file(9, mime="video/mp4"), [b"moving"])

    assert minutes(filled, mime_type="video/mp4") == [9]
    assert minutes(filled, mime_type="video/MP4") == []
    assert minutes(filled, semantic_type=NSString("frame"), limit=2) == [9, 5]
    assert minutes(filled, semantic_type=NSString("frame", "other")) == []
    assert minutes(filled, semantic_type=NSString("frame"), mime_type="image/png", limit=2) == [5, 4]


@pytest.mark.contract("3.3/event_type")
def test_event_types_are_exact(filled: MeteorDatabase) -> None:
    plane = filled.register_event(CAMERA, at(1), NSString("plane"))
    other = filled.register_event(CAMERA, at(2), NSString("plane", "other"))
    filled.register_event(CAMERA, at(3), NSString("Plane"))

    def found(event_type: NSString) -> list[Event]:
        events: list[Event] = filled.search_events(EventSearch(event_type=event_type))["events"]
        return events

    assert found(NSString("plane")) == [plane]
    assert found(NSString("plane", "other")) == [other]
    assert found(NSString("plan")) == []


@pytest.mark.contract("3.3/box", "B-43")
def test_box_is_inclusive_and_of_the_status_of_that_time(filled: MeteorDatabase) -> None:
    add_status(filled, CAMERA, minute=100, latitude=40, longitude=20)
    add_file(filled, 101)

    assert minutes(filled, lat_min=10, lat_max=10, long_min=20, long_max=20) == [4, 2, 0]
    assert minutes(filled, lat_min=10) == [101, 4, 2, 0]
    assert minutes(filled, lat_max=9.999) == [5, 3, 1]
    assert minutes(filled, long_min=170, long_max=170) == [5, 3, 1]
    assert minutes(filled, lat_min=41) == []
    assert minutes(filled, lat_min=-90, lat_max=90, limit=3, skip=1) == [5, 4, 3]
    assert minutes(filled, lat_min=10, camera_ids=[OTHER_CAMERA]) == []


@pytest.mark.contract("3.3/box")
def test_box_over_more_statuses_than_are_walked_one_by_one(db: MeteorDatabase) -> None:
    for number in range(MOST_BRANCHES + 3):
        add_status(db, f"camera {number}", latitude=number)
        add_file(db, number, camera=f"camera {number}")

    found = db.search_files(FileRecordSearch(lat_min=1, limit=3, skip=1))

    assert found["count"] == MOST_BRANCHES + 2
    assert [record.camera_id for record in found["files"]] == [
        f"camera {MOST_BRANCHES + 2 - back}" for back in (1, 2, 3)
    ]


@pytest.mark.contract("3.3/camera_ids")
def test_more_cameras_than_are_walked_one_by_one(db: MeteorDatabase) -> None:
    cameras = [f"camera {number}" for number in range(MOST_BRANCHES + 3)]
    for number, camera in enumerate(cameras):
        add_status(db, camera)
        add_file(db, number, camera=camera)

    found = db.search_files(FileRecordSearch(camera_ids=cameras[1:], limit=2))

    assert (found["count"], found["files"][0].camera_id) == (MOST_BRANCHES + 2, cameras[-1])


@pytest.mark.contract("3.3/exclude_events", "4.6/free-files")
def test_files_of_events_are_left_out(filled: MeteorDatabase) -> None:
    first = filled.search_files(FileRecordSearch(limit=2))["files"]
    add_event(filled, 10, first)
    add_event(filled, 11, first[:1])

    assert minutes(filled, exclude_events=True) == [3, 2, 1, 0]
    assert minutes(filled, exclude_events=True, camera_ids=CAMERA) == [2, 0]


@pytest.mark.contract("3.3/exclude_imported", "B-08")
def test_imported_entities_are_left_out(filled: MeteorDatabase) -> None:
    status = filled.get_camera_status(at(0), CAMERA)
    assert status is not None
    assert status.status_id is not None
    event = imported_event(status.status_id, 7)
    assert event.file_records[0].file_id is not None
    filled.store.put(event.file_records[0].file_id, [b"what the camera saw"])
    filled.import_event(event, "importer")
    own = add_event(filled, 8)

    assert minutes(filled, limit=2) == [7, 5]
    assert minutes(filled, exclude_imported=True, limit=2) == [5, 4]
    assert ids_of(filled.search_events(EventSearch())["events"]) == [own.event_id, event.event_id]
    assert ids_of(filled.search_events(EventSearch(exclude_imported=True))["events"]) == [own.event_id]


@pytest.mark.contract("3.3/exclude_export_to")
def test_entities_with_a_task_are_left_out_done_or_not(filled: MeteorDatabase) -> None:
    config, other = add_export(filled, search=FileRecordSearch(camera_ids=CAMERA)), add_export(filled)
    filled.mark_entities_to_export(config)
    task = filled.get_next_entity_to_export()
    assert task is not None
    task.set_status(0)

    assert minutes(filled, exclude_export_to=config.config_id) == [5, 3, 1]
    assert minutes(filled, exclude_export_to=other.config_id) == [5, 4, 3, 2, 1, 0]
    assert minutes(filled, exclude_export_to=uuid4()) == [5, 4, 3, 2, 1, 0]


@pytest.mark.contract(
    "3.2/string_equals", "3.2/number_equals", "3.2/less", "3.2/greater", "3.2/before", "3.2/after", "3.2/and"
)
@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ([("string_equals", "text", "value 1")], [4, 1]),
        ([("string_equals", "text", "VALUE 1")], []),
        ([("string_equals", "text", "value 1 ")], []),
        ([("string_equals", "number", "1")], []),
        ([("number_equals", "number", 1)], [2]),
        ([("number_equals", "number", 1.5)], [3]),
        ([("number_equals", "text", 1)], []),
        ([("less", "number", 1)], [2, 1, 0]),
        ([("greater", "number", 1.5)], [5, 4, 3]),
        ([("before", "date", at(1))], [1, 0]),
        ([("after", "date", at(4))], [5, 4]),
        ([("greater", "number", 1), ("string_equals", "text", "value 2")], [5, 2]),
        ([("greater", "number", 1), ("less", "number", 1)], [2]),
        ([("greater", "unknown", -1e300)], []),
        ([("before", "date", datetime(1, 1, 1))], []),
    ],
)
def test_metadata_constraints(
    filled: MeteorDatabase, constraints: list[tuple[str, str, Any]], expected: list[int]
) -> None:
    wanted = [MetaConstraint(kind, NSString(key), value) for kind, key, value in constraints]

    assert minutes(filled, meta_constraints=wanted) == expected
    even = [minute for minute in expected if minute % 2 == 0]
    assert minutes(filled, meta_constraints=wanted, camera_ids=CAMERA) == even


@pytest.mark.contract("3.2/and", "3.3/meta")
def test_entity_with_several_matching_items_is_found_once(db: MeteorDatabase) -> None:
    add_status(db)
    twins = [Meta(NSString("n"), 1), Meta(NSString("n"), 2), Meta(NSString("n"), 1), Meta(NSString("n"), "1")]
    add_file(db, 1, *twins)
    add_file(db, 2, Meta(NSString("n"), 0), Meta(NSString("n"), 1))

    for kind, value, expected in (
        ("number_equals", 1, [2, 1]),
        ("greater", 1, [2, 1]),
        ("greater", 2, [1]),
        ("string_equals", "1", [1]),
    ):
        constraints = [MetaConstraint(kind, NSString("n"), value)]
        assert minutes(db, meta_constraints=constraints) == expected
        assert minutes(db, meta_constraints=constraints * 2, camera_ids=CAMERA) == expected
        assert db.search_files(FileRecordSearch(meta_constraints=constraints, limit=1))["count"] == len(
            expected
        )


@pytest.mark.contract("3.2/string_equals", "B-41")
def test_long_texts_are_compared_to_their_end(db: MeteorDatabase) -> None:
    add_status(db)
    head = "ö" * 64
    for minute, text in enumerate([head, head + "a", head + "b", head[:-1]]):
        add_file(db, minute, Meta(NSString("t"), text))

    for minute, text in enumerate([head, head + "a", head + "b", head[:-1]]):
        assert minutes(db, meta_constraints=[MetaConstraint("string_equals", NSString("t"), text)]) == [
            minute
        ]


@pytest.mark.contract("3.3/result-order")
def test_equal_times_come_in_reverse_order_of_registration_and_pages_do_not_overlap(
    db: MeteorDatabase,
) -> None:
    add_status(db)
    records = [add_file(db, 5) for _ in range(7)]

    pages = [db.search_files(FileRecordSearch(limit=3, skip=skip))["files"] for skip in (0, 3, 6)]

    assert [record for page in pages for record in page] == records[::-1]


@pytest.mark.contract("B-09", "3.2/and", "faults/input")
@pytest.mark.parametrize(
    "search",
    [
        FileRecordSearch(lat_min=math.nan),
        FileRecordSearch(long_max=math.inf),
        FileRecordSearch(after_offset=math.nan),
        FileRecordSearch(camera_ids=["x" * 65]),
        FileRecordSearch(camera_ids=["a\x00b"]),
        FileRecordSearch(mime_type="\ud800"),
        FileRecordSearch(semantic_type="meteorpi:frame"),  # type: ignore[arg-type]
        FileRecordSearch(exclude_export_to="no id"),  # type: ignore[arg-type]
        FileRecordSearch(meta_constraints=[MetaConstraint("like", NSString("a"), "b")]),
        FileRecordSearch(meta_constraints=[MetaConstraint("less", NSString("a"), "b")]),
        FileRecordSearch(meta_constraints=[MetaConstraint("less", NSString("a"), math.nan)]),
        FileRecordSearch(meta_constraints=[MetaConstraint("string_equals", NSString("a"), "\x00")]),
        EventSearch(event_type="meteorpi:frame"),  # type: ignore[arg-type]
        "limit 1; drop table file_record",
        None,
    ],
    ids=range(15),
)
def test_searches_that_cannot_be_run_are_value_errors(db: MeteorDatabase, search: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        (db.search_events if isinstance(search, EventSearch) else db.search_files)(search)


@pytest.mark.contract("B-09")
def test_text_in_a_search_is_only_text(filled: MeteorDatabase) -> None:
    for text in ("' OR '1'='1", "%", "_", "image/png' --", '"; DROP TABLE file_record; --'):
        assert minutes(filled, mime_type=text) == []
        constraint = MetaConstraint("string_equals", NSString(text), text)
        assert minutes(filled, meta_constraints=[constraint], camera_ids=[text]) == []
    assert len(minutes(filled)) == 6


@pytest.mark.contract("B-39", "issue-2.2")
@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"limit": 0},
        {"camera_ids": [CAMERA, OTHER_CAMERA]},
        {"lat_min": -90, "after_offset": 0, "limit": 0},
        {"meta_constraints": [MetaConstraint("greater", NSString("number"), -1)], "limit": 0},
    ],
    ids=repr,
)
def test_number_of_statements_does_not_depend_on_the_number_of_results(
    db: MeteorDatabase, criteria: dict[str, Any]
) -> None:
    add_status(db, CAMERA)
    add_status(db, OTHER_CAMERA)

    def fill(count: int) -> None:
        for minute in range(count):
            record = add_file(db, minute, Meta(NSString("number"), minute), content=bytes([minute]))
            add_event(db, minute, [record])

    def sent() -> tuple[int, int]:
        with statements(db) as of_files:
            db.search_files(FileRecordSearch(**criteria))
        with statements(db) as of_events:
            db.search_events(EventSearch(**criteria))
        return len(of_files), len(of_events)

    fill(2)
    few = sent()
    fill(30)
    assert sent() == few
    assert few[0] <= 5
    assert few[1] <= 8


@pytest.mark.contract("B-39", "B-42", "3.3/limit")
def test_results_longer_than_a_list_of_numbers_are_complete(open_database: OpenDatabase) -> None:
    db = open_database(file_store_path="memory:")
    add_status(db)
    items = [(new_file(minute, Meta(NSString("n"), minute)), [b"x"], None) for minute in range(FEW + 5)]
    records = db.register_many(items)
    event = add_event(db, 1, records)

    constraint = MetaConstraint("greater", NSString("n"), 0)
    with statements(db) as sent:
        found = db.search_files(FileRecordSearch(limit=0, meta_constraints=[constraint]))
    assert found == {"count": FEW + 5, "files": records[::-1]}
    assert len(sent) <= 5
    assert db.search_files(FileRecordSearch(limit=FEW + 3, skip=1))["files"] == records[-2:0:-1]
    assert db.search_events(EventSearch(limit=0))["events"] == [event]
    assert list(db.iterate_files()) == records[::-1]
    assert list(db.iterate_files(FileRecordSearch(limit=FEW + 1, skip=2))) == records[-3:1:-1]


@pytest.mark.contract("4.9/generators", "4.11/iteration", "issue-2.2")
def test_iteration_stays_valid_while_others_read_and_write(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meteorpi_db.searching.PAGE", 3)
    assert PAGE > 3
    add_status(db)
    records = [add_file(db, minute) for minute in range(10)]

    found = db.iterate_files()
    seen = [next(found)]
    newer = add_file(db, 20)
    assert db.search_files(FileRecordSearch(limit=1))["files"] == [newer]
    seen += [next(found), next(found)]
    assert records[4].file_id is not None
    db.delete_file(records[4].file_id)
    older = add_file(db, -1)
    seen += list(found)

    assert seen == [*records[:4:-1], *records[3::-1], older]


@pytest.mark.contract("4.11/iteration")
def test_iteration_over_a_short_list_survives_deletions(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meteorpi_db.searching.PAGE", 2)
    add_status(db)
    records = [add_file(db, minute, Meta(NSString("n"), minute)) for minute in range(5)]
    search = FileRecordSearch(meta_constraints=[MetaConstraint("greater", NSString("n"), 1)], limit=0)

    found = db.iterate_files(search)
    first = next(found)
    for record in records[1:3]:
        assert record.file_id is not None
        db.delete_file(record.file_id)

    assert [first, *found] == [records[4], records[3]]
