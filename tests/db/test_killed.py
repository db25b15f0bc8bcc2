"""Whatever moment a process dies at, records and contents agree or can be made to, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.retention import RetentionRule
from meteorpi_model import EventSearch, FileRecordSearch
from tests.conftest import REPOSITORY, OpenDatabase
from tests.db.killed import FILE_ID
from tests.db.making import CAMERA, CONTENT, add_event, add_file, add_status, at, new_file, stored_ids


@pytest.fixture
def node(open_database: OpenDatabase, db_path: str, tmp_path: Path) -> tuple[MeteorDatabase, list[str]]:
    """A database with a status, and the arguments that open it in another process."""
    db = open_database()
    add_status(db)
    source = tmp_path / "capture.png"
    source.write_bytes(CONTENT)
    return db, [db_path, str(tmp_path / "files"), str(source)]


def run_killed(task: str, step: str, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "tests.db.killed", task, step, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def assert_mended(db: MeteorDatabase) -> None:
    """No record lost its content; what lies about is removed."""
    found = db.verify(deep=True, orphan_grace=timedelta(0))
    assert (found.missing, found.torn) == ([], [])
    assert db.verify(deep=True, repair=True, orphan_grace=timedelta(0)).is_clean
    assert stored_ids(db) == {record.file_id for record in db.iterate_files()}


@pytest.mark.contract("B-15", "S-150", "issue-2.3")
@pytest.mark.parametrize(
    "step",
    ["content stored", "before commit", "after commit", "before the source goes", "after the source went"],
)
def test_killed_registration_leaves_the_source_or_the_record_with_its_content(
    node: tuple[MeteorDatabase, list[str]], step: str
) -> None:
    db, arguments = node
    source = Path(arguments[-1])

    run_killed("register", step, arguments)

    is_recorded = db.has_file_id(FILE_ID)
    assert is_recorded == (step not in {"content stored", "before commit"})
    assert source.exists() == (step != "after the source went")
    if is_recorded:
        assert b"".join(db.open_content(FILE_ID)) == CONTENT
    assert_mended(db)
    if source.exists():
        assert source.read_bytes() == CONTENT
        db.add_file(new_file(), source, FILE_ID, move=True)
    assert b"".join(db.open_content(FILE_ID)) == CONTENT
    assert db.search_files(FileRecordSearch())["count"] == 1
    assert not source.exists()


@pytest.mark.contract("B-15", "S-150", "4.4/later")
@pytest.mark.parametrize("step", ["before commit", "after commit", "one content removed"])
def test_killed_rollback_deletes_records_before_contents(
    node: tuple[MeteorDatabase, list[str]], step: str
) -> None:
    db, arguments = node
    for minute in range(3):
        add_file(db, minute)
    db.set_high_water_mark(at(10), CAMERA)

    run_killed("delete", step, arguments)

    left = db.search_files(FileRecordSearch())["count"]
    assert left == (3 if step == "before commit" else 0)
    assert len(stored_ids(db)) == (2 if step == "one content removed" else 3)
    assert_mended(db)
    db.set_high_water_mark(at(-1), CAMERA)
    assert stored_ids(db) == set()


@pytest.mark.contract("B-15", "S-150", "issue-3.5/prune-run")
@pytest.mark.parametrize("step", ["before commit", "after commit", "one content removed"])
def test_killed_pruning_leaves_no_record_without_content(
    node: tuple[MeteorDatabase, list[str]], step: str
) -> None:
    db, arguments = node
    add_event(db, 0, [add_file(db, minute) for minute in range(2)])
    free = [add_file(db, minute) for minute in range(2, 5)]

    run_killed("prune", step, arguments)

    left = {record.file_id for record in db.iterate_files()}
    assert len(left) == (5 if step == "before commit" else 2)
    assert len(stored_ids(db) & {record.file_id for record in free}) == (
        2 if step == "one content removed" else 3
    )
    assert_mended(db)
    assert stored_ids(db) == left
    db.prune(RetentionRule(keep_frames_days=1, keep_events_days=2))
    assert stored_ids(db) == set()
    assert db.search_events(EventSearch())["count"] == 0


@pytest.mark.contract("B-15", "S-150", "4.7/import_event")
@pytest.mark.parametrize("step", ["content stored", "before commit", "after commit"])
def test_killed_import_is_whole_or_nothing(node: tuple[MeteorDatabase, list[str]], step: str) -> None:
    db, arguments = node

    run_killed("import", step, arguments)

    is_imported = step == "after commit"
    assert db.has_event_id(FILE_ID) == db.has_file_id(FILE_ID) == is_imported
    assert stored_ids(db) == {FILE_ID}
    assert_mended(db)
    assert db.search_events(EventSearch())["count"] == int(is_imported)
