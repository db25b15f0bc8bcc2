"""Sums of several processes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meteorpi_server.tallies import MemoryTally, SharedTally, Tally, key_of
from meteorpi_server.tallies.number_file import FILE_BYTES, NumberFile, read_numbers

COUNTER = key_of("requests", "GET")
GAUGE = key_of("in_flight", is_passing=True)
COUNTING = """
import sys
from pathlib import Path
from meteorpi_server.tallies import SharedTally
tally = SharedTally(Path(sys.argv[1]))
tally.add([(sys.argv[2], 0.5), (sys.argv[3], 1)])
tally.add([(sys.argv[2], 1)])
print("counted", flush=True)
sys.stdin.read()
"""

FORKING = """
import json, os, sys
from pathlib import Path
from meteorpi_server.tallies import SharedTally
tally = SharedTally(Path(sys.argv[1]))
tally.add([(sys.argv[2], 1), (sys.argv[3], 1)])
child = os.fork()
if child == 0:
    tally.add([(sys.argv[2], 10), (sys.argv[3], 1)])
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps(tally.totals()))
"""


@pytest.fixture(params=["memory", "shared"])
def tally(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tally]:
    tally = MemoryTally() if request.param == "memory" else SharedTally(tmp_path / "figures")
    yield tally
    tally.close()


def other_process(directory: Path) -> subprocess.Popen[bytes]:
    """A process that has counted, and waits."""
    command = [sys.executable, "-c", COUNTING, str(directory), COUNTER, GAUGE]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"counted\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.communicate(timeout=60)


@pytest.mark.contract("K-172")
def test_sums_are_added_to_by_many_threads(tally: Tally) -> None:
    assert tally.totals() == {}

    threads = [
        threading.Thread(target=lambda: [tally.add([(COUNTER, 0.5), (GAUGE, -1)]) for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert tally.totals() == {COUNTER: 1000.0, GAUGE: -2000.0}


@pytest.mark.contract("K-172")
def test_processes_have_one_total_and_what_ended_ones_counted_stays(tmp_path: Path) -> None:
    tally = SharedTally(tmp_path)
    tally.add([(COUNTER, 1), (GAUGE, 1)])
    first, second = other_process(tmp_path), other_process(tmp_path)
    together = tally.totals()

    first.send_signal(signal.SIGKILL)
    end(first)
    after_kill = tally.totals()
    end(second)
    tally.close()
    another = SharedTally(tmp_path)

    assert together == {COUNTER: 4.0, GAUGE: 3.0}
    assert after_kill == {COUNTER: 4.0, GAUGE: 2.0}
    assert another.totals() == another.totals() == {COUNTER: 4.0}
    assert [path.name for path in tmp_path.iterdir()] == ["past.json"]


@pytest.mark.contract("K-172")
def test_forked_child_counts_for_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path), COUNTER, GAUGE]

    done = subprocess.run(command, check=True, capture_output=True, timeout=60)

    assert json.loads(done.stdout) == {COUNTER: 11.0, GAUGE: 1.0}


def test_ended_processes_leave_one_file_where_nobody_asks_for_sums(tmp_path: Path) -> None:
    for _ in range(3):
        tally = SharedTally(tmp_path)
        tally.add([(COUNTER, 1)])
        tally.close()
    last = SharedTally(tmp_path)
    last.add([(COUNTER, 1)])

    assert len(list(tmp_path.iterdir())) == 2
    assert last.totals() == {COUNTER: 4.0}
    last.close()


def test_files_whose_removal_was_cut_off_count_once(tmp_path: Path) -> None:
    left = NumberFile(tmp_path / "1-a.numbers")
    left.add(COUNTER, 2)
    left.close()
    kept = (tmp_path / "1-a.numbers").read_bytes()

    tally = SharedTally(tmp_path)
    first = tally.totals()
    (tmp_path / "1-a.numbers").write_bytes(kept)

    assert first == tally.totals() == {COUNTER: 2.0}


def test_counting_begins_again_where_the_directory_was_cleared_away(tmp_path: Path) -> None:
    tally = SharedTally(tmp_path / "figures")
    tally.add([(COUNTER, 5)])
    shutil.rmtree(tmp_path / "figures")

    assert tally.totals() == {}
    tally.add([(COUNTER, 1)])
    assert tally.totals() == {COUNTER: 1.0}
    tally.close()


def test_what_cannot_be_shared_is_counted_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "figures").write_text("a file")
    tally = SharedTally(tmp_path / "figures")

    tally.add([(COUNTER, 1)])
    tally.add([(COUNTER, 1)])

    assert tally.totals() == {COUNTER: 2.0}
    assert len([each for each in caplog.records if "figures are those of this process" in each.message]) == 1


def test_figures_that_cannot_be_read_are_lost_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "past.json").write_text("{")
    (tmp_path / "1-a.numbers").write_bytes(b"short")
    tally = SharedTally(tmp_path)
    tally.add([(COUNTER, 1)])

    assert tally.totals() == {COUNTER: 1.0}
    assert "figures of ended processes are lost" in caplog.text
    tally.close()


def test_file_that_is_full_takes_no_more_names(tmp_path: Path) -> None:
    file = NumberFile(tmp_path / "numbers")
    names = [f"{number}-{'ä' * 1000}" for number in range(100)]

    taken = [name for name in names if file.add(name, 1) and file.add(name, 1)]

    assert 0 < len(taken) < len(names)
    assert taken == names[: len(taken)]
    file.close()
    assert read_numbers(tmp_path / "numbers") == dict.fromkeys(taken, 2.0)
    assert (tmp_path / "numbers").stat().st_size == FILE_BYTES
