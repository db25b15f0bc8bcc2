"""A node of the first generation moves here, whatever state it is in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from meteorpi_db import EventExportTask, FileExportTask, MeteorDatabase, tables
from meteorpi_db.original import OriginalReport, import_original
from meteorpi_db.original.source import shortest_float
from meteorpi_db.testing.servers import FirebirdServer, firebird_library
from meteorpi_model import EventSearch, FileRecordSearch, Meta, NSString, milliseconds_to_utc_datetime
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, NotFoundError
from tests.components import absent
from tests.conftest import REPOSITORY, OpenDatabase
from tests.db.making import stored_ids
from tests.original import world
from tests.original.world import CAMERA, FAR_CAMERA, START

TROUBLED = {
    "bob": "users",
    world.FIRST_STATUS.hex: "statuses",
    world.NOTED.hex: "files",
    world.MISSING.hex: "files",
    world.DAMAGED.hex: "files",
    world.UNTYPED.hex: "files",
    world.REPEATED.hex: "files",
    world.UNREADABLE.hex: "files",
    world.SHORT.hex: "events",
    world.TWIN.hex: "events",
    world.BROKEN_EXPORT.hex: "export_configurations",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an old node, for all tests of this process; its database is only read."""
    try:
        firebird_library()
    except ConfigurationError as error:
        absent(error.detail)
    directory = tmp_path_factory.mktemp("original")
    world.make(directory)
    return directory


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Path:
    """An old node of the test's own."""
    shutil.copyfile(made / "old.fdb", tmp_path / "old.fdb")
    shutil.copytree(made / "oldfiles", tmp_path / "oldfiles")
    return tmp_path


def take(db: MeteorDatabase, old: Path, **options: Any) -> OriginalReport:
    return import_original(db, old / "old.fdb", old / "oldfiles", **options)


def at(milliseconds: int) -> datetime:
    return milliseconds_to_utc_datetime(milliseconds)


def holdings(db: MeteorDatabase) -> dict[str, Any]:
    """All that can be read through the public methods, and the tasks."""
    with db.transactions.reading() as connection:
        tasks = connection.execute(select(tables.export_task)).mappings().all()
    configs = [config.as_dict() for config in db.get_export_configurations()]
    return {
        "files": {record.file_id: record.as_dict() for record in db.iterate_files()},
        "events": {event.event_id: event.as_dict() for event in db.iterate_events()},
        "statuses": [s.as_dict() for camera in db.get_cameras() for s in db.get_status_history(camera)],
        "contents": {file_id: db.store.digests_of(file_id) for file_id in db.store.ids()},
        "users": [user.as_dict() for user in db.get_users()],
        "exports": sorted(configs, key=lambda config: str(config["config_id"])),
        "tasks": sorted((task["state"], task["created_at"]) for task in tasks),
        "marks": [db.get_high_water_mark(camera) for camera in db.get_cameras()],
    }


@pytest.mark.contract("issue-3.5/original")
def test_files_come_with_contents_and_metadata(db: MeteorDatabase, old: Path) -> None:
    take(db, old)

    assert {record.file_id for record in db.iterate_files()} == world.GOOD_FILES == stored_ids(db)
    for file_id in world.GOOD_FILES:
        assert b"".join(db.open_content(file_id)) == world.content_of(file_id)
    noted = db.get_file(world.NOTED)
    assert noted is not None
    assert (noted.camera_id, noted.file_name, noted.mime_type) == (CAMERA, "Bild № 1 ☄.png", "image/png")
    assert (noted.file_time, noted.status_id) == (at(START + 60_123), world.FIRST_STATUS)
    assert noted.meta == [
        Meta(NSString("note"), "Wölkchen ☁"),
        Meta(NSString("seen", "other"), at(START + 7)),
        Meta(NSString("skyClarity"), 61.7),
    ]
    plain, repeated = db.get_file(world.PLAIN), db.get_file(world.REPEATED)
    assert plain is not None
    assert plain.status_id == world.SECOND_STATUS  # none was named: the one in force
    assert repeated is not None
    assert repeated.file_name == "the first of two"
    assert db.verify(deep=True, orphan_grace=timedelta(0)).is_clean


@pytest.mark.contract("issue-3.5/original")
def test_events_come_with_files_in_order(db: MeteorDatabase, old: Path) -> None:
    take(db, old)

    def files_of(event_id: UUID) -> list[UUID | None]:
        event = db.get_event(event_id)
        assert event is not None
        return [record.file_id for record in event.file_records]

    assert files_of(world.PAIR) == [world.SHOWN, world.SHARED]
    assert files_of(world.SHORT) == [world.SHARED]
    assert files_of(world.EMPTY) == []
    assert files_of(world.TWIN) == [world.RECEIVED]
    pair = db.get_event(world.PAIR)
    assert pair is not None
    assert (pair.event_time, pair.meta) == (at(START + 120_456), [Meta(NSString("duration"), 1.5)])


