"""Records of other nodes: their identity stays, what they need must be here, all or nothing."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_model import CameraStatus, Event, EventSearch, FileRecordSearch
from meteorpi_model.errors import ConflictError, DigestMismatchError
from tests.conftest import OpenDatabase
from tests.db.making import CONTENT, StandingClock, add_status, at, imported_event, status_of, stored_ids

pytestmark = pytest.mark.stores("local", "s3")


@pytest.fixture
def db(open_database: OpenDatabase) -> MeteorDatabase:
    return open_database(clock=StandingClock())


@pytest.fixture
def status(db: MeteorDatabase) -> CameraStatus:
    """A status that came from another node."""
    status = status_of(camera_id="far camera", status_id=uuid4(), software_version=7, valid_from=at(0))
    db.import_camera_status(status)
    return status


def put(db: MeteorDatabase, event: Event, content: bytes = CONTENT) -> None:
    for record in event.file_records:
        assert record.file_id is not None
        db.store.put(record.file_id, [content])


def event_of(status: CameraStatus, minute: float = 5, files: int = 2) -> Event:
    assert status.status_id is not None
    return imported_event(status.status_id, minute, files)


@pytest.mark.contract("4.7/import_camera_status", "B-22")
def test_status_keeps_id_start_and_version_and_the_mark_stays(
    db: MeteorDatabase, status: CameraStatus
) -> None:
    assert status.status_id is not None
    assert db.get_camera_status_by_id(status.status_id) == status
    assert db.get_high_water_mark("far camera") is None
    assert db.get_cameras() == ["far camera"]

    db.import_camera_status(status)
    assert db.get_status_history("far camera") == [status]


@pytest.mark.contract("4.7/import_file_record")
def test_file_keeps_its_id_and_is_marked_as_imported(db: MeteorDatabase, status: CameraStatus) -> None:
    record = event_of(status).file_records[0]
    assert record.file_id is not None
    db.store.put(record.file_id, [CONTENT])

    db.import_file_record(record, "importer")
    db.import_file_record(record, "somebody else")

    found = db.get_file(record.file_id)
    record.md5 = hashlib.md5(CONTENT).hexdigest()
    assert found == record
    with db.transactions.reading() as connection:
        row = connection.execute(select(tables.file_record)).one()
    assert (row.imported_by, row.imported_at) == ("importer", 1577836800000)
    assert db.file_importer(record.file_id) == "importer"
    assert db.file_importer(uuid4()) is None
    assert row.sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.contract("4.7/import_file_record", "4.7/import_event", "S-150")
def test_content_must_be_here(db: MeteorDatabase, status: CameraStatus) -> None:
    event = event_of(status)

    with pytest.raises(ValueError, match="not here"):
        db.import_file_record(event.file_records[0], "importer")
    with pytest.raises(ValueError, match="not here"):
        db.import_event(event, "importer")

    assert db.search_files(FileRecordSearch())["count"] == 0


@pytest.mark.contract("4.7/import_file_record", "S-151")
def test_content_must_be_the_announced_one(db: MeteorDatabase, status: CameraStatus) -> None:
    event = event_of(status, files=1)
    put(db, event, b"something else")
    event.file_records[0].md5 = hashlib.md5(CONTENT).hexdigest().upper()

    with pytest.raises(DigestMismatchError):
        db.import_event(event, "importer")

    file_id = event.file_records[0].file_id
    assert file_id is not None
    assert db.discard_content(file_id)
    assert not db.discard_content(file_id)
    put(db, event)
    db.import_event(event, "importer")
    with pytest.raises(ConflictError):
        db.discard_content(file_id)


@pytest.mark.contract("4.7/import_file_record", "4.7/import_event")
def test_status_must_be_known(db: MeteorDatabase) -> None:
    event = imported_event(uuid4())
    put(db, event)

    with pytest.raises(ValueError, match="status"):
        db.import_file_record(event.file_records[0], "importer")
    with pytest.raises(ValueError, match="status"):
        db.import_event(event, "importer")
    assert db.search_files(FileRecordSearch())["count"] == 0


@pytest.mark.contract("4.7/import_event")
def test_event_is_imported_with_its_files(db: MeteorDatabase, status: CameraStatus) -> None:
    event = event_of(status)
    put(db, event)

    db.import_event(event, "importer")
    db.import_event(event, "importer")

    found = db.search_events(EventSearch())["events"]
    assert [record.file_id for record in found[0].file_records] == [
        record.file_id for record in event.file_records
    ]
    assert (len(found), found[0].event_id, found[0].status_id) == (1, event.event_id, event.status_id)
    assert db.search_events(EventSearch(exclude_imported=True))["count"] == 0
    assert db.search_files(FileRecordSearch(exclude_imported=True))["count"] == 0


@pytest.mark.contract("4.7/import_event", "B-15")
def test_event_that_cannot_be_imported_leaves_nothing(db: MeteorDatabase, status: CameraStatus) -> None:
    event = event_of(status)
    put(db, event)
    event.camera_id = "x" * 65

    with pytest.raises(ValueError, match="camera_id"):
        db.import_event(event, "importer")

    assert db.search_files(FileRecordSearch())["count"] == 0


@pytest.mark.contract("B-21")
def test_event_whose_file_came_before_is_imported(db: MeteorDatabase, status: CameraStatus) -> None:
    event = event_of(status)
    put(db, event)
    db.import_file_record(event.file_records[1], "importer")

    db.import_event(event, "importer")

    assert event.event_id is not None
    assert len(db.get_event(event.event_id).file_records) == 2  # type: ignore[union-attr]


@pytest.mark.contract("B-20")
def test_import_belongs_to_the_status_it_names(db: MeteorDatabase, status: CameraStatus) -> None:
    edited = add_status(db, "far camera", minute=2)
    event = event_of(status, minute=5)
    put(db, event)
    db.import_event(event, "importer")
    early = event_of(edited, minute=1, files=0)
    db.import_event(early, "importer")

    assert event.event_id is not None
    assert early.event_id is not None
    found = db.get_event(event.event_id)
    assert found is not None
    assert {found.status_id, *(record.status_id for record in found.file_records)} == {status.status_id}
    assert db.get_event(early.event_id).status_id == edited.status_id  # type: ignore[union-attr]


@pytest.mark.contract("B-05", "B-07", "faults/input")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file_id", None),
        ("file_time", None),
        ("status_id", None),
        ("md5", "xyz"),
        ("meta", [None]),
        ("mime_type", None),
    ],
)
def test_incomplete_records_are_value_errors(
    db: MeteorDatabase, status: CameraStatus, name: str, value: object
) -> None:
    event = event_of(status, files=1)
    put(db, event)
    setattr(event.file_records[0], name, value)

    with pytest.raises(ValueError, match=r"."):
        db.import_event(event, "importer")
    with pytest.raises(ValueError, match=r"."):
        db.import_file_record(event.file_records[0], "importer")
    assert db.search_files(FileRecordSearch())["count"] == 0


@pytest.mark.contract("faults/input")
@pytest.mark.parametrize("wrong", [None, "text", {}, uuid4()])
def test_what_is_no_record_is_a_value_error(db: MeteorDatabase, wrong: Any) -> None:
    with pytest.raises(ValueError, match="neither"):
        db.import_event(wrong, "importer")
    with pytest.raises(ValueError, match="neither"):
        db.import_file_record(wrong, "importer")
    with pytest.raises(ValueError, match="not a camera status"):
        db.import_camera_status(wrong)


@pytest.mark.contract("B-30", "S-152")
def test_received_content_is_not_read_again_for_its_digests(
    db: MeteorDatabase, status: CameraStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meteorpi_db.records.announcements.NOTED_FROM_BYTES", len(CONTENT))
    event = event_of(status)
    file_ids = [record.file_id for record in event.file_records if record.file_id]
    db.announce("importer", event)
    for file_id in file_ids:
        db.receive_content("importer", file_id, [CONTENT], md5=hashlib.md5(CONTENT).hexdigest())
    monkeypatch.setattr(type(db.store), "digests_of", _refuse_to_read)

    db.import_event(event, "importer")

    assert db.content_facts(file_ids[0]).sha256 == hashlib.sha256(CONTENT).hexdigest()


def _refuse_to_read(*_: object) -> None:
    raise AssertionError("the content is read again")


@pytest.mark.contract("S-151", "B-30")
def test_received_content_with_a_wrong_digest_is_never_there(db: MeteorDatabase) -> None:
    file_id = uuid4()

    def chunks() -> Iterator[bytes]:
        yield CONTENT
        assert stored_ids(db) == set()

    with pytest.raises(DigestMismatchError):
        db.receive_content("importer", file_id, chunks(), md5="0" * 32)
    assert stored_ids(db) == set()


@pytest.mark.contract("B-29")
def test_announcements_are_kept_by_sender_and_id(db: MeteorDatabase, status: CameraStatus) -> None:
    event = event_of(status)
    record = event.file_records[0]
    record.md5 = "A" * 32
    assert event.event_id is not None
    assert record.file_id is not None
    db.announce("one", event)
    db.announce("two", record)

    assert db.announced("one", event.event_id) == event
    assert db.announced("two", event.event_id) is None
    assert db.announced("two", record.file_id) == record
    announced = db.announced_file("one", record.file_id)
    assert announced is not None
    assert (announced.md5, announced.size_bytes) == ("a" * 32, len(CONTENT))
    assert db.announced_file("three", record.file_id) is None

    event.camera_id = "newer"
    db.announce("one", event)
    assert db.announced("one", event.event_id) == event
    db.forget_announced("one", event)
    db.forget_announced("one", event)
    assert db.announced("one", event.event_id) is None
    assert db.announced_file("one", record.file_id) is None
    assert db.announced_file("two", record.file_id) == announced


@pytest.mark.contract("B-29")
def test_old_announcements_are_pruned(open_database: OpenDatabase) -> None:
    clock = StandingClock()
    db = open_database(clock=clock)
    old, new = imported_event(uuid4()), imported_event(uuid4())
    db.announce("one", old)
    clock.move(days=1, seconds=1)
    db.announce("one", new)

    assert db.prune_announcements() == 1

    assert db.announced("one", _id(old)) is None
    assert db.announced("one", _id(new)) == new


def _id(event: Event) -> UUID:
    assert event.event_id is not None
    return event.event_id


@pytest.mark.contract("B-38", "4/coexistence")
def test_repeated_imports_by_two_processes_at_once_import_once(
    open_database: OpenDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    databases = [open_database(), open_database()]
    status = status_of(camera_id="far camera", status_id=uuid4(), valid_from=at(0))
    event = event_of(status)
    start = threading.Barrier(2)
    errors: list[Exception] = []

    def work(db: MeteorDatabase) -> None:
        start.wait()
        try:
            db.import_camera_status(status)
            db.announce("importer", event)
            put(db, event)
            db.import_event(event, "importer")
            db.forget_announced("importer", event)
        except Exception as error:  # noqa: BLE001 (whatever it is, the test must see it)
            errors.append(error)

    with caplog.at_level(logging.ERROR):
        threads = [threading.Thread(target=work, args=(db,)) for db in databases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert errors == []
    assert databases[0].search_events(EventSearch())["count"] == 1
    assert databases[0].search_files(FileRecordSearch())["count"] == 2
