"""Several processes at the same objects, some of them killed: one winner each time, and right counters."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from subprocess import Popen

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import rows
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.tables import block_content, block_event, block_object, block_upload
from meteorpi_db.filestore import LocalFileStore
from meteorpi_db.sweeping import ORPHAN_GRACE
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model import now
from tests.blocks.hammering import NOTHING, PATHS, hammer
from tests.blocks.making import PREFIX, StoredBlocks
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, stored_ids
from tests.db.workers import next_line, say

PROCESSES = 4
KILLED = 2
STEPS = 25
STEPS_BEFORE_KILL = 8
MORE_THAN_ENOUGH = 1_000_000  # those that are killed do not end by themselves


def last_states(db: MeteorDatabase) -> dict[str, str | None]:
    """The SHA-256 of every object by what was told of it last; None for one that was removed."""
    with db.transactions.reading() as connection:
        statement = select(block_event.c.path, block_event.c.sha256).order_by(block_event.c.number)
        return {row.path: row.sha256 for row in connection.execute(statement)}


def run_hammers(db: MeteorDatabase, db_path: str) -> list[str]:
    """Have the processes do their steps; gives what they acknowledged."""
    assert isinstance(db.store, LocalFileStore)
    said: list[str] = []
    with ExitStack() as stack:
        hammers: list[Popen[str]] = [
            stack.enter_context(
                hammer(db_path, db.store.root, seed, MORE_THAN_ENOUGH if seed < KILLED else STEPS)
            )
            for seed in range(PROCESSES)
        ]
        assert [next_line(each) for each in hammers] == ["ready"] * PROCESSES
        for each in hammers:
            say(each)
        for each in hammers[:KILLED]:
            said += [next_line(each) for _ in range(STEPS_BEFORE_KILL)]
            each.send_signal(signal.SIGKILL)
            # The embedded Firebird frees locks of processes that are gone; a zombie is not.
            assert each.wait(timeout=60) == -signal.SIGKILL
        for number, each in enumerate(hammers):
            assert each.stdout is not None
            said += each.stdout.read().splitlines()
            assert number < KILLED or each.wait(timeout=60) == 0
    return said


@pytest.mark.contract("K-214", "K-148", "K-413", "K-405")
def test_processes_at_the_same_objects_leave_right_counters_and_no_orphan(
    open_database: OpenDatabase, new_database: Callable[[], str]
) -> None:
    db_path = new_database()
    clock = StandingClock(now())
    db = open_database(db_path, db_user=USER, db_password=PASSWORD, clock=clock)
    StoredBlocks(db).make()

    said = [line.split() for line in run_hammers(db, db_path) if line]

    parents = [(path, seen) for word, path, seen, _ in (w for w in said if len(w) == 4) if seen != NOTHING]
    assert len(parents) == len(set(parents))
    assert {"won"} <= {words[0] for words in said} <= {"won", "removed", "lost"}
    with db.transactions.reading() as connection:
        present = {path: rows.find_object(connection, PREFIX, path) for path in PATHS}
    assert {path: row.sha256 for path, row in present.items() if row is not None} == {
        path: sha256 for path, sha256 in last_states(db).items() if sha256 is not None
    }
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