@pytest.mark.contract("issue-3.5/original")
def test_statuses_keep_their_numbers_and_follow_each_other(db: MeteorDatabase, old: Path) -> None:
    take(db, old)

    second, first = db.get_status_history(CAMERA)
    assert (first.status_id, first.valid_from, first.valid_to) == (
        world.FIRST_STATUS,
        at(START - 1000),
        at(START + 3_000_000),
    )
    assert (first.location.latitude, first.location.longitude, first.location.gps) == (52.2, 0.1234567, True)
    assert (first.orientation.error, first.orientation.width_of_field) == (0.7, 33.3)
    assert first.inst_name == "Sternwarte Grüße ☄"
    assert [len(polygon) for polygon in first.regions] == [3, 4]
    assert first.regions[0][1] == {"x": 720, "y": 0}
    assert (second.location.gps, second.inst_name, second.valid_to) == (False, None, None)
    (far,) = db.get_status_history(FAR_CAMERA)
    assert far.software_version == 7
    assert db.get_high_water_mark(CAMERA) == at(START + 5_000_000)
    assert db.get_high_water_mark(FAR_CAMERA) is None


@pytest.mark.contract("issue-3.5/original-accounts")
def test_account_logs_in_with_its_old_password(db: MeteorDatabase, old: Path) -> None:
    take(db, old)

    assert [user.user_id for user in db.get_users()] == ["ada"]
    assert db.get_user("ada", world.PASSWORD).get_roles() == ["user", "camera_admin"]


@pytest.mark.contract("issue-3.5/original-exports", "B-44")
def test_exports_come_disabled_and_send_nothing_again(db: MeteorDatabase, old: Path) -> None:
    take(db, old)

    configs = {config.config_id: config for config in db.get_export_configurations()}
    assert configs.keys() == {world.FILE_EXPORT, world.EVENT_EXPORT}
    assert not any(config.enabled for config in configs.values())
    assert {config.password for config in configs.values()} == {"geheim ☄"}
    assert configs[world.EVENT_EXPORT].name == "Büro"
    with db.transactions.reading() as connection:
        kept = connection.execute(select(tables.export_config.c.target_secret)).scalars().all()
    assert not any("geheim" in secret for secret in kept)
    assert db.get_next_entity_to_export() is None

    for config in configs.values():
        config.enabled = True
        db.create_or_update_export_configuration(config)
        db.mark_entities_to_export(config)
    sent = []
    while task := db.get_next_entity_to_export():
        assert isinstance(task, FileExportTask | EventExportTask)
        sent.append(task.get_entity_id())
        task.set_status(0)

    assert len(sent) == len(set(sent))
    assert set(sent) == {world.LATE, world.PLAIN, world.REPEATED, world.SHORT, world.EMPTY}


@pytest.mark.contract("issue-3.5/original-exports", "B-08")
def test_what_came_from_other_nodes_is_known_as_such(db: MeteorDatabase, old: Path) -> None:
    take(db, old)

    own_files = db.search_files(FileRecordSearch(exclude_imported=True, limit=0))["files"]
    own_events = db.search_events(EventSearch(exclude_imported=True, limit=0))["events"]
    assert {record.file_id for record in own_files} == world.GOOD_FILES - {world.RECEIVED}
    assert {event.event_id for event in own_events} == {world.PAIR, world.SHORT, world.EMPTY}


@pytest.mark.contract("issue-3.5/original-damage", "issue-3.5/original-again")
def test_what_could_not_be_taken_is_named_and_repeating_adds_nothing(db: MeteorDatabase, old: Path) -> None:
    first = take(db, old)
    held = holdings(db)
    second = take(db, old)

    assert {trouble.identity: trouble.kind for trouble in first.troubles} == TROUBLED
    reasons = {trouble.identity: trouble.reason for trouble in first.troubles}
    assert reasons[world.MISSING.hex] == "its content is missing"
    assert "does not have the MD5" in reasons[world.DAMAGED.hex]
    assert "is not a regular file" in reasons[world.UNREADABLE.hex]
    assert world.MISSING.hex in reasons[world.SHORT.hex]
    assert not first.is_complete
    assert {kind: counts.taken for kind, counts in first.counts.items()} == {
        "users": 1,
        "statuses": 3,
        "files": len(world.GOOD_FILES),
        "events": 4,
        "export_configurations": 2,
        "export_tasks": 3,
        "high_water_marks": 1,
    }
    assert holdings(db) == held
    assert sum(counts.taken for counts in second.counts.values()) == 0
    assert second.counts["files"].present == len(world.GOOD_FILES) + 1  # one of them has two rows


