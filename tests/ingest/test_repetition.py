"""Whatever interrupts an ingest, and however many run at once: repeated, it is complete, nothing double."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meteorpi_db.ingest import IngestOptions, ingest
from meteorpi_db.records import contents
from meteorpi_db.testing.night import NightPlan, make_night
from meteorpi_model import EventSearch
from tests.ingest.trees import counts, digest, held_files, same_contents, tree_state

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase


KILLS = 8
PROGRAM = """
import sys
from meteorpi_db import MeteorDatabase
from meteorpi_db.ingest import IngestOptions, ingest
with MeteorDatabase(sys.argv[1], sys.argv[2]) as db:
    print("ready", flush=True)
    sys.stdin.readline()
    report = ingest(db, sys.argv[3], IngestOptions(move=sys.argv[4] == "move"))
    print(report.files, report.events, report.statuses, flush=True)
"""


class Ingest:
    """An ingest in a process of its own, which waits for the word."""

    def __init__(self, repository: Path, db_path: str, store: Path, source: Path, mode: str = "copy") -> None:
        command = [sys.executable, "-c", PROGRAM, db_path, str(store), str(source), mode]
        self._process = subprocess.Popen(
            command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._output, self._input = self._process.stdout, self._process.stdin
        assert self._output.readline() == "ready\n"

    def start(self) -> None:
        self._input.write("go\n")
        self._input.flush()

    def result(self) -> tuple[int, ...]:
        """Files, events and statuses it added."""
        with self._process:
            line = self._output.readline()
        assert self._process.returncode == 0
        return tuple(int(number) for number in line.split())

    def kill_after(self, seconds: float) -> bool:
        """Kill it in the middle; True when it was still at work."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
        with self._process:
            pass
        return self._process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def long_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough files for an ingest to be interrupted in."""
    plan = NightPlan(pictures=60, meteors=30, width=160, height=90, hours=8)
    return make_night(tmp_path_factory.mktemp("long"), plan)


def expected_files(night: Path) -> dict[str, str]:
    return {name: state[0] for name, state in tree_state(night).items() if name != ".config"}


class Interrupted:
    """Kills an ingest of a copy of `night` again and again.

    Attributes:
        source: the copy.
        expected: digest of each of its files that are kept, by name.
        killed: how often it was still at work.
    """

    def __init__(self, night: Path, directory: Path, repository: Path, db_path: str) -> None:
        self.source = Path(shutil.copytree(night, directory / "source" / night.name))
        self.expected = expected_files(self.source)
        self.killed = 0
        self._store = directory / "files"
        self._repository, self._db_path = repository, db_path
        self._lots = random.Random(1)

    def kill_once(self, mode: str) -> None:
        running = Ingest(self._repository, self._db_path, self._store, self.source, mode)
        running.start()
        self.killed += running.kill_after(self._lots.uniform(0, 0.35))


@pytest.fixture
def interrupted(long_night: Path, tmp_path: Path, repository: Path, db_path: str) -> Interrupted:
    return Interrupted(long_night, tmp_path, repository, db_path)


def assert_complete(db: MeteorDatabase, interrupted: Interrupted) -> None:
    assert interrupted.killed > 0
    assert interrupted.expected.items() <= held_files(db).items()
    assert counts(db) == (1, len(interrupted.expected) + 30, 30)
    assert all(len(event.file_records) >= 3 for event in db.iterate_events(EventSearch(limit=0)))
    assert same_contents(db)


@pytest.mark.contract("B-15", "S-150")
def test_killed_at_any_moment_and_repeated_it_is_complete(
    open_database: Callable[..., MeteorDatabase], interrupted: Interrupted
) -> None:
    for _ in range(KILLS):
        interrupted.kill_once("copy")

    db = open_database()
    ingest(db, interrupted.source)

    assert_complete(db, interrupted)


@pytest.mark.contract("B-15", "S-150")
@pytest.mark.engines("sqlite")
def test_a_move_that_is_killed_loses_nothing(
    open_database: Callable[..., MeteorDatabase], interrupted: Interrupted
) -> None:
    """At every moment a file is at its source or recorded in the node."""
    db = open_database()
    for _ in range(KILLS):
        interrupted.kill_once("move")
        left = expected_files(interrupted.source)
        assert interrupted.expected.items() <= {**held_files(db), **left}.items()

    ingest(db, interrupted.source, IngestOptions(move=True))

    assert_complete(db, interrupted)
    assert expected_files(interrupted.source) == {}


class _InterruptedError(Exception):
    """Stands for a kill: nothing in an ingest catches it."""


@pytest.mark.contract("B-15", "S-150")
@pytest.mark.engines("sqlite")
def test_a_move_that_ends_at_any_removal_is_completed_by_the_next(
    db: MeteorDatabase, night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is left, the folder is still known for a night of its station."""
    expected = expected_files(night)
    remove_source = contents.remove_source

    def remove_one(path: Path) -> None:
        if len(expected_files(night)) == to_stay:
            raise _InterruptedError
        remove_source(path)

    monkeypatch.setattr(contents, "remove_source", remove_one)
    to_stay = len(expected)
    while to_stay > 1:
        to_stay -= 1
        with pytest.raises(_InterruptedError):
            ingest(db, night, IngestOptions(move=True))
        assert counts(db) == (1, len(expected) + 4, 4)
    to_stay = 0
    report = ingest(db, night, IngestOptions(move=True))

    assert (report.files, report.files_present, report.refused) == (0, 1, [])
    assert expected_files(night) == {}
    assert expected.items() <= held_files(db).items()


