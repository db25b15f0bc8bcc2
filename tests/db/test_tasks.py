"""The export queue: marking, order, deferring, tasks."""

from __future__ import annotations

import threading
from datetime import datetime
from uuid import uuid4

import pytest
from sqlalchemy import select

from meteorpi_db import EventExportTask, FileExportTask, MeteorDatabase, tables
from meteorpi_model import (
    EventSearch,
    ExportConfiguration,
    FileRecordSearch,
    Meta,
    MetaConstraint,
    NSString,
    utc_datetime_to_milliseconds,
)
from meteorpi_model.errors import NotFoundError
from tests.conftest import OpenDatabase
from tests.db.making import (
    CAMERA,
    OTHER_CAMERA,
    StandingClock,
    add_event,
    add_export,
    add_file,
    add_status,
    at,
    ids_of,
)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    db = open_database(clock=clock)
    add_status(db)
    return db


def next_id(db: MeteorDatabase) -> object:
    task = db.get_next_entity_to_export()
    return None if task is None else task.get_entity_id()


@pytest.mark.contract("4.6/mark", "4.6/free-files")
def test_every_free_file_gets_one_task_and_repeating_none(db: MeteorDatabase) -> None:
    free = [add_file(db, minute) for minute in range(3)]
    add_event(db, 5, [add_file(db, 4)])
    config = add_export(db, search=FileRecordSearch(limit=1, skip=5))

    assert db.mark_entities_to_export(config) == 3
    assert db.mark_entities_to_export(config) == 0
    newer = add_file(db, 9)
    assert db.mark_entities_to_export(config) == 1

    found = []
    while task := db.get_next_entity_to_export():
        found.append(task.get_entity_id())
        task.set_status(0)
    assert found == ids_of([*free, newer])
    assert db.mark_entities_to_export(config) == 0
    assert (db.get_export_states()[0].pending, db.get_export_states()[0].total) == (0, 4)


@pytest.mark.contract("4.6/mark", "4.6/task")
def test_events_are_marked_with_their_files(db: MeteorDatabase) -> None:
    event = add_event(db, 5, [add_file(db, 4)])
    config = add_export(db, "event", search=EventSearch(camera_ids=CAMERA, limit=0))

    assert db.mark_entities_to_export(config) == 1

    task = db.get_next_entity_to_export()
    assert isinstance(task, EventExportTask)
    assert task.get_event() == event
    assert (task.event_id, task.get_entity_id()) == (event.event_id, event.event_id)
    assert task.as_dict() == {"type": "event", "event": event.as_dict()}
    assert isinstance(task.event_internal_id, int)


@pytest.mark.contract("4.6/task", "B-19")
def test_file_task_says_what_goes_where(db: MeteorDatabase, clock: StandingClock) -> None:
    record = add_file(db, 4)
    config = add_export(db)
    db.mark_entities_to_export(config)

    task = db.get_next_entity_to_export()

    assert isinstance(task, FileExportTask)
    assert task.db is db
    assert (task.config_id, task.file_id, task.status) == (config.config_id, record.file_id, 1)
    assert task.timestamp == utc_datetime_to_milliseconds(clock())
    assert (task.target_url, task.target_user, task.target_password) == (
        config.target_url, config.user_id, config.password,
    )  # fmt: skip
    assert isinstance(task.config_internal_id, int)
    assert isinstance(task.file_internal_id, int)
    assert task.get_file() == record
    assert task.get_entity_id() == record.file_id
    assert task.get_export_config() == config
    assert task.as_dict() == {"type": "file", "file": record.as_dict()}


@pytest.mark.contract("4.6/task")
def test_status_of_a_task_can_be_set_to_and_fro(db: MeteorDatabase) -> None:
    add_file(db)
    db.mark_entities_to_export(add_export(db))
    task = db.get_next_entity_to_export()
    assert task is not None

    task.set_status(0)
    assert task.status == 0
    assert db.get_next_entity_to_export() is None
    task.set_status(7)
    assert next_id(db) == task.get_entity_id()
    with pytest.raises(ValueError, match="status"):
        task.set_status("done")  # type: ignore[arg-type]


