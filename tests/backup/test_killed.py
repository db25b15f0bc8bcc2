"""SIGKILL at every step of a backup and of a restore, and a full disk: nothing is lost, nothing half seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.backup import Node, Repository, RestoreOptions, back_up, check_snapshot, restoring
from meteorpi_db.backup.adjusting import adjust
from meteorpi_db.backup.parts import private_disk
from meteorpi_db.backup.targets import write_key
from meteorpi_db.connections import open_database
from meteorpi_db.filestore import Disk, LocalFileStore
from meteorpi_db.testing.filestore_samples import status_of_fork
from meteorpi_model import now
from meteorpi_model.errors import MeteorError
from tests.backup.nodes import contents_of, digests, empty_tables, fill, id_of
from tests.conftest import REPOSITORY
from tests.db.killed import die, then_die
from tests.db.making import add_file, add_status
from tests.filestore.disks import KillingDisk, RecordingDisk
from tests.filestore.test_full_disk import own_namespace

pytestmark = pytest.mark.engines("sqlite")
PRIVATE: dict[str, Any] = {"file_mode": 0o600, "directory_mode": 0o700}


@pytest.fixture
def small(db: MeteorDatabase) -> MeteorDatabase:
    """A node with a backup's worth of records, and no more, for there are many steps to die at."""
    add_status(db)
    for number in range(3):
        add_file(db, number, content=b"content %d" % number)
    return db


def node_of(db: MeteorDatabase) -> Node:
    key_file = db.secret_box.key_file
    return Node(transactions=db.transactions, store=db.store, key_file=key_file, installation_id="x")


def make(db: MeteorDatabase, backups: Path, disk: Disk, keep: int | None) -> bool:
    return back_up(node_of(db), Repository(backups, disk), now(), keep=keep).is_complete


def killed(db: MeteorDatabase, backups: Path, at: int, keep: int | None) -> int:
    """Status of a process that was killed at a moment of a backup."""
    return status_of_fork(lambda: make(db, backups, KillingDisk(at, **PRIVATE), keep))


def changed(db: MeteorDatabase) -> None:
    """Something for a second backup to do: a new content to copy, an old one to drop."""
    db.delete_file(id_of(next(iter(db.iterate_files()))))
    add_file(db, 9, content=b"of the second night")


def sound(backups: Path) -> list[str]:
    """The snapshots that are visible, all of which have to be whole."""
    repository = Repository(backups)
    for name in repository.names():
        report = check_snapshot(repository, repository.snapshot(name))
        assert report.is_sound, (name, report)
    return repository.names()


def hidden(backups: Path) -> list[str]:
    """What is neither a snapshot nor a content."""
    return [path.name for path in backups.rglob(".*")]


@pytest.mark.contract("issue-3.5/backup-faults")
def test_kill_at_any_step_of_a_backup_leaves_the_older_ones_and_no_half_one(
    small: MeteorDatabase, tmp_path: Path
) -> None:
    recording = RecordingDisk(**PRIVATE)
    make(small, tmp_path / "first", RecordingDisk(**PRIVATE), None)
    first = sound(tmp_path / "first")
    subprocess.run(["cp", "-a", tmp_path / "first", tmp_path / "whole"], check=True)
    changed(small)
    make(small, tmp_path / "whole", recording, 1)
    assert len(recording.moments) > 100
    assert len(sound(tmp_path / "whole")) == 1

    for at in moments_worth_trying(recording.moments):
        backups = tmp_path / "killed"
        subprocess.run(["rm", "-rf", backups], check=True)
        subprocess.run(["cp", "-a", tmp_path / "first", backups], check=True)
        assert killed(small, backups, at, 1) == -signal.SIGKILL

        left = sound(backups)
        assert left, recording.moments[at]
        assert left[:1] == first or len(left) == 1
        assert make(small, backups, private_disk(), 1)
        assert len(sound(backups)) == 1
        assert hidden(backups) == []
        assert len(list((backups / "contents").glob("??/*"))) == 3


def moments_worth_trying(moments: list[str]) -> list[int]:
    """One moment of each kind for each of the many files that are written alike, and all of the last ones."""
    seen: dict[str, int] = {}
    chosen = []
    for number, moment in enumerate(moments):
        seen[moment] = seen.get(moment, 0) + 1
        if seen[moment] <= 2 or number > len(moments) - 40:
            chosen.append(number)
    return chosen


