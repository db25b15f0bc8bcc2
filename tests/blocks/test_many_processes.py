"""Eight at the same objects, some of them killed: one winner each time, and right counters.

With ``--hammer SECONDS``, as of ``make hammer``, they go on for so long.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from subprocess import Popen

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import rows
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.tables import block_content, block_event, block_object, block_upload
from meteorpi_db.sweeping import ORPHAN_GRACE
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model import now
from tests.blocks.hammering import NOTHING, PATHS, Hammer, application, hammering
from tests.blocks.making import PREFIX, StoredBlocks
from tests.blocks.signed_in import add_users
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, stored_ids

COUNT = 8
KILLED = 2
STEPS = 64
STEPS_BEFORE_KILL = 3

Said = list[list[str]]


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long they go on at least."""
    return float(request.config.getoption("hammer") or 0.0)


class Watch:
    """Reads what they say, kills some of them on the way, and stops the others at the end."""

    def __init__(self, process: Popen[str], seconds: float) -> None:
        self._process = process
        self._end = time.monotonic() + seconds
        self._steps: dict[int, int] = defaultdict(int)

    def run(self) -> Said:
        """What was done, without who did it; all of them end as they should."""
        lines = self._lines()
        workers = [pid for pid, words in (next(lines) for _ in range(COUNT)) if words == ["ready"]]
        assert len(workers) == COUNT
        assert self._process.stdin is not None
        self._process.stdin.close()  # that is the word for all of them
        killed, said, is_stopped, ends = set[int](), list[list[str]](), False, dict[int, str]()
        for pid, words in lines:
            if words[0] == "ended":
                ends[pid] = words[1]
                continue
            said.append(words)
            self._steps[pid] += 1
            if self._steps[pid] == STEPS_BEFORE_KILL and pid in workers[:KILLED]:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            if len(killed) == KILLED and not is_stopped and self._is_over(len(said)):
                os.killpg(self._process.pid, signal.SIGTERM)
                is_stopped = True
        assert ends == {pid: "-9" if pid in killed else "0" for pid in workers}
        return said

    def _is_over(self, steps: int) -> bool:
        return steps >= STEPS and time.monotonic() >= self._end

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pid, *words = line.split()
            yield int(pid), words


def histories(db: MeteorDatabase) -> dict[str, list[str]]:
    """What every object was, by its events: digests, `NOTHING` in front and where it was removed.

    Events are numbered without gaps (K-151).
    """
    with db.transactions.reading() as connection:
        columns = (block_event.c.path, block_event.c.sha256, block_event.c.number)
        found = connection.execute(select(*columns).order_by(block_event.c.number)).all()
    assert [row.number for row in found] == list(range(1, len(found) + 1))
    states: dict[str, list[str]] = {path: [NOTHING] for path in PATHS}
    for row in found:
        states[row.path].append(row.sha256 or NOTHING)
    return states


def check_winners(db: MeteorDatabase, said: Said, killed: int) -> None:
    """Whatever was acknowledged happened to just the state that was seen, and hardly anything else did."""
    states = histories(db)
    for words in said:
        if words[0] == "won":
            _, path, seen, stored = words
            assert states[path][states[path].index(stored) - 1] == seen
        elif words[0] == "removed":
            _, path, seen = words
            assert states[path][states[path].index(seen) + 1] == NOTHING
        else:
            assert words == ["lost"]
    done = sum(words != ["lost"] for words in said)
    assert done <= sum(len(each) - 1 for each in states.values()) <= done + killed
    with db.transactions.reading() as connection:
        present = {path: rows.find_object(connection, PREFIX, path) for path in PATHS}
    assert {path: NOTHING if row is None else row.sha256 for path, row in present.items()} == {
        path: each[-1] for path, each in states.items()
    }


def check_tidiness(db: MeteorDatabase, clock: StandingClock) -> None:
    """Counters are right, every content is whole, and after the sweep there is none too many."""
    assert recount(db.transactions) == []
    clock.time += 2 * ORPHAN_GRACE
    assert db.verify(deep=True).missing == []
    db.sweep_contents()
    with db.transactions.reading() as connection:
        named = set(connection.execute(select(block_object.c.content_id)).scalars())
        recorded = dict(connection.execute(select(block_content.c.content_id, block_content.c.uses)).all())
        assert connection.execute(select(block_upload.c.upload_id)).all() == []
    assert stored_ids(db) == named == recorded.keys()
    assert set(recorded.values()) <= {1}
    assert db.verify(deep=True).is_clean


@pytest.fixture
def run_hammers(
    open_database: OpenDatabase, new_database: Callable[[], str], file_store_path: str, seconds: float
) -> Callable[[], None]:
    """Call it for the whole of it, with processes."""

    def run() -> None:
        db_path, clock = new_database(), StandingClock(now())
        db = open_database(db_path, db_user=USER, db_password=PASSWORD, clock=clock)
        add_users(db, "anna")
        StoredBlocks(db).make()

        with hammering(db_path, file_store_path, COUNT) as process:
            said = Watch(process, seconds).run()

        check_winners(db, said, KILLED)
        check_tidiness(db, clock)

    return run


@pytest.mark.contract("K-214", "K-149", "K-413", "K-405", "issue-5/hammer", "J-04/racing")
def test_processes_at_the_same_objects_leave_right_counters_and_no_orphan(
    run_hammers: Callable[[], None],
) -> None:
    run_hammers()


@pytest.mark.contract("K-149", "issue-5/hammer", "J-04/racing", "issue-5.1", "J-03")
@pytest.mark.engines("postgresql")
@pytest.mark.stores("s3")
def test_processes_at_the_same_objects_of_a_service_do_so_too(run_hammers: Callable[[], None]) -> None:
    run_hammers()


@pytest.mark.contract("K-214", "K-149", "issue-5/hammer")
def test_threads_at_the_same_objects_in_memory(tmp_path: Path, seconds: float) -> None:
    clock, end = StandingClock(now()), time.monotonic() + seconds
    barrier = threading.Barrier(COUNT, timeout=60)
    with ExitStack() as stack:
        db = stack.enter_context(MeteorDatabase(tmp_path / "node.db", "memory:", clock=clock))
        add_users(db, "anna")
        StoredBlocks(db).make()
        meteor_app = application(db)

        def work(seed: int) -> Said:
            hammer = Hammer(db, meteor_app, Random(seed))
            said: Said = []
            barrier.wait()
            while len(said) < STEPS // COUNT or time.monotonic() < end:
                said.append(hammer.step().split())
            return said

        with ThreadPoolExecutor(COUNT) as pool:
            said = [words for each in pool.map(work, range(COUNT)) for words in each]

        check_winners(db, said, killed=0)
        check_tidiness(db, clock)