@pytest.mark.engines("sqlite")
def test_a_move_that_cannot_take_all_leaves_the_file_by_which_the_rest_is_known(
    db: MeteorDatabase, night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next ingest would take the rest for files of whatever camera is the node's own."""
    expected = expected_files(night)
    refused = next(night.glob("XX0001_*.jpg"))
    opened = Path.open

    def failing_open(self: Path, *args: object, **options: object) -> object:
        if self == refused:
            raise OSError(5, "Input/output error")
        return opened(self, *args, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing_open)
        ingest(db, night, IngestOptions(move=True))
    assert len(expected_files(night)) == 2

    ingest(db, night, IngestOptions(move=True))

    assert expected_files(night) == {}
    assert counts(db) == (1, len(expected) + 4, 4)
    assert expected.items() <= held_files(db).items()


@pytest.mark.contract("B-38")
def test_two_processes_take_the_same_night_in_at_once(
    long_night: Path,
    open_database: Callable[..., MeteorDatabase],
    db_path: str,
    tmp_path: Path,
    repository: Path,
) -> None:
    processes = [Ingest(repository, db_path, tmp_path / "files", long_night) for _ in range(2)]

    for process in processes:
        process.start()
    added = [process.result() for process in processes]

    db = open_database()
    expected = expected_files(long_night)
    assert tuple(map(sum, zip(*added, strict=True))) == (len(expected) + 30, 30, 1)
    assert counts(db) == (1, len(expected) + 30, 30)
    assert expected.items() <= held_files(db).items()
    assert same_contents(db)


def test_threads_of_one_process_take_the_same_night_in_at_once(db: MeteorDatabase, small_night: Path) -> None:
    barrier = threading.Barrier(3)

    def take() -> None:
        barrier.wait()
        ingest(db, small_night)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts(db) == (1, len(expected_files(small_night)) + 4, 4)
    assert same_contents(db)


@pytest.mark.engines("sqlite")
def test_another_node_gives_the_same_identities(
    open_database: Callable[..., MeteorDatabase],
    new_database: Callable[[], str],
    small_night: Path,
    tmp_path: Path,
) -> None:
    first = open_database()
    second = open_database(new_database(), file_store_path=str(tmp_path / "other"))

    ingest(first, small_night)
    ingest(second, small_night)

    assert set(first.store.ids()) == set(second.store.ids())
    assert [event.event_id for event in first.iterate_events()] == [
        event.event_id for event in second.iterate_events()
    ]
    assert first.get_status_history("XX0001") == second.get_status_history("XX0001")


@pytest.mark.contract("S-150")
@pytest.mark.engines("sqlite")
def test_a_file_that_changes_while_it_is_read_is_never_stored_torn(
    db: MeteorDatabase, small_night: Path, tmp_path: Path
) -> None:
    """Somebody keeps writing; what is stored is one of the states the file was in."""
    source = tmp_path / "source"
    source.mkdir()
    whole = next(small_night.glob("FF_*.fits")).read_bytes()
    states = [whole[:-1] + bytes([number]) * 1 for number in range(1, 9)]
    path = source / "FF_XX0001_20240901_220000_000_0000256.fits"
    path.write_bytes(states[0])
    for name in (".config", "platepar_cmn2010.cal"):
        (source / name).write_bytes((small_night / name).read_bytes())
    stop = threading.Event()

    def rewrite() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            descriptor = os.open(path, os.O_WRONLY)
            os.write(descriptor, states[number % len(states)])
            os.close(descriptor)

    writer = threading.Thread(target=rewrite)
    writer.start()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        ingest(db, path)
    stop.set()
    writer.join()

    allowed = {digest(state) for state in states}
    assert set(held_files(db).values()) <= allowed | {
        digest((source / "platepar_cmn2010.cal").read_bytes()),
    }
