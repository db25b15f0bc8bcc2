"""What a killed process held of the embedded engine's locks is given back, and nothing else is."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.dialects import firebird_client
from meteorpi_db.dialects.firebird_abandoned import SIGNED_SECONDS, UNSIGNED_SECONDS, AbandonedMutexes
from tests.db.mutex_holder import HEAD, holding, is_free, make_shared_file

OpenDatabase = Callable[..., MeteorDatabase]


@pytest.fixture
def shared_file(tmp_path: Path) -> Path:
    path = tmp_path / "fb_lock_1"
    make_shared_file(path)
    return path


@pytest.fixture
def mutexes(tmp_path: Path) -> AbandonedMutexes:
    return AbandonedMutexes(tmp_path)


def take(path: Path, holder: int) -> None:
    """Lock a mutex by its words: 1 for locked, a counter, and who holds it."""
    with path.open("r+b") as file:
        file.seek(len(HEAD))
        file.write(struct.pack("=iIi", 1, 0, holder))


def open_lock_tables() -> list[Path]:
    """The lock tables of all databases that this process has open."""
    mappings = Path("/proc/self/maps").read_text().splitlines()
    files = {Path(line.split(maxsplit=5)[5]) for line in mappings if "/fb_lock_" in line}
    return [path for path in files if path.parent == firebird_client.lock_directory()]


@pytest.mark.engines("firebird-embedded")
@pytest.mark.contract("faults/embedded-killed")
def test_database_goes_on_after_a_process_was_killed_that_held_the_engines_locks(
    db: MeteorDatabase, open_database: OpenDatabase
) -> None:
    """Once for one that has the database open, and once for one that is about to open it."""
    with holding(open_lock_tables()) as process:
        user = threading.Thread(target=db.create_or_update_user, args=("name", "pass word", ["import"]))
        newcomer = threading.Thread(target=open_database)
        for thread in (user, newcomer):
            thread.start()
        user.join(1)
        assert user.is_alive()  # it waits for as long as the holder lives
        assert newcomer.is_alive()

        process.kill()
        for thread in (user, newcomer):
            thread.join(20)

        assert not user.is_alive()
        assert not newcomer.is_alive()
    assert [found.user_id for found in db.get_users()] == ["name"]


def test_mutex_of_a_killed_process_is_unlocked_at_the_second_look(
    shared_file: Path, mutexes: AbandonedMutexes
) -> None:
    with holding([shared_file]) as process:
        process.kill()
        process.wait()

        assert mutexes.release(0) == []
        assert mutexes.release(SIGNED_SECONDS / 2) == []
        assert not is_free(shared_file)
        assert mutexes.release(SIGNED_SECONDS) == [shared_file]

    assert is_free(shared_file)
    assert mutexes.release(2 * SIGNED_SECONDS) == []


def test_mutex_of_a_killed_process_that_its_parent_has_not_waited_for_is_unlocked(
    shared_file: Path, mutexes: AbandonedMutexes
) -> None:
    with holding([shared_file]) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie

        mutexes.release(0)

        assert mutexes.release(1) == [shared_file]


def test_mutex_of_a_living_process_stays_locked(shared_file: Path, mutexes: AbandonedMutexes) -> None:
    with holding([shared_file]):
        for second in range(100):
            assert mutexes.release(second) == []

        assert not is_free(shared_file)


def test_mutex_taken_again_by_the_next_one_to_be_killed_is_looked_at_anew(
    shared_file: Path, mutexes: AbandonedMutexes
) -> None:
    for start in (0, 10):
        with holding([shared_file]) as process:
            process.kill()
            process.wait()
            assert mutexes.release(start) == []
            assert mutexes.release(start + 1) == [shared_file]


def test_mutex_taken_without_a_name_is_unlocked_when_nobody_has_signed_it_for_long(
    shared_file: Path, mutexes: AbandonedMutexes
) -> None:
    take(shared_file, 0)

    assert mutexes.release(0) == []
    assert mutexes.release(UNSIGNED_SECONDS - 1) == []
    assert mutexes.release(UNSIGNED_SECONDS) == [shared_file]
    assert is_free(shared_file)


def test_mutex_that_is_signed_meanwhile_is_not_taken_for_unsigned(
    shared_file: Path, mutexes: AbandonedMutexes
) -> None:
    for second, holder in ((0, 0), (UNSIGNED_SECONDS / 2, os.getpid()), (UNSIGNED_SECONDS, 0)):
        take(shared_file, holder)

        assert mutexes.release(second) == []


@pytest.mark.parametrize(
    ("head", "robust"), [(HEAD, True), (b"\x0f\x00" + HEAD[2:], False)], ids=["robust", "other-file"]
)
def test_what_is_not_a_plain_mutex_of_the_engine_is_left_alone(
    head: bytes, robust: bool, tmp_path: Path, mutexes: AbandonedMutexes
) -> None:
    path = tmp_path / "fb_lock_1"
    make_shared_file(path, head=head, robust=robust)
    with holding([path]) as process:
        process.kill()
        process.wait()
    before = path.read_bytes()

    for second in range(100):
        assert mutexes.release(second) == []
    assert path.read_bytes() == before


def test_files_without_a_mutex_are_left_alone(tmp_path: Path, mutexes: AbandonedMutexes) -> None:
    (tmp_path / "fb_init").write_bytes(b"")
    (tmp_path / "fb_short").write_bytes(HEAD + b"\x01")
    (tmp_path / "other").write_bytes(bytes([255]) * 4096)

    for second in range(100):
        assert mutexes.release(second) == []