@pytest.mark.contract("4.6/mark")
def test_criteria_of_the_search_are_kept(db: MeteorDatabase) -> None:
    add_status(db, OTHER_CAMERA, latitude=-10)
    wanted = add_file(db, 1, Meta(NSString("n"), 1), Meta(NSString("n"), 2))
    add_file(db, 2, Meta(NSString("n"), 5))
    add_file(db, 3, Meta(NSString("n"), 1), camera=OTHER_CAMERA)
    limit = MetaConstraint("less", NSString("n"), 2)

    for search in (
        FileRecordSearch(meta_constraints=[limit], lat_min=0),
        FileRecordSearch(camera_ids=[CAMERA, "x"], meta_constraints=[limit], before=at(9), after=at(0)),
        FileRecordSearch(camera_ids=CAMERA, semantic_type=NSString("frame"), before=at(2)),
    ):
        config = add_export(db, search=search)
        assert db.mark_entities_to_export(config) == 1
        assert next_id(db) == wanted.file_id
        assert config.config_id is not None
        db.delete_export_configuration(config.config_id)
    assert db.mark_entities_to_export(add_export(db, search=FileRecordSearch(lat_min=80))) == 0


@pytest.mark.contract("4.6/mark")
def test_disabled_configuration_marks_nothing_and_an_unknown_one_is_a_value_error(db: MeteorDatabase) -> None:
    add_file(db)
    config = add_export(db, enabled=False)

    assert db.mark_entities_to_export(config) == 0
    config.config_id = uuid4()
    with pytest.raises(ValueError, match="not stored"):
        db.mark_entities_to_export(config)
    config.config_id = None
    with pytest.raises(ValueError, match="not stored"):
        db.mark_entities_to_export(config)


@pytest.mark.contract("4.6/mark", "B-38", "4/coexistence")
def test_marking_at_once_marks_everything_once(open_database: OpenDatabase) -> None:
    databases = [open_database() for _ in range(3)]
    add_status(databases[0])
    for minute in range(20):
        add_file(databases[0], minute)
    config = add_export(databases[0])
    start, marked = threading.Barrier(3), []

    def mark(db: MeteorDatabase) -> None:
        start.wait()
        marked.append(db.mark_entities_to_export(config))

    threads = [threading.Thread(target=mark, args=(db,)) for db in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(marked) == [0, 0, 20]
    assert databases[0].get_export_states()[0].total == 20


@pytest.mark.contract("4.6/next")
def test_earliest_due_task_of_an_enabled_configuration_comes_first(
    db: MeteorDatabase, clock: StandingClock
) -> None:
    first, second = add_file(db, 9), add_file(db, 1)
    event = add_event(db, 3)
    for_files, for_events = add_export(db), add_export(db, "event")

    clock.move(seconds=1)
    db.mark_entities_to_export(for_events)
    clock.move(seconds=1)
    db.mark_entities_to_export(for_files)
    assert next_id(db) == event.event_id
    for_events.enabled = False
    db.create_or_update_export_configuration(for_events)
    assert next_id(db) == first.file_id
    db.get_next_entity_to_export().set_status(0)  # type: ignore[union-attr]
    assert next_id(db) == second.file_id
    clock.move(seconds=-1)
    assert next_id(db) is None
    for_events.enabled = True
    db.create_or_update_export_configuration(for_events)
    assert next_id(db) == event.event_id


@pytest.mark.contract("4.6/next")
def test_tasks_due_at_one_instant_come_in_order_of_marking(db: MeteorDatabase) -> None:
    for_events, for_files = add_export(db, "event"), add_export(db)
    event, record = add_event(db, 3), add_file(db, 9)

    db.mark_entities_to_export(for_files)
    db.mark_entities_to_export(for_events)

    assert next_id(db) == record.file_id
    db.get_next_entity_to_export().set_status(0)  # type: ignore[union-attr]
    assert next_id(db) == event.event_id


@pytest.mark.contract("4.6/next", "B-25")
def test_task_that_failed_goes_behind_the_others(db: MeteorDatabase) -> None:
    records = [add_file(db, minute) for minute in range(3)]
    db.mark_entities_to_export(add_export(db))

    db.get_next_entity_to_export().record_failure()  # type: ignore[union-attr]

    assert next_id(db) == records[1].file_id


@pytest.mark.contract("4.6/defer")
def test_deferring_moves_what_is_due_before_and_nothing_else(
    db: MeteorDatabase, clock: StandingClock
) -> None:
    config, other = add_export(db), add_export(db, search=FileRecordSearch(camera_ids=CAMERA, limit=0))
    assert config.config_id is not None
    first = add_file(db, 1)
    db.mark_entities_to_export(config)
    db.defer_export_tasks(config.config_id, 100)
    later = add_file(db, 2)
    db.mark_entities_to_export(config)

    db.defer_export_tasks(config.config_id, 50)

    assert next_id(db) is None
    clock.move(seconds=49.999)
    assert next_id(db) is None
    clock.move(seconds=0.001)
    assert next_id(db) == later.file_id
    db.get_next_entity_to_export().set_status(0)  # type: ignore[union-attr]
    clock.move(seconds=49)
    assert next_id(db) is None
    clock.move(seconds=1)
    assert next_id(db) == first.file_id
    db.mark_entities_to_export(other)
    assert db.get_next_entity_to_export().config_id == config.config_id  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="not stored"):
        db.defer_export_tasks(uuid4(), 10)
    with pytest.raises(ValueError, match="seconds"):
        db.defer_export_tasks(config.config_id, float("nan"))


