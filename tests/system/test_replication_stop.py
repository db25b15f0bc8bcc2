"""A program that started the exporter's scheduler ends when its main thread does (B-58)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from tests.system.replication import REPOSITORY, Hub, add_file, add_statuses, export_to, tell, word_of
from tests.system.scripted_peer import ScriptedPeer, Silence

pytestmark = [pytest.mark.engines("sqlite"), pytest.mark.contract("B-58")]
STOP_SECONDS = 8
PROGRAM = """
import sys, threading
from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter

db = MeteorDatabase(db_path=sys.argv[1], file_store_path=sys.argv[2])
exporter = MeteorExporter(
    db=db, mark_interval_seconds=0.1, max_failures_before_disable=4, defer_on_failure_seconds=3
)
exporter.scheduler.start()
assert not exporter.scheduler._thread.daemon
print("started", flush=True)
sys.stdin.readline()
print("main thread ends", flush=True)
"""


def run(db: MeteorDatabase) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(db.db_path), str(db.file_store_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def test_idle_scheduler_does_not_keep_the_program_alive(db: MeteorDatabase, tmp_path: Path) -> None:
    add_statuses(db)
    add_file(db, tmp_path, 1)
    with Hub(db).serving() as hub, run(db) as program:
        export_to(db, hub.url, kinds="file")  # to itself: the hub has it already
        assert word_of(program) == "started"
        wait_until(lambda: db.get_export_states()[0].pending == 0 and hub.requests > 0, 20, "the export")
        tell(program, "end")

        assert program.wait(STOP_SECONDS) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""
    assert db.acquire_lease("exporter", "the next one", 1)


def test_round_that_waits_for_a_silent_peer_does_not_keep_the_program_alive(
    db: MeteorDatabase, tmp_path: Path
) -> None:
    add_statuses(db)
    add_file(db, tmp_path, 1)
    with ScriptedPeer([Silence()]).serving() as peer, run(db) as program:
        export_to(db, peer.url, kinds="file")
        assert word_of(program) == "started"
        wait_until(lambda: len(peer.received) == 1, 20, "the export")
        tell(program, "end")

        assert program.wait(STOP_SECONDS) == 0
    (state,) = db.get_export_states()
    assert (state.pending, state.failures) == (1, 0)
    assert db.acquire_lease("exporter", "the next one", 1)
