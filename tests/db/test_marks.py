"""High water marks: when they move, and what a rollback takes, keeps and reports."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from meteorpi_db import MeteorDatabase
from meteorpi_model import EventSearch, FileRecordSearch
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
    stored_ids,
)


@pytest.mark.contract("4.4/get", "4.4/none", "4.4/earlier", "4.4/equal", "4.4/later", "4.4/other")
@pytest.mark.parametrize(
    ("existing", "time", "rollback", "advance", "expected"),
    [
        (None, 5, True, True, 5),
        (None, 5, False, True, 5),
        (None, 5, True, False, None),
        (3, 5, True, True, 5),
        (3, 5, True, False, 3),
        (5, 5, True, True, 5),
        (7, 5, True, True, 5),
        (7, 5, True, False, 5),
        (7, 5, False, True, 7),
    ],
)
def test_mark_moves_only_as_allowed(
    db: MeteorDatabase,
    existing: int | None,
    time: int,
    rollback: bool,
    advance: bool,
    expected: int | None,
) -> None:
    if existing is not None:
        db.set_high_water_mark(at(existing), CAMERA)

    db.set_high_water_mark(at(time), CAMERA, allow_rollback=rollback, allow_advance=advance)

    assert db.get_high_water_mark(CAMERA) == (None if expected is None else at(expected))
    assert db.get_high_water_mark(OTHER_CAMERA) is None


@pytest.mark.contract("4.4/later", "4.4/equal")
def test_rollback_deletes_what_is_strictly_later_with_all_that_belongs_to_it(db: MeteorDatabase) -> None:
    add_status(db, minute=0)
    add_status(db, OTHER_CAMERA, minute=0)
    kept_files = [add_file(db, 5), add_file(db, 9, camera=OTHER_CAMERA)]
    gone_files = [add_file(db, 5.0001), add_file(db, 8)]
    kept_event = add_event(db, 5)
    add_event(db, 6, gone_files)
    add_status(db, minute=7)
    db.set_high_water_mark(at(10), CAMERA)
    config = add_export(db)
    db.mark_entities_to_export(config)

    report = db.set_high_water_mark(at(5), CAMERA)

    assert (report.files, report.events, report.statuses) == (2, 1, 1)
    assert db.search_files(FileRecordSearch())["files"] == kept_files[::-1]
    assert db.search_events(EventSearch())["events"] == [kept_event]
    assert len(db.get_status_history(CAMERA)) == 1
    assert stored_ids(db) == set(ids_of(kept_files))
    assert db.get_export_states()[0].total == 2
    assert not db.set_high_water_mark(at(5), CAMERA)


@pytest.mark.contract("B-40")
def test_rollback_reports_what_it_cuts_through(db: MeteorDatabase, caplog: pytest.LogCaptureFixture) -> None:
    add_status(db)
    early, late = add_file(db, 1), add_file(db, 9)
    shortened = add_event(db, 2, [early, late])
    add_event(db, 8, [early])
    db.set_high_water_mark(at(10), CAMERA)

    with caplog.at_level(logging.INFO, "meteorpi.db"):
        report = db.set_high_water_mark(at(5), CAMERA)

    assert report.as_dict() == {
        "files": 1,
        "events": 1,
        "statuses": 0,
        "size_bytes": late.file_size,
        "freed_files": 1,
        "shortened_events": 1,
        "kept_statuses": 0,
    }
    assert "freed_files=1 shortened_events=1" in caplog.text
    found = db.get_event(shortened.event_id)  # type: ignore[arg-type]
    assert found is not None
    assert found.file_records == [early]


@pytest.mark.contract("B-40", "4.4/later")
def test_status_that_an_earlier_record_refers_to_stays_and_is_reported(db: MeteorDatabase) -> None:
    add_status(db, "far camera", minute=0)
    later = add_status(db, "far camera", minute=20)
    assert later.status_id is not None
    event = imported_event(later.status_id, minute=5, files=0)
    db.import_event(event, "importer")

    report = db.set_high_water_mark(at(10), "far camera")

    assert (report.events, report.statuses, report.kept_statuses) == (0, 0, 1)
    assert db.get_event(event.event_id) == event  # type: ignore[arg-type]


@pytest.mark.contract("4.4/other")
def test_registering_and_importing_leave_the_mark(db: MeteorDatabase) -> None:
    status = add_status(db, "far camera", minute=0)
    assert status.status_id is not None
    add_file(db, 30, camera="far camera")
    db.import_event(imported_event(status.status_id, minute=40, files=0), "importer")

    assert db.get_high_water_mark("far camera") == at(0)


def test_data_of_a_range_is_counted_and_deleted(db: MeteorDatabase) -> None:
    add_status(db)
    add_status(db, OTHER_CAMERA)
    records = [add_file(db, minute) for minute in range(5)]
    other = add_file(db, 2, camera=OTHER_CAMERA)
    add_event(db, 2, [records[0], records[2], other])

    counted = db.count_data(CAMERA, at(1), at(4))
    deleted = db.delete_data(CAMERA, at(1), at(4))

    assert counted.as_dict() == deleted.as_dict()
    assert (deleted.files, deleted.events, deleted.freed_files) == (2, 1, 2)
    assert stored_ids(db) == {records[0].file_id, records[1].file_id, records[4].file_id, other.file_id}
    assert len(db.get_status_history(CAMERA)) == 1
    assert db.delete_data().files == 4
    assert stored_ids(db) == set()


class MarkMachine(RuleBasedStateMachine):
    """Any order of registrations and marks, against a model in lists."""

    minutes = st.integers(0, 12)

    db: MeteorDatabase

    def __init__(self) -> None:
        super().__init__()
        self.mark: datetime | None = None
        self.files: dict[UUID, datetime] = {}
        self.events: dict[UUID, tuple[datetime, list[UUID]]] = {}
        self.statuses: list[datetime] = []

    @initialize()
    def begin(self) -> None:
        self.db.clear_database()
        self.update_status(0)

    @rule(minute=minutes)
    def update_status(self, minute: int) -> None:
        add_status(self.db, minute=minute)
        self.move(at(minute), rollback=True, advance=True)
        self.statuses.append(at(minute))

    @rule(minute=minutes)
    def register_file(self, minute: int) -> None:
        if not any(start <= at(minute) for start in self.statuses):
            return
        record = add_file(self.db, minute)
        assert record.file_id is not None
        self.files[record.file_id] = at(minute)

    @rule(minute=minutes, data=st.data())
    def register_event(self, minute: int, data: st.DataObject) -> None:
        if not any(start <= at(minute) for start in self.statuses):
            return
        known = sorted(self.files, key=lambda file_id: self.files[file_id])
        chosen = data.draw(st.lists(st.sampled_from(known), max_size=3, unique=True)) if known else []
        records: list[Any] = [self.db.get_file(file_id) for file_id in chosen]
        event = add_event(self.db, minute, records)
        assert event.event_id is not None
        self.events[event.event_id] = at(minute), chosen

    @rule(minute=minutes, rollback=st.booleans(), advance=st.booleans())
    def set_mark(self, minute: int, rollback: bool, advance: bool) -> None:
        self.db.set_high_water_mark(at(minute), CAMERA, rollback, advance)
        self.move(at(minute), rollback, advance)

    def move(self, time: datetime, rollback: bool, advance: bool) -> None:
        """The table of the contract."""
        if self.mark is None or self.mark < time:
            self.mark = time if advance else self.mark
        elif self.mark > time and rollback:
            self.mark = time
            self.files = {key: moment for key, moment in self.files.items() if moment <= time}
            self.events = {
                key: (moment, [file_id for file_id in members if file_id in self.files])
                for key, (moment, members) in self.events.items()
                if moment <= time
            }
            self.statuses = [start for start in self.statuses if start <= time]

    @invariant()
    def agrees(self) -> None:
        assert self.db.get_high_water_mark(CAMERA) == self.mark
        assert {record.file_id: record.file_time for record in self.db.iterate_files()} == self.files
        assert stored_ids(self.db) == set(self.files)
        found = {
            event.event_id: (event.event_time, ids_of(event.file_records))
            for event in self.db.iterate_events()
        }
        assert found == self.events
        starts = [status.valid_from for status in self.db.get_status_history(CAMERA)]
        assert starts == sorted(self.statuses, reverse=True)


@pytest.mark.contract("4.4/later", "4.4/other", "B-15")
def test_any_order_of_marks_and_registrations_keeps_what_the_contract_says(
    open_database: OpenDatabase,
) -> None:
    class Machine(MarkMachine):
        db = open_database(file_store_path="memory:")

    few = settings(max_examples=8, stateful_step_count=15, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(Machine, settings=few)