@pytest.mark.contract("issue-3.5/original-damage")
def test_content_that_turns_up_later_completes_file_and_event(db: MeteorDatabase, old: Path) -> None:
    take(db, old)
    (old / "oldfiles" / world.MISSING.hex).write_bytes(world.content_of(world.MISSING))

    report = take(db, old)

    assert report.counts["files"].taken == 1
    event = db.get_event(world.SHORT)
    assert event is not None
    assert [record.file_id for record in event.file_records] == [world.MISSING, world.SHARED]


@pytest.mark.contract("issue-3.5/original-again")
@pytest.mark.parametrize("transactions", [3, 8, 12])
def test_killed_import_is_completed_by_another(
    db: MeteorDatabase,
    db_path: str,
    open_database: OpenDatabase,
    new_database: Callable[[], str],
    old: Path,
    transactions: int,
) -> None:
    other = open_database(new_database(), file_store_path=str(old / "other"))
    arguments = [str(transactions), db_path, str(old / "files"), str(old)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.original.killed", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    take(db, old)
    take(other, old)

    assert holdings(db) == holdings(other)
    assert db.verify(deep=True, orphan_grace=timedelta(0)).is_clean


@pytest.mark.contract("issue-3.5/original")
@pytest.mark.engines("sqlite")
def test_dry_run_says_what_there_is_and_takes_nothing(db: MeteorDatabase, old: Path) -> None:
    report = take(db, old, dry_run=True)

    assert {kind: counts.found for kind, counts in report.counts.items()} == {
        "users": 2,
        "statuses": 3,
        "files": 12,
        "events": 5,
        "export_configurations": 3,
        "export_tasks": 3,
        "high_water_marks": 1,
    }
    assert (world.MISSING.hex, "its content is missing") in {
        (trouble.identity, trouble.reason) for trouble in report.troubles
    }
    assert holdings(db)["files"] == {}
    assert db.get_cameras() == []


@pytest.mark.contract("issue-3.5/original")
@pytest.mark.engines("sqlite")
def test_original_is_left_as_it_was(db: MeteorDatabase, old: Path) -> None:
    def state() -> dict[str, object]:
        return {path.name: path.read_bytes() for path in (old / "oldfiles").iterdir() if path.is_file()}

    before = state()
    take(db, old)
    assert state() == before


@pytest.mark.contract("issue-3.5/original")
@pytest.mark.engines("sqlite")
def test_linked_contents_take_no_room(db: MeteorDatabase, old: Path) -> None:
    take(db, old, may_link=True)

    assert db.file_path_for_id(world.NOTED).samefile(old / "oldfiles" / world.NOTED.hex)
    db.delete_file(world.NOTED)
    assert (old / "oldfiles" / world.NOTED.hex).read_bytes() == world.content_of(world.NOTED)


@pytest.mark.contract("issue-3.5/original")
@pytest.mark.engines("sqlite")
def test_original_on_a_server_is_read_over_the_network(
    db: MeteorDatabase, old: Path, firebird_server: FirebirdServer
) -> None:
    path = firebird_server.path(f"original_{os.getpid()}")
    shutil.copyfile(old / "old.fdb", path)
    firebird_server.give(path)
    try:
        report = import_original(db, firebird_server.dsn(path.stem), old / "oldfiles", "meteorpi", "meteorpi")
    finally:
        path.unlink()

    assert report.counts["files"].taken == len(world.GOOD_FILES)


@pytest.mark.engines("sqlite")
def test_places_that_hold_no_original_are_refused(db: MeteorDatabase, old: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no database"):
        import_original(db, tmp_path / "none.fdb", old / "oldfiles")
    assert not (tmp_path / "none.fdb").exists()
    with pytest.raises(InvalidDocumentError, match="a database of the first generation is a Firebird one"):
        import_original(db, tmp_path / "some.db", old / "oldfiles")
    with pytest.raises(InvalidDocumentError, match="there is no directory"):
        import_original(db, old / "old.fdb", tmp_path / "nowhere")
    with pytest.raises(InvalidDocumentError, match="cannot be that of this node"):
        import_original(db, old / "old.fdb", tmp_path / "files")


@pytest.mark.engines("firebird-embedded")
def test_database_of_this_generation_is_no_original(db: MeteorDatabase, db_path: str, old: Path) -> None:
    with pytest.raises(InvalidDocumentError, match="no table t_camerastatus"):
        import_original(db, db_path, old / "oldfiles")


@pytest.mark.parametrize("shown", [52.2, 0.1234567, -179.9999, 0.0, 1e-30, 16777216.0, 3.4e38])
def test_number_that_was_kept_in_32_bits_is_shown_as_it_was_written(shown: float) -> None:
    import struct

    (kept,) = struct.unpack("f", struct.pack("f", shown))

    assert shortest_float(kept) == shown