@pytest.mark.contract("B-55")
def test_task_of_a_deleted_entity_is_gone(db: MeteorDatabase) -> None:
    record, event = add_file(db, 1), add_event(db, 2)
    db.mark_entities_to_export(add_export(db))
    db.mark_entities_to_export(add_export(db, "event"))
    task = db.get_next_entity_to_export()
    assert isinstance(task, FileExportTask)

    db.delete_file(record.file_id)  # type: ignore[arg-type]
    db.delete_event(event.event_id)  # type: ignore[arg-type]

    assert db.get_next_entity_to_export() is None
    with pytest.raises(NotFoundError):
        task.get_file()
    task.set_status(0)
    task.record_failure()
    db.delete_export_configuration(task.config_id)
    with pytest.raises(NotFoundError):
        task.get_export_config()


def mark(db: MeteorDatabase, config: ExportConfiguration, clock: StandingClock, **later: float) -> int:
    """Mark some time later."""
    clock.move(**later)
    return db.mark_entities_to_export(config)


def settled(db: MeteorDatabase, clock: StandingClock) -> ExportConfiguration:
    """A configuration that has been marked for long enough to look only at what is new."""
    clock.time = datetime(2020, 1, 1)
    config = add_export(db)
    mark(db, config, clock)
    mark(db, config, clock, hours=1)
    with db.transactions.reading() as connection:
        assert connection.execute(select(tables.export_config.c.marked_pk)).scalar() is not None
    return config


@pytest.mark.contract("4.6/mark")
def test_marking_finds_what_is_new_however_long_it_has_gone_on(
    db: MeteorDatabase, clock: StandingClock
) -> None:
    add_file(db, 1)
    config = settled(db, clock)

    for hours in (0.001, 0.5, 0.9, 1, 1, 25):
        newer, older = add_file(db, 100), add_file(db, -1)
        add_event(db, 7, [add_file(db, 7)])
        assert mark(db, config, clock, hours=hours) == 2
        assert mark(db, config, clock) == 0
        assert db.search_files(FileRecordSearch(exclude_export_to=config.config_id, exclude_events=True)) == {
            "count": 0, "files": [],
        }  # fmt: skip
        assert newer != older


@pytest.mark.contract("4.6/mark", "4.6/free-files")
def test_file_freed_from_its_event_is_marked_however_old_it_is(
    db: MeteorDatabase, clock: StandingClock
) -> None:
    record = add_file(db, 1)
    event = add_event(db, 2, [record])
    add_file(db, 3)
    config = settled(db, clock)
    assert mark(db, config, clock) == 0

    db.delete_event(event.event_id)  # type: ignore[arg-type]

    assert mark(db, config, clock) == 1


@pytest.mark.contract("4.6/mark")
def test_row_numbers_given_out_again_are_marked(db: MeteorDatabase, clock: StandingClock) -> None:
    add_file(db, 1)
    last = add_file(db, 2)
    config = settled(db, clock)

    db.delete_file(last.file_id)  # type: ignore[arg-type]
    add_file(db, 3)

    assert mark(db, config, clock) == 1


@pytest.mark.contract("4.6/mark")
def test_changed_search_and_corrected_place_look_at_everything(
    db: MeteorDatabase, clock: StandingClock
) -> None:
    add_file(db, 1)
    config = settled(db, clock)
    config.search = FileRecordSearch(lat_min=60, limit=0)
    assert db.mark_entities_to_export(config) == 0
    other = add_export(db, search=FileRecordSearch(lat_min=60, limit=0))
    mark(db, other, clock)
    assert mark(db, other, clock, hours=1) == 0

    db.amend_status_history(lambda status: setattr(status.location, "latitude", 61), CAMERA)

    assert mark(db, other, clock) == 1
    add_file(db, 2)
    assert db.mark_entities_to_export(add_export(db, search=FileRecordSearch(limit=0))) == 2


@pytest.mark.contract("4.6/mark")
def test_marking_nothing_writes_nothing(db: MeteorDatabase, clock: StandingClock) -> None:
    add_file(db, 1)
    config = settled(db, clock)
    writes = []
    write = db.transactions.write
    db.transactions.write = lambda operation: writes.append(1) or write(operation)  # type: ignore[method-assign, func-returns-value]

    assert mark(db, config, clock, minutes=1) == 0

    assert writes == []
