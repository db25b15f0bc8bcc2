"""What a backup holds, what it lacks, what it shares with others, and when it is refused."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.backup import Repository, back_up, check_snapshot
from meteorpi_db.backup.dumping import Dump, dump
from meteorpi_db.backup.making import Node
from meteorpi_db.filestore import ContentReader, Disk
from meteorpi_model import FileRecord
from meteorpi_model.errors import InvalidDocumentError, NotFoundError, UnavailableError
from tests.backup.conftest import Restore
from tests.backup.nodes import fill, id_of, size_below
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, add_event, add_file, add_status, stored_ids

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(datetime(2024, 2, 29, 23, 59, 59, 999000))


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    return open_database(clock=clock)


def path_of(record: FileRecord) -> Path:
    found = record.get_path()
    assert found is not None
    return found


def overwrite(record: FileRecord, content: bytes) -> None:
    path_of(record).chmod(0o600)
    path_of(record).write_bytes(content)


def names(backups: Path) -> list[str]:
    return Repository(backups).names()


def held(backups: Path) -> set[str]:
    return {path.name for path in (backups / "contents").glob("??/*")}


@pytest.mark.contract("issue-3.5/backup")
def test_second_backup_copies_only_what_is_new(
    db: MeteorDatabase, clock: StandingClock, backups: Path
) -> None:
    fill(db)
    first = db.backup_to(backups)
    before = size_below(backups / "contents")
    add_file(db, 50, content=b"z" * 70_001)
    clock.move(hours=24)

    second = db.backup_to(backups)
    third = db.backup_to(backups)

    assert first.copied_bytes == before
    assert (second.copied, second.copied_bytes) == (1, 70_001)
    assert (third.copied, third.copied_bytes) == (0, 0)
    assert size_below(backups / "contents") == before + 70_001
    assert first.contents + 1 == second.contents == third.contents


@pytest.mark.contract("issue-3.5/backup")
def test_equal_contents_are_kept_once_and_share_nothing_with_the_store(
    db: MeteorDatabase, backups: Path, restore: Restore, tmp_path: Path
) -> None:
    add_status(db)
    records = [add_file(db, number, content=b"the same") for number in range(3)]

    db.backup_to(backups)
    for record in records:
        overwrite(record, b"THE SAME")

    (kept,) = (backups / "contents").glob("??/*")
    assert kept.read_bytes() == b"the same"
    assert restore(tmp_path / "restored.db").is_complete


@pytest.mark.contract("issue-3.5/backup")
def test_backups_are_for_their_owner_alone(db: MeteorDatabase, backups: Path) -> None:
    fill(db)
    report = db.backup_to(backups)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in backups.rglob("*") if path.is_dir()}
    file_modes = {stat.S_IMODE(path.stat().st_mode) for path in backups.rglob("*") if path.is_file()}

    assert (stat.S_IMODE(backups.stat().st_mode), modes, file_modes) == (0o700, {0o700}, {0o600})
    assert report.has_key
    key_file = db.secret_box.key_file
    assert key_file is not None
    assert (Repository(backups).find() / "secret.key").read_bytes() == key_file.read_bytes()


def test_key_can_be_left_out(db: MeteorDatabase, backups: Path, restore: Restore, tmp_path: Path) -> None:
    fill(db)

    report = db.backup_to(backups, with_key=False)

    assert not report.has_key
    assert list(backups.rglob("secret.key")) == []
    assert restore(tmp_path / "restored.db").is_complete
    assert not (tmp_path / "restored.db.key").exists()


def test_backup_can_be_checked_without_this_software(db: MeteorDatabase, backups: Path) -> None:
    fill(db)
    db.backup_to(backups)
    snapshot = Repository(backups).find()
    sums = "".join(f"{path.name}  {path}\n" for path in (backups / "contents").glob("??/*"))

    check = ["sha256sum", "--check", "--strict"]
    done = subprocess.run([*check, "SHA256SUMS"], cwd=snapshot, capture_output=True)
    contents = subprocess.run([*check, "-"], input=sums.encode(), capture_output=True)

    assert (done.returncode, contents.returncode) == (0, 0), done.stderr + contents.stderr
    covered = {line.split()[1] for line in (snapshot / "SHA256SUMS").read_text().splitlines()}
    present = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    assert covered == present - {"SHA256SUMS"}


@pytest.mark.contract("issue-3.5/backup")
def test_old_backups_go_with_the_contents_that_only_they_had(
    db: MeteorDatabase, clock: StandingClock, backups: Path, restore: Restore, tmp_path: Path
) -> None:
    add_status(db)
    kept, gone = add_file(db, 1, content=b"kept"), add_file(db, 2, content=b"gone, at last")
    db.backup_to(backups)
    db.delete_file(id_of(gone))
    clock.move(hours=1)

    second = db.backup_to(backups, keep=2)
    clock.move(hours=1)
    third = db.backup_to(backups, keep=2)

    assert (second.removed, second.freed_bytes) == ((), 0)
    assert (len(third.removed), third.freed_bytes) == (1, len(b"gone, at last"))
    assert names(backups) == [second.name, third.name]
    assert len(held(backups)) == 1
    assert restore(tmp_path / "restored.db", snapshot=second.name).is_complete
    assert stored_ids(db) == {id_of(kept)}


def test_contents_stay_when_a_list_of_them_cannot_be_read(
    db: MeteorDatabase, clock: StandingClock, backups: Path
) -> None:
    add_status(db)
    gone = add_file(db, 2, content=b"gone")
    db.backup_to(backups)
    first = Repository(backups).find()
    db.delete_file(id_of(gone))
    clock.move(hours=1)
    db.backup_to(backups)
    (first / "contents.jsonl.gz").write_bytes(b"not what it was")

    report = db.backup_to(backups, keep=3)

    assert not report.is_complete
    assert "contents.jsonl.gz" in str(report.trouble)
    assert len(held(backups)) == 1


def test_names_grow_although_the_clock_was_put_back(
    db: MeteorDatabase, clock: StandingClock, backups: Path
) -> None:
    first = db.backup_to(backups)
    clock.move(days=-365)
    second = db.backup_to(backups)
    third = db.backup_to(backups, keep=2)

    assert [first.name, second.name, third.name] == [
        "20240229T235959.999Z",
        "20240301T000000.000Z",
        "20240301T000000.001Z",
    ]
    assert names(backups) == [second.name, third.name]
    manifest = json.loads((Repository(backups).find() / "manifest.json").read_text())
    assert manifest["made_at"] == 1677715199999


@pytest.mark.contract("issue-3.5/backup")
def test_missing_and_damaged_contents_are_named_and_the_backup_is_kept(
    db: MeteorDatabase, backups: Path, restore: Restore, tmp_path: Path
) -> None:
    add_status(db)
    good, missing, torn = (add_file(db, number, content=b"content %d" % number) for number in range(3))
    path_of(missing).unlink()
    overwrite(torn, b"content X")

    report = db.backup_to(backups)

    assert not report.is_complete
    assert {(lost.file_id, lost.finding) for lost in report.lacking} == {
        (id_of(missing).hex, "missing"),
        (id_of(torn).hex, "torn"),
    }
    assert check_snapshot(Repository(backups), Repository(backups).find()).is_sound
    restored = restore(tmp_path / "restored.db")
    assert not restored.is_complete
    assert set(restored.lost) == {id_of(missing), id_of(torn)}
    assert set(restored.verified.missing) == {id_of(missing), id_of(torn)}
    with MeteorDatabase(tmp_path / "restored.db", tmp_path / "restored-files") as node:
        assert b"".join(node.open_content(id_of(good))) == b"content 0"
        assert node.count_entities()["corrupt_files"] == 2


def test_content_that_came_back_serves_older_backups_too(
    db: MeteorDatabase, backups: Path, restore: Restore, tmp_path: Path
) -> None:
    add_status(db)
    record = add_file(db, 1, content=b"precious")
    path_of(record).unlink()
    first = db.backup_to(backups)
    db.bring_content_back(id_of(record), [b"precious"])
    assert db.backup_to(backups).is_complete

    assert restore(tmp_path / "restored.db", snapshot=first.name).is_complete


def test_unreadable_content_is_a_finding_and_a_store_that_is_gone_is_not(
    db: MeteorDatabase, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_status(db)
    bad, _ = add_file(db, 1, content=b"bad"), add_file(db, 2, content=b"good")
    usual = db.store.open

    def open_(file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        if file_id == bad.file_id:
            raise UnavailableError("the file store cannot read content: Input/output error")
        return usual(file_id, start, stop)

    monkeypatch.setattr(db.store, "open", open_)
    report = db.backup_to(backups)
    assert [(lost.file_id, lost.finding) for lost in report.lacking] == [(id_of(bad).hex, "unreadable")]

    path_of(bad).parent.rename(path_of(bad).parent.with_name("unmounted"))
    with pytest.raises(UnavailableError):
        db.backup_to(backups)
    assert names(backups) == [report.name]


@contextmanager
def between(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> Iterator[None]:
    """Do something when the tables are written and the contents are not."""

    def dump_and_act(*arguments: Any) -> Dump:
        result = dump(*arguments)
        action()
        return result

    with monkeypatch.context() as patch:
        patch.setattr("meteorpi_db.backup.making.dump", dump_and_act)
        yield


@pytest.mark.contract("issue-3.5/backup", "issue-3.5/restore")
def test_what_is_deleted_while_a_backup_runs_is_left_out_and_nothing_is_wrong(
    db: MeteorDatabase, backups: Path, restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_status(db)
    files = [add_file(db, number, content=b"content %d" % number) for number in range(6)]
    gone, shortened = add_event(db, 7, files[:2]), add_event(db, 8, files[2:4])

    def delete() -> None:
        db.delete_event(id_of(gone), with_files=True)
        db.delete_file(id_of(files[2]))
        db.delete_file(id_of(files[4]))
        # The same id once more, with other content: not the record that the snapshot has.
        add_file(db, 4, content=b"other", file_id=id_of(files[4]))
        add_file(db, 9, content=b"later")

    with between(monkeypatch, delete):
        report = db.backup_to(backups)

    assert report.is_complete
    assert report.dropped == 4 + 1
    assert restore(tmp_path / "restored.db").is_complete
    with MeteorDatabase(tmp_path / "restored.db", tmp_path / "restored-files") as node:
        assert {record.file_id for record in node.iterate_files()} == {id_of(files[3]), id_of(files[5])}
        (left,) = node.iterate_events()
        assert left.event_id == shortened.event_id
        assert [record.file_id for record in left.file_records] == [files[3].file_id]


def test_deleted_record_keeps_its_content_when_another_has_the_same(
    db: MeteorDatabase, backups: Path, restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_status(db)
    first, second = (add_file(db, number, content=b"twins") for number in range(2))

    with between(monkeypatch, lambda: db.delete_file(id_of(first))):
        report = db.backup_to(backups)

    assert (report.is_complete, report.dropped) == (True, 0)
    restore(tmp_path / "restored.db")
    with MeteorDatabase(tmp_path / "restored.db", tmp_path / "restored-files") as node:
        assert {record.file_id for record in node.iterate_files()} == {first.file_id, second.file_id}


def test_content_that_is_being_repaired_is_not_missing(
    db: MeteorDatabase, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair takes the content away for an instant."""
    add_status(db)
    record = add_file(db, 1, content=b"precious")
    usual = db.store.open
    asked: list[UUID] = []

    def open_(file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        asked.append(file_id)
        if len(asked) == 1:
            raise NotFoundError("no content is held under this id")
        return usual(file_id, start, stop)

    monkeypatch.setattr(db.store, "open", open_)

    assert db.backup_to(backups).is_complete
    assert asked == [record.file_id] * 2


def test_content_cut_short_in_the_repository_is_copied_again(db: MeteorDatabase, backups: Path) -> None:
    add_status(db)
    add_file(db, 1, content=b"precious")
    db.backup_to(backups)
    (kept,) = (backups / "contents").glob("??/*")
    kept.write_bytes(b"pre")

    report = db.backup_to(backups)

    assert report.copied == 1
    assert kept.read_bytes() == b"precious"


def test_one_at_a_time(db: MeteorDatabase, backups: Path) -> None:
    db.backup_to(backups)
    repository = Repository(backups)

    with repository.locked(shared=True), pytest.raises(UnavailableError, match="another backup"):
        db.backup_to(backups)
    with repository.locked(shared=False), pytest.raises(UnavailableError), repository.locked(shared=True):
        pass
    with repository.locked(shared=True), repository.locked(shared=True):
        pass
    assert len(names(backups)) == 1


def test_places_that_are_no_repository_are_refused(db: MeteorDatabase, tmp_path: Path) -> None:
    inside = Path(str(db.file_store_path)) / "backups"
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter.txt").write_text("dear")

    with pytest.raises(InvalidDocumentError, match="inside the file store"):
        db.backup_to(inside)
    with pytest.raises(InvalidDocumentError, match="not empty"):
        db.backup_to(tmp_path / "used")
    with pytest.raises(InvalidDocumentError, match="object stores"):
        db.backup_to("s3://bucket/backups")
    with pytest.raises(InvalidDocumentError, match="at least one"):
        db.backup_to(tmp_path / "backups", keep=0)
    with pytest.raises(UnavailableError, match="absent"):
        db.backup_to(tmp_path / "absent" / "disk" / "backups")
    assert not (tmp_path / "absent").exists()
    assert sorted(path.name for path in (tmp_path / "used").iterdir()) == ["letter.txt"]


def test_empty_directory_becomes_a_repository(db: MeteorDatabase, backups: Path) -> None:
    backups.mkdir()

    assert db.backup_to(backups).is_complete


def test_snapshots_are_found_by_how_their_name_begins(
    db: MeteorDatabase, clock: StandingClock, backups: Path
) -> None:
    with pytest.raises(NotFoundError), Repository(backups).locked(shared=True):
        pass
    first = db.backup_to(backups)
    clock.move(days=1)
    second = db.backup_to(backups)
    repository = Repository(backups)

    assert repository.find().name == second.name
    assert repository.find("20240229").name == first.name
    with pytest.raises(NotFoundError):
        repository.find("1999")
    with pytest.raises(InvalidDocumentError, match="several"):
        repository.find("2024")


def test_backup_of_a_node_without_a_place_for_a_key(db: MeteorDatabase, backups: Path) -> None:
    node = Node(transactions=db.transactions, store=db.store, key_file=None, installation_id="x")

    report = back_up(node, Repository(backups), db.clock())

    assert (report.has_key, report.is_complete) == (False, True)


def test_progress_is_told_in_bytes(db: MeteorDatabase, backups: Path) -> None:
    fill(db)
    told: list[tuple[int, int]] = []

    report = db.backup_to(backups, progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (report.content_bytes, report.content_bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.contract("issue-3.5/backup-faults")
def test_names_that_a_killed_backup_left_are_flushed_before_a_snapshot_relies_on_them(
    db: MeteorDatabase, backups: Path
) -> None:
    add_status(db)
    add_file(db, 1, content=b"precious")
    db.backup_to(backups)
    (kept,) = (backups / "contents").glob("??/*")
    flushed: list[Path] = []

    class WatchedDisk(Disk):
        def flush_directory(self, path: Path) -> None:
            flushed.append(path)
            super().flush_directory(path)

        def rename(self, source: Path, target: Path) -> None:
            flushed.append(target)
            super().rename(source, target)

    node = Node(transactions=db.transactions, store=db.store, key_file=None, installation_id="x")
    report = back_up(node, Repository(backups, WatchedDisk()), db.clock())

    assert report.copied == 0
    published = flushed.index(backups / "snapshots" / report.name)
    assert {kept.parent, kept.parent.parent} <= set(flushed[:published])
