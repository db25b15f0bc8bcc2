"""Events: registration over registered files, reading back, deletion."""

from __future__ import annotations

from uuid import uuid4

import pytest

from meteorpi_db import MeteorDatabase, NewEvent
from meteorpi_model import EventSearch, FileRecord, FileRecordSearch, Meta, NSString
from tests.db.making import CAMERA, OTHER_CAMERA, add_event, add_file, add_status, at, stored_ids


@pytest.mark.contract("4.2/register_event", "4.2/get_event", "4.2/has_event_id", "B-10")
def test_event_is_read_back_with_its_files_in_the_order_given(db: MeteorDatabase) -> None:
    status = add_status(db)
    made = [add_file(db, minute, Meta(NSString("n"), minute)) for minute in (1, 2, 3)]
    records = [made[2], made[0], made[1]]
    metas = [Meta(NSString("b"), "first"), Meta(NSString("a"), 2), Meta(NSString("b"), at(5))]

    event = db.register_event(CAMERA, at(4), NSString("meteor"), records, metas)

    assert event.event_id is not None
    assert db.has_event_id(event.event_id)
    assert db.get_event(event.event_id) == event
    assert (event.file_records, event.meta, event.status_id) == (records, metas, status.status_id)


@pytest.mark.contract("4.2/register_event")
def test_event_needs_no_files(db: MeteorDatabase) -> None:
    add_status(db)

    event = db.register_event(CAMERA, at(4), NSString("meteor"))

    assert db.get_event(event.event_id) == event  # type: ignore[arg-type]
    assert (event.file_records, event.meta) == ([], [])


@pytest.mark.contract("4.2/register_event")
def test_file_may_belong_to_several_events(db: MeteorDatabase) -> None:
    add_status(db)
    shared, own = add_file(db, 1), add_file(db, 2)

    first, second = add_event(db, 3, [shared, own]), add_event(db, 4, [own, shared])

    found = db.search_events(EventSearch())["events"]
    assert found == [second, first]
    assert found[0].file_records == [own, shared]


@pytest.mark.contract("4.2/register_event")
def test_event_without_status_is_a_value_error(db: MeteorDatabase) -> None:
    add_status(db)

    with pytest.raises(ValueError, match="no status"):
        add_event(db, -61)
    with pytest.raises(ValueError, match="no status"):
        add_event(db, camera="unknown")


@pytest.mark.contract("4.2/register_event")
def test_event_over_an_unknown_file_is_a_value_error_and_stores_nothing(db: MeteorDatabase) -> None:
    status = add_status(db)
    known = add_file(db)
    unknown = FileRecord(CAMERA, "image/png", NSString("frame"), status.status_id)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="registered"):
        add_event(db, 1, [known, unknown])
    unknown.file_id = uuid4()
    with pytest.raises(ValueError, match=unknown.file_id.hex):
        add_event(db, 1, [known, unknown])

    assert db.search_events(EventSearch())["count"] == 0
    assert db.search_files(FileRecordSearch(exclude_events=True))["count"] == 1


@pytest.mark.parametrize("files", [["not a record"], [None]])
def test_what_is_no_record_is_refused(db: MeteorDatabase, files: list[FileRecord]) -> None:
    add_status(db)

    with pytest.raises(ValueError, match="not a file record"):
        add_event(db, 1, files)


def test_file_named_twice_is_refused(db: MeteorDatabase) -> None:
    add_status(db)
    record = add_file(db)

    with pytest.raises(ValueError, match="twice"):
        add_event(db, 1, [record, record])


@pytest.mark.contract("4.2/has_event_id", "4.2/get_event")
def test_unknown_event_is_none(db: MeteorDatabase) -> None:
    assert db.get_event(uuid4()) is None
    assert not db.has_event_id(uuid4())


def test_event_added_twice_under_one_id_is_one_event(db: MeteorDatabase) -> None:
    add_status(db)
    record = add_file(db)
    assert record.file_id is not None
    new = NewEvent(
        camera_id=CAMERA, event_time=at(0), event_type=NSString("meteor"), file_ids=[record.file_id]
    )
    event_id = uuid4()

    first = db.add_event(new, event_id)
    again = db.add_event(new, event_id)

    assert first == again
    assert db.search_events(EventSearch())["count"] == 1


@pytest.mark.contract("4.2/search_events")
def test_count_of_events_ignores_limit_and_skip(db: MeteorDatabase) -> None:
    add_status(db)
    add_status(db, OTHER_CAMERA)
    events = [add_event(db, minute, camera=(CAMERA, OTHER_CAMERA)[minute % 2]) for minute in range(7)]

    found = db.search_events(EventSearch(limit=2, skip=1))

    assert (found["count"], found["events"]) == (7, [events[5], events[4]])


def test_event_is_deleted_without_or_with_its_files(db: MeteorDatabase) -> None:
    add_status(db)
    own, shared, kept = (add_file(db, minute) for minute in (1, 2, 3))
    first, second = add_event(db, 4, [own, shared]), add_event(db, 5, [shared, kept])

    report = db.delete_event(first.event_id, with_files=True)  # type: ignore[arg-type]
    assert (report.events, report.files, report.freed_files) == (1, 1, 1)
    assert stored_ids(db) == {shared.file_id, kept.file_id}
    assert db.get_event(second.event_id) == second  # type: ignore[arg-type]

    report = db.delete_event(second.event_id)  # type: ignore[arg-type]
    assert (report.events, report.files, report.freed_files) == (1, 0, 2)
    assert stored_ids(db) == {shared.file_id, kept.file_id}
    assert not db.delete_event(second.event_id)  # type: ignore[arg-type]
