"""Pruning: what goes by age and for want of room, and what export configurations keep from going."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as engine_event
from sqlalchemy import insert, select

from meteorpi_db import MeteorDatabase, NewEvent, NewFile, tables
from meteorpi_db.records import retention
from meteorpi_db.retention import RetentionRule
from meteorpi_model import EventSearch, ExportConfiguration, FileRecordSearch, NSString
from meteorpi_model.errors import InvalidDocumentError, UnavailableError
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, add_export, status_of, stored_ids

NOW = datetime(2020, 1, 1)
CAMERAS = ("a", "b")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(NOW)


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    db = open_database(clock=clock)
    add_statuses(db)
    return db


def add_statuses(db: MeteorDatabase) -> None:
    for camera in CAMERAS:
        db.update_camera_status(status_of(), ago(10_000), camera)


def new_file(days: float, camera: str = "a") -> NewFile:
    return NewFile(
        mime_type="image/png",
        semantic_type=NSString("frame"),
        file_time=ago(days),
        camera_id=camera,
    )


def add_file(db: MeteorDatabase, days: float, camera: str = "a", content: bytes = b"picture") -> UUID:
    file_id = db.add_file(new_file(days, camera), [content]).file_id
    assert file_id is not None
    return file_id


def add_event(db: MeteorDatabase, days: float, files: Sequence[UUID] = (), camera: str = "a") -> UUID:
    new = NewEvent(camera_id=camera, event_time=ago(days), event_type=NSString("m"), file_ids=files)
    event_id = db.add_event(new).event_id
    assert event_id is not None
    return event_id


def finish(db: MeteorDatabase) -> None:
    """Complete every task that is due, as if the receivers had confirmed."""
    while task := db.get_next_entity_to_export():
        task.set_status(0)


def held(db: MeteorDatabase) -> set[UUID]:
    """Ids of everything held; contents and records must agree."""
    records = {record.file_id for record in db.iterate_files() if record.file_id}
    assert stored_ids(db) == records
    return records | {event.event_id for event in db.iterate_events() if event.event_id}


@contextmanager
def statements_of(db: MeteorDatabase) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        seen.append(statement)

    engine_event.listen(db.con, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        engine_event.remove(db.con, "before_cursor_execute", note)


FRAMES_30 = RetentionRule(keep_frames_days=30)
BOTH = RetentionRule(keep_frames_days=30, keep_events_days=365)


@pytest.mark.contract("issue-3.5/prune")
def test_old_frames_go_and_events_stay_longer_with_their_files(db: MeteorDatabase) -> None:
    old, young = add_file(db, 31), add_file(db, 29)
    kept_file, gone_file = add_file(db, 100), add_file(db, 400)
    kept = add_event(db, 100, [kept_file])
    add_event(db, 400, [gone_file])

    report = db.prune(BOTH)

    assert held(db) == {young, kept_file, kept}
    assert (report.total.files, report.total.events) == (2, 1)
    assert report.total.size_bytes == 2 * len(b"picture")
    assert (report.total.oldest, report.total.newest) == (ago(400), ago(31))
    assert not db.has_file_id(old)


@pytest.mark.contract("issue-3.5/prune")
def test_file_of_two_events_stays_as_long_as_the_later_one(db: MeteorDatabase) -> None:
    shared, own = add_file(db, 400), add_file(db, 400)
    add_event(db, 400, [own, shared])
    later = add_event(db, 300, [shared])

    report = db.prune(BOTH)

    assert held(db) == {shared, later}
    assert (report.total.files, report.total.events) == (1, 1)


@pytest.mark.contract("issue-3.5/prune")
def test_statuses_and_marks_are_not_touched(db: MeteorDatabase) -> None:
    add_file(db, 31)
    before = (db.get_status_history("a"), db.get_high_water_mark("a"))

    db.prune(FRAMES_30)

    assert (db.get_status_history("a"), db.get_high_water_mark("a")) == before


@pytest.mark.contract("issue-3.5/prune")
@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(
    ("frames", "events"), [(30, 29), (0, 365)], ids=["shorter than frames", "frames for ever"]
)
def test_events_kept_shorter_than_frames_are_refused(frames: int, events: int) -> None:
    with pytest.raises(InvalidDocumentError, match="events are what is kept longest"):
        RetentionRule(keep_frames_days=frames, keep_events_days=events)


@pytest.mark.contract("issue-3.5/prune")
def test_dry_run_tells_the_same_and_changes_nothing(db: MeteorDatabase) -> None:
    add_event(db, 400, [add_file(db, 400, "b")])
    for days in (31, 40, 50):
        add_file(db, days)
    add_export(db, search=FileRecordSearch(before=ago(45), limit=0))
    before = held(db)

    dry = db.prune(BOTH, dry_run=True)

    assert held(db) == before
    real = db.prune(BOTH)
    assert dry.as_dict() == real.as_dict() | {"dry_run": True}
    assert {name: (tally.files, tally.events) for name, tally in dry.deleted.items()} == {"a": (3, 1)}
    assert (dry.kept.files, [each.name for each in dry.protections.values()]) == (1, ["hub"])


@pytest.mark.contract("issue-3.5/prune-exports")
def test_what_no_receiver_has_confirmed_stays(db: MeteorDatabase) -> None:
    config = add_export(db)
    unmarked = add_file(db, 40)

    assert db.prune(FRAMES_30).protections[1].config_id == config.config_id
    assert db.has_file_id(unmarked)
    db.mark_entities_to_export(config)
    assert not db.prune(FRAMES_30).deleted
    finish(db)
    assert db.prune(FRAMES_30).total.files == 1
    assert held(db) == set()


@pytest.mark.contract("issue-3.5/prune-exports")
def test_files_of_an_event_wait_for_the_export_of_the_event(db: MeteorDatabase) -> None:
    config = add_export(db, "event")
    files = [add_file(db, 400), add_file(db, 400)]
    event = add_event(db, 400, files)

    assert not db.prune(BOTH).deleted

    assert held(db) == {event, *files}
    db.mark_entities_to_export(config)
    finish(db)
    assert db.prune(BOTH).total.files == 2
    assert held(db) == set()


@pytest.mark.contract("issue-3.5/prune-exports")
def test_task_under_way_protects_what_the_search_no_longer_matches(db: MeteorDatabase) -> None:
    config = add_export(db)
    file_id = add_file(db, 400)
    db.mark_entities_to_export(config)
    config.search = FileRecordSearch(camera_ids="b", limit=0)
    db.create_or_update_export_configuration(config)

    assert not db.prune(BOTH).deleted

    event = add_event(db, 400, [file_id])
    assert not db.prune(BOTH).deleted
    finish(db)
    assert db.prune(BOTH).total.events == 1
    assert not held(db) & {file_id, event}


@pytest.mark.contract("issue-3.5/prune-exports")
def test_search_widened_later_protects_what_it_now_matches(db: MeteorDatabase) -> None:
    config = add_export(db, search=FileRecordSearch(camera_ids="b", limit=0))
    file_id = add_file(db, 40)
    db.mark_entities_to_export(config)
    config.search = FileRecordSearch(limit=0)
    db.create_or_update_export_configuration(config)

    assert not db.prune(FRAMES_30).deleted

    assert held(db) == {file_id}


@pytest.mark.contract("issue-3.5/prune-exports")
def test_disabled_configuration_protects_unless_told_otherwise(db: MeteorDatabase) -> None:
    add_export(db, enabled=False)
    add_file(db, 40)

    assert not db.prune(FRAMES_30).deleted

    assert db.prune(RetentionRule(keep_frames_days=30, ignore_disabled=True)).total.files == 1


@pytest.mark.contract("issue-3.5/prune-exports")
def test_suspended_configuration_protects_whatever_is_ignored(db: MeteorDatabase) -> None:
    config = add_export(db)
    assert config.config_id is not None
    add_file(db, 40)
    db.suspend_export(config.config_id, NOW)

    assert not db.prune(RetentionRule(keep_frames_days=30, ignore_disabled=True)).deleted


@dataclass(frozen=True)
class World:
    """A node as it may be.

    Attributes:
        files: camera and age of each.
        events: camera, age and files of each.
        exports: kind, camera (None: any), and whether enabled, disabled or suspended.
        tasks: export, entity and whether it is complete; entities are counted round.
    """

    files: list[tuple[str, int]]
    events: list[tuple[str, int, set[int]]]
    exports: list[tuple[str, str | None, str]]
    tasks: list[tuple[int, int, bool]]
    rule: RetentionRule


AGES = st.integers(1, 40)
RULES = st.builds(
    lambda frames, more, is_bounded, ignored: RetentionRule(
        keep_frames_days=frames,
        keep_events_days=frames + more if is_bounded else 0,
        ignore_disabled=ignored,
    ),
    st.integers(1, 20),
    st.integers(0, 15),
    st.booleans(),
    st.booleans(),
)
WORLDS = st.builds(
    World,
    st.lists(st.tuples(st.sampled_from(CAMERAS), AGES), max_size=8),
    st.lists(st.tuples(st.sampled_from(CAMERAS), AGES, st.sets(st.integers(0, 7), max_size=3)), max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from(["file", "event"]),
            st.sampled_from([None, *CAMERAS]),
            st.sampled_from(["enabled", "disabled", "suspended"]),
        ),
        max_size=3,
    ),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7), st.booleans()), max_size=8),
    RULES,
)


def make(db: MeteorDatabase, world: World) -> tuple[list[UUID], list[UUID], dict[tuple[int, UUID], bool]]:
    """Bring `world` about; gives ids of files and events, and whether the tasks are complete."""
    records = db.register_many([(new_file(age, camera), [b"x"], None) for camera, age in world.files])
    files = [record.file_id for record in records if record.file_id]
    events = [
        add_event(db, age, [files[number] for number in sorted(shown) if number < len(files)], camera)
        for camera, age, shown in world.events
    ]
    tasks: dict[tuple[int, UUID], bool] = {}
    for number, (kind, camera, state) in enumerate(world.exports):
        search: Any = (FileRecordSearch if kind == "file" else EventSearch)(camera_ids=camera, limit=0)
        config = add_export(db, kind, search=search, enabled=state != "disabled")
        if state == "suspended":
            assert config.config_id is not None
            db.suspend_export(config.config_id, NOW)
        ids = files if kind == "file" else events
        wanted = [(ids[entity % len(ids)], done) for e, entity, done in world.tasks if e == number and ids]
        for entity_id, is_complete in dict(wanted).items():
            tasks[number, entity_id] = is_complete
            add_task(db, config, kind, entity_id, is_complete)
    return files, events, tasks


def add_task(
    db: MeteorDatabase, config: ExportConfiguration, kind: str, entity_id: UUID, is_complete: bool
) -> None:
    table = tables.file_record if kind == "file" else tables.event

    def write(connection: Any) -> None:
        pk = connection.execute(select(table.c.id).where(table.c[f"{kind}_id"] == entity_id)).scalar_one()
        config_pk = connection.execute(
            select(tables.export_config.c.id).where(tables.export_config.c.config_id == config.config_id)
        ).scalar_one()
        row = {"config_pk": config_pk, f"{kind}_pk": pk, "due_at": 0, "created_at": 0, "failures": 0}
        connection.execute(insert(tables.export_task).values(state=0 if is_complete else 1, **row))

    db.transactions.write(write)


def survivors(
    world: World, files: list[UUID], events: list[UUID], tasks: dict[tuple[int, UUID], bool]
) -> set[UUID]:
    """What must be left, said as simply as it can be."""
    rule = world.rule
    watching = [
        (number, kind, camera)
        for number, (kind, camera, state) in enumerate(world.exports)
        if not (state == "disabled" and rule.ignore_disabled)
    ]

    def is_waited_for(kind: str, camera: str, entity_id: UUID) -> bool:
        return any(
            tasks.get((number, entity_id)) is False
            or (
                of_kind == kind and of_camera in (None, camera) and tasks.get((number, entity_id)) is not True
            )
            for number, of_kind, of_camera in watching
        )

    shown = {
        entity_id: {files[n] for n in world.events[i][2] if n < len(files)}
        for i, entity_id in enumerate(events)
    }
    left: set[UUID] = set()
    for (camera, age, _), event_id in zip(world.events, events, strict=True):
        has_open_file = any(
            tasks.get((number, file_id)) is False for number, *_ in watching for file_id in shown[event_id]
        )
        is_young = not rule.keep_events_days or age <= rule.keep_events_days
        if is_young or has_open_file or is_waited_for("event", camera, event_id):
            left |= {event_id} | shown[event_id]
    of_any = set().union(*shown.values())
    for (camera, age), file_id in zip(world.files, files, strict=True):
        is_free = file_id not in of_any
        if is_free and (age <= rule.keep_frames_days or is_waited_for("file", camera, file_id)):
            left.add(file_id)
    return left


@pytest.mark.contract("issue-3.5/prune", "issue-3.5/prune-exports")
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(world=WORLDS)
def test_exactly_what_is_old_and_delivered_goes(db: MeteorDatabase, world: World) -> None:
    db.clear_database()
    add_statuses(db)
    files, events, tasks = make(db, world)

    db.prune(world.rule)

    assert held(db) == survivors(world, files, events, tasks)


@pytest.mark.contract("issue-3.5/prune-run")
def test_number_of_statements_does_not_grow_with_each_record(db: MeteorDatabase, engine_name: str) -> None:
    count = 2000 if engine_name.startswith("firebird") else 20_000  # which takes long to put in there
    exports = 3
    for number in range(exports):
        add_export(db, search=FileRecordSearch(camera_ids="b" if number else "a", before=ago(5000), limit=0))
    add_rows(db, count)

    with statements_of(db) as statements:
        dry = db.prune(FRAMES_30, dry_run=True)
        report = db.prune(FRAMES_30)

    assert dry.total.files == report.total.files == count
    assert db.count_entities()["files"] == 0
    assert len(statements) < 2 * (count / 500 + 1) * 2 * (10 + exports)


def add_rows(db: MeteorDatabase, count: int) -> None:
    """Many records without contents, a few hundred a day over half a year."""

    def write(connection: Any) -> None:
        pk = connection.execute(
            select(tables.camera_status.c.id).where(tables.camera_status.c.camera_id == "a")
        ).scalar_one()
        rows = [
            {
                "file_id": uuid4(),
                "camera_id": "a",
                "file_time": int((ago(400) - datetime(1970, 1, 1)).total_seconds()) * 1000 + n * 800_000,
                "time_offset": 0,
                "status_pk": pk,
                "mime_type": "image/png",
                "semantic_type": "meteorpi:frame",
                "file_size": 10,
                "md5": "0" * 32,
                "sha256": "0" * 64,
                "crc32": 0,
                "registered_at": 0,
            }
            for n in range(count)
        ]
        connection.execute(insert(tables.file_record), rows)

    db.transactions.write(write)


@pytest.mark.contract("issue-3.5/prune-run")
def test_run_stops_at_its_limit_with_the_oldest_gone(db: MeteorDatabase) -> None:
    ids = [add_file(db, days) for days in (50, 40, 45, 60)]

    report = db.prune(RetentionRule(keep_frames_days=30, limit=2))

    assert report.is_limited
    assert held(db) == {ids[1], ids[2]}


@pytest.mark.contract("issue-3.5/prune-run")
def test_run_that_is_told_to_stop_says_so_and_can_be_repeated(db: MeteorDatabase) -> None:
    add_file(db, 40)

    report = db.prune(FRAMES_30, should_stop=lambda: True)

    assert (report.is_interrupted, report.total.files) == (True, 0)
    assert db.prune(FRAMES_30).total.files == 1


@pytest.mark.contract("issue-3.5/prune-run")
@pytest.mark.engines("sqlite")
def test_each_batch_is_logged(db: MeteorDatabase, caplog: pytest.LogCaptureFixture) -> None:
    add_file(db, 40)
    with caplog.at_level(logging.INFO, "meteorpi.db.retention"):
        db.prune(FRAMES_30)

    (record,) = caplog.records
    assert record.getMessage().startswith("pruned files=1 files=1 size_bytes=7 oldest=")


class Room:
    """Stands in for the room of a disk, which every content takes from."""

    def __init__(self, db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
        self._db = db
        self._size_bytes = size_bytes
        monkeypatch.setattr(type(db.store), "free_bytes", lambda _store: self.left())

    def left(self) -> int:
        sizes = [stat.size for file_id in self._db.store.ids() if (stat := self._db.store.stat(file_id))]
        return self._size_bytes - sum(sizes)


@pytest.mark.contract("issue-3.5/prune-room")
def test_oldest_frames_make_room_and_no_more_than_is_asked_for(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [add_file(db, days, content=bytes(1000)) for days in (1, 5, 3, 2, 4)]
    event = add_event(db, 9, [add_file(db, 9, content=bytes(1000))])
    Room(db, monkeypatch, 10_000)

    dry = db.prune(RetentionRule(keep_free_bytes=5500), dry_run=True)
    report = db.prune(RetentionRule(keep_free_bytes=5500))

    assert {ids[0], ids[3], ids[2], event} <= held(db)
    assert report.total.files == dry.total.files == 2
    assert (report.free_bytes, report.missing_bytes) == (dry.free_bytes, dry.missing_bytes) == (6000, 0)


@pytest.mark.contract("issue-3.5/prune-room")
def test_events_make_room_only_when_allowed_and_after_all_frames(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_file(db, 1, content=bytes(1000))
    add_event(db, 9, [add_file(db, 9, content=bytes(1000))])
    young = add_event(db, 8, [add_file(db, 8, content=bytes(1000))])
    Room(db, monkeypatch, 4000)

    report = db.prune(RetentionRule(keep_free_bytes=3000))
    assert (report.total.files, report.total.events, report.missing_bytes) == (1, 0, 1000)

    report = db.prune(RetentionRule(keep_free_bytes=3000, prune_events_for_space=True))
    assert (report.total.files, report.total.events, report.missing_bytes) == (1, 1, 0)
    assert db.has_event_id(young)


@pytest.mark.contract("issue-3.5/prune-room", "issue-3.5/prune-exports")
def test_no_want_of_room_takes_what_was_not_delivered(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_export(db)
    ids = {add_file(db, days, content=bytes(1000)) for days in (1, 2)}
    Room(db, monkeypatch, 2000)

    report = db.prune(RetentionRule(keep_frames_days=2, keep_free_bytes=2000))

    assert held(db) == ids
    assert (report.kept.files, report.missing_bytes) == (2, 2000)


@pytest.mark.contract("issue-3.5/prune-room")
@pytest.mark.engines("sqlite")
def test_room_that_does_not_come_back_costs_what_was_missing_and_no_more(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in range(1, 9):
        add_file(db, days, content=bytes(1000))
    monkeypatch.setattr(type(db.store), "free_bytes", lambda _store: 1000)

    report = db.prune(RetentionRule(keep_free_bytes=3000, prune_events_for_space=True))

    assert (report.total.files, report.missing_bytes) == (2, 2000)


@pytest.mark.contract("issue-3.5/prune-room")
@pytest.mark.engines("sqlite")
def test_store_that_cannot_tell_its_room_is_said_to(open_database: OpenDatabase) -> None:
    db = open_database(file_store_path="memory://")
    with pytest.raises(UnavailableError, match="cannot tell how much room"):
        db.prune(RetentionRule(keep_free_bytes=1))


@pytest.mark.contract("issue-3.5/prune-meanwhile")
def test_event_that_takes_up_a_file_meanwhile_keeps_it(
    db: MeteorDatabase, open_database: OpenDatabase, clock: StandingClock
) -> None:
    """Either the event is registered with all of its files, or it finds that one is gone."""
    other = open_database(clock=clock)
    ids = [add_file(db, 40) for _ in range(20)]
    adopted: dict[UUID, UUID] = {}
    started = threading.Event()

    def adopt() -> None:
        for file_id in ids:
            with suppress(ValueError):
                adopted[add_event(other, 40, [file_id])] = file_id
            started.set()

    thread = threading.Thread(target=adopt)
    thread.start()
    assert started.wait(60)
    while thread.is_alive():
        db.prune(RetentionRule(keep_frames_days=30, limit=1))
    thread.join()

    for event_id, file_id in adopted.items():
        event = db.get_event(event_id)
        assert event is not None
        assert [record.file_id for record in event.file_records] == [file_id]
        assert b"".join(db.open_content(file_id)) == b"picture"


@pytest.mark.contract("issue-3.5/prune-meanwhile")
@pytest.mark.engines("postgresql", "firebird", "firebird-embedded")  # SQLite lets nobody write meanwhile
def test_event_registered_between_decision_and_deletion_keeps_its_files(
    db: MeteorDatabase,
    open_database: OpenDatabase,
    clock: StandingClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = open_database(clock=clock)
    taken, free = add_file(db, 40), add_file(db, 41)
    events: list[UUID] = []
    delete = retention.delete_files

    def adopt_then_delete(connection: Any, pks: Any) -> None:
        if not events:
            events.append(add_event(other, 40, [taken]))
        delete(connection, pks)

    monkeypatch.setattr(retention, "delete_files", adopt_then_delete)

    report = db.prune(FRAMES_30)

    assert report.total.files == 1
    assert held(db) == {taken, *events}
    assert not db.has_file_id(free)
    event = db.get_event(events[0])
    assert event is not None
    assert [record.file_id for record in event.file_records] == [taken]


@pytest.mark.contract("issue-3.5/prune-meanwhile")
def test_pruning_and_marking_at_the_same_time_lose_nothing(
    db: MeteorDatabase, open_database: OpenDatabase, clock: StandingClock
) -> None:
    other = open_database(clock=clock)
    config = add_export(db, search=FileRecordSearch(camera_ids="b", limit=0))
    wanted = {add_file(db, 40, "b") for _ in range(3)}
    done = threading.Event()

    def mark() -> None:
        while not done.wait(0.01):  # without a pause it would hold off whoever else writes
            other.mark_entities_to_export(config)

    thread = threading.Thread(target=mark)
    thread.start()
    try:
        for _ in range(4):
            add_file(db, 40)
            wanted.add(add_file(db, 40, "b"))
            db.prune(FRAMES_30)
    finally:
        done.set()
        thread.join()

    assert held(db) == wanted


def task_ids(db: MeteorDatabase) -> Callable[[], list[int]]:
    def ids() -> list[int]:
        with db.transactions.reading() as connection:
            return list(connection.execute(select(tables.export_task.c.id)).scalars())

    return ids


def test_tasks_of_pruned_files_go_with_them(db: MeteorDatabase) -> None:
    config = add_export(db)
    add_file(db, 40)
    db.mark_entities_to_export(config)
    finish(db)

    db.prune(FRAMES_30)

    assert task_ids(db)() == []
