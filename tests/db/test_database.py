"""`MeteorDatabase` as a whole: opening, coexistence, threads, starting over."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from sqlalchemy import Engine

from meteorpi_db import MeteorDatabase
from meteorpi_db.generators import MeteorDatabaseGenerators
from meteorpi_model import EventSearch, FileRecordSearch
from meteorpi_model.errors import SchemaVersionError
from tests.conftest import REPOSITORY, OpenDatabase
from tests.db.making import (
    CAMERA,
    OTHER_CAMERA,
    add_event,
    add_export,
    add_file,
    add_status,
    at,
    stored_ids,
)


@pytest.mark.contract("4/attributes", "4/file-store")
def test_attributes_are_as_published(open_database: OpenDatabase, db_path: str, tmp_path: Path) -> None:
    store = tmp_path / "a" / "b"

    db = open_database(file_store_path=str(store), installation_id="0123456789ab")

    assert (db.db_path, db.file_store_path, db.installation_id) == (db_path, str(store), "0123456789ab")
    assert isinstance(db.generators, MeteorDatabaseGenerators)
    assert isinstance(db.con, Engine)
    assert store.is_dir()


@pytest.mark.contract("4/file-store")
def test_store_that_is_no_directory_is_a_value_error(open_database: OpenDatabase, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(ValueError, match="taken"):
        open_database(file_store_path=tmp_path / "taken")


@pytest.mark.contract("4/installation_id", "B-13")
@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(("address", "expected"), [(0, "000000000000"), (0x00163E5E6C00, "00163e5e6c00")])
def test_installation_id_is_the_hardware_address_with_all_its_zeros(
    open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch, address: int, expected: str
) -> None:
    monkeypatch.setattr(uuid, "getnode", lambda: address)

    assert open_database().installation_id == expected


@pytest.mark.contract("4/installation_id")
@pytest.mark.engines("sqlite")
def test_installation_id_stays_the_same_without_hardware_address(
    open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "machine-id").write_text("0123456789abcdef")
    monkeypatch.setattr("meteorpi_db.database._MACHINE_ID", tmp_path / "machine-id")
    made_up = iter([1 << 40, 1 << 41 | 1 << 40])
    monkeypatch.setattr(uuid, "getnode", lambda: next(made_up))

    first, second = open_database().installation_id, open_database().installation_id

    assert first == second
    assert len(first) == 12


@pytest.mark.contract("4/installation_id")
@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("given", ["", "short", "thirteen char", 123456789012])
def test_installation_id_has_twelve_characters(open_database: OpenDatabase, given: str) -> None:
    with pytest.raises(ValueError, match="12 characters"):
        open_database(installation_id=given)


@pytest.mark.contract("issue-2.2/creation")
@pytest.mark.engines("firebird", "postgresql")
def test_server_database_without_schema_says_how_to_make_one(bare_database: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaVersionError, match="meteorpi init"):
        MeteorDatabase(bare_database, tmp_path / "files")

    assert MeteorDatabase.initialise(bare_database).before == 0
    MeteorDatabase(bare_database, tmp_path / "files").close()


@pytest.mark.contract("issue-2.2/creation")
@pytest.mark.engines("sqlite", "firebird-embedded")
def test_embedded_database_is_made_on_first_use(bare_database: str, tmp_path: Path) -> None:
    with MeteorDatabase(bare_database, tmp_path / "files") as db:
        add_status(db)
        record = add_file(db)
    with MeteorDatabase(bare_database, tmp_path / "files") as db:
        assert db.get_file(record.file_id) == record  # type: ignore[arg-type]


@pytest.mark.contract("4/coexistence", "B-38", "B-23")
def test_instances_see_what_others_have_written(open_database: OpenDatabase) -> None:
    here, there = open_database(), open_database()
    add_status(here)

    record = add_file(there)
    assert here.get_file(record.file_id) == record  # type: ignore[arg-type]
    here.delete_file(record.file_id)  # type: ignore[arg-type]
    assert there.get_file(record.file_id) is None  # type: ignore[arg-type]
    assert there.search_files(FileRecordSearch())["count"] == 0


@pytest.mark.contract("4/coexistence", "B-38")
def test_threads_and_instances_store_at_once_and_lose_nothing(open_database: OpenDatabase) -> None:
    databases = [open_database(), open_database()]
    add_status(databases[0])
    add_status(databases[0], OTHER_CAMERA)
    errors: list[Exception] = []

    def work(number: int) -> None:
        db = databases[number % 2]
        try:
            for minute in range(6):
                camera = (CAMERA, OTHER_CAMERA)[minute % 2]
                record = add_file(db, minute, camera=camera, content=bytes([number, minute]))
                add_event(db, minute, [record], camera=camera)
                db.set_high_water_mark(at(minute), camera, allow_rollback=False)
                db.search_events(EventSearch(camera_ids=camera))
        except Exception as error:  # noqa: BLE001 (whatever it is, the test must see it)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert databases[0].search_files(FileRecordSearch())["count"] == 24
    assert databases[1].search_events(EventSearch())["count"] == 24
    assert databases[0].get_high_water_mark(OTHER_CAMERA) == at(5)
    assert databases[0].verify(deep=True).is_clean


_WRITER = """
import sys
from meteorpi_db import MeteorDatabase
from tests.db.making import add_file
with MeteorDatabase(sys.argv[1], sys.argv[2]) as db:
    for minute in range(10):
        add_file(db, minute, content=bytes([int(sys.argv[3]), minute]))
"""


@pytest.mark.contract("4/coexistence", "B-38")
def test_processes_store_at_once_and_lose_nothing(
    open_database: OpenDatabase, db_path: str, tmp_path: Path
) -> None:
    db = open_database()
    add_status(db)
    arguments = [sys.executable, "-c", _WRITER, db_path, str(tmp_path / "files")]

    writers = [
        subprocess.Popen([*arguments, str(number)], cwd=REPOSITORY, stderr=subprocess.PIPE)
        for number in range(2)
    ]
    for minute in range(10):
        add_file(db, minute)

    for writer in writers:
        _, complaint = writer.communicate(timeout=120)
        assert (writer.returncode, complaint) == (0, b"")
    assert db.search_files(FileRecordSearch())["count"] == 30


@pytest.mark.contract("4.8")
def test_cleared_database_is_empty_and_usable(db: MeteorDatabase, tmp_path: Path) -> None:
    add_status(db)
    record = add_file(db)
    add_event(db, 1, [record])
    db.create_or_update_user("ann", "one", ["camera_admin"])
    db.create_api_token("ann", "token")
    db.mark_entities_to_export(add_export(db))
    db.record_audit("ann", "something", "done")
    db.announce("ann", record)
    db.store.put(uuid.uuid4(), [b"of nobody"])

    db.clear_database()

    assert set(db.count_entities().values()) == {0}
    assert (db.get_high_water_mark(CAMERA), db.get_users(), db.get_export_states()) == (None, [], [])
    assert stored_ids(db) == set()
    assert (tmp_path / "files").is_dir()
    add_status(db)
    assert add_file(db).file_id is not None