@pytest.mark.contract("issue-3.5/backup-faults")
def test_kill_at_any_step_of_the_first_backup_can_be_repeated(small: MeteorDatabase, tmp_path: Path) -> None:
    recording = RecordingDisk(**PRIVATE)
    make(small, tmp_path / "whole", recording, None)

    for at in moments_worth_trying(recording.moments)[::4]:
        backups = tmp_path / f"killed {at}"
        assert killed(small, backups, at, None) == -signal.SIGKILL
        assert make(small, backups, private_disk(), None)
        assert sound(backups)
        assert hidden(backups) == []


STEPS = ("content stored", "key written", "before commit", "after commit", "before verification")


def arranged(node: Node, step: str, patch: pytest.MonkeyPatch) -> None:
    """Make the process die at a step of a restore."""
    place = "meteorpi_db.backup.restoring"
    if step == "content stored":
        patch.setattr(node.store, "put_file", then_die(node.store.put_file))
    elif step == "key written":
        patch.setattr(f"{place}.write_key", then_die(write_key))
    elif step == "before commit":
        patch.setattr(f"{place}.adjust", then_die(adjust))
    elif step == "after commit":
        patch.setattr(node.transactions, "write", then_die(node.transactions.write))
    elif step == "before verification":
        patch.setattr(f"{place}.Verifier", die)


def restore_to(path: Path, backups: Path, step: str | None = None) -> bool:
    with closing(open_database(path / "node.db")) as transactions:
        key_file = path / "node.db.key"
        store = LocalFileStore(path / "files")
        node = Node(transactions=transactions, store=store, key_file=key_file, installation_id="")
        if step is not None:
            arranged(node, step, pytest.MonkeyPatch())  # never undone: this process does not come back
        options = RestoreOptions(keep_exports=True)
        return restoring.restore(node, Repository(backups), now(), options=options).is_complete


@pytest.mark.contract("issue-3.5/backup-faults")
@pytest.mark.parametrize("step", STEPS)
def test_killed_restore_is_repeated_or_was_complete(
    db: MeteorDatabase, backups: Path, tmp_path: Path, step: str
) -> None:
    fill(db)
    before = digests(db.transactions)
    db.backup_to(backups)
    target = tmp_path / "target"
    target.mkdir()

    assert status_of_fork(lambda: restore_to(target, backups, step)) == -signal.SIGKILL

    if step not in ("after commit", "before verification"):
        assert not has_records(target / "node.db")
        assert restore_to(target, backups)
    with MeteorDatabase(target / "node.db", target / "files") as node:
        assert digests(node.transactions) == before
        assert contents_of(node) == contents_of(db)
        assert node.verify(deep=True).is_clean
        assert node.get_export_configurations()[0].password == "secret ☄"


def has_records(path: Path) -> bool:
    if not path.exists():
        return False
    with closing(open_database(path)) as transactions:
        return bool(set(digests(transactions)) - empty_tables(transactions))


# --- a disk that is full -----------------------------------------------------------------------------

DISK_MEBIBYTES = 4


def fill_disk(folder: Path) -> dict[str, object]:
    """Run in a namespace of its own: a backup that fits, one that does not, and again with room."""
    options = f"size={DISK_MEBIBYTES}m"
    (folder / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder / "disk"], check=True)
    backups = folder / "disk" / "backups"
    with MeteorDatabase(folder / "node.db", folder / "files") as db:
        add_status(db)
        add_file(db, 1, content=b"small")
        db.backup_to(backups)
        large = [id_of(add_file(db, number, content=os.urandom(1 << 20))) for number in range(5)]
        seen: dict[str, object] = {"full": outcome(lambda: db.backup_to(backups, keep=1))}
        seen["older one is sound"] = len(sound(backups))
        seen["hidden"] = hidden(backups)
        for file_id in large[1:]:
            db.delete_file(file_id)
        subprocess.run(["mount", "-o", "remount,size=16m", folder / "disk"], check=True)
        seen["with room"] = outcome(lambda: db.backup_to(backups, keep=1))
        seen["sound"] = len(sound(backups))
        seen["contents"] = len(list((backups / "contents").glob("??/*")))
    return seen


def outcome(action: Callable[[], Any]) -> str:
    try:
        return str(action().is_complete)
    except MeteorError as error:
        return type(error).__name__


@pytest.mark.contract("issue-3.5/backup-faults", "faults/full-disk")
def test_full_disk_ends_the_backup_and_keeps_the_older_ones(tmp_path: Path) -> None:
    done = subprocess.run(
        [*own_namespace(), sys.executable, "-m", __spec__.name, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=300,
    )

    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "full": "StoreFullError",
        "older one is sound": 1,
        "hidden": [],
        "with room": "True",
        "sound": 1,
        "contents": 2,
    }


if __name__ == "__main__":
    json.dump(fill_disk(Path(sys.argv[1])), sys.stdout)
