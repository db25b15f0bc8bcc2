"""What appears below a watched directory is taken once nobody writes to it any more."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meteorpi_db.ingest import IngestOptions, IngestReport, StatusFacts, Watcher
from meteorpi_db.ingest.watch import REFUSED_SECONDS
from meteorpi_db.retention import RetentionRule
from meteorpi_model import EventSearch, Location
from meteorpi_model.errors import InvalidDocumentError, StoreFullError
from tests.ingest.test_plain import picture
from tests.ingest.trees import counts, held_files

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase

pytestmark = pytest.mark.engines("sqlite")

OPTIONS = IngestOptions(camera_id="roof", facts=StatusFacts(location=Location(48.2, 16.4)))


class Seconds:
    """A clock that goes forward when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class StopWhenAsked(threading.Event):
    """Is set once it was asked a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    path = tmp_path / "watched"
    path.mkdir()
    return path


def watcher(db: MeteorDatabase, path: Path, clock: Callable[[], float]) -> Watcher:
    return Watcher(db, path, OPTIONS, settle_seconds=10, monotonic=clock)


def test_a_file_is_taken_when_it_has_settled(db: MeteorDatabase, watched: Path, clock: Seconds) -> None:
    watch = watcher(db, watched, clock)
    picture(watched / "20240812_220000.png")

    first = watch.look()
    clock.now += 9
    early = watch.look()
    clock.now += 1
    settled = watch.look()
    clock.now += 100
    later = watch.look()

    assert [report.files for report in (first, early, settled, later)] == [0, 0, 1, 0]
    assert not later.folders


@pytest.mark.contract("issue-2.8")
def test_a_file_that_grows_waits_and_is_taken_whole(
    db: MeteorDatabase, watched: Path, clock: Seconds
) -> None:
    whole = picture(watched.parent / "whole.png").read_bytes()
    path = watched / "20240812_220000.png"
    watch = watcher(db, watched, clock)

    for end in range(10, len(whole), 20):
        path.write_bytes(whole[:end])
        assert not watch.look().folders
        clock.now += 8
    path.write_bytes(whole)
    watch.look()
    clock.now += 10
    report = watch.look()

    assert (report.files, report.quarantined) == (1, [])


def test_a_file_that_is_taken_again_after_a_change_is_a_new_file(
    db: MeteorDatabase, watched: Path, clock: Seconds
) -> None:
    watch = watcher(db, watched, clock)
    for shade in (40, 41):
        picture(watched / "20240812_220000.png", shade)
        watch.look()
        clock.now += 10
        watch.look()

    assert counts(db)[1] == 2


def test_a_damaged_file_is_reported_once(db: MeteorDatabase, watched: Path, clock: Seconds) -> None:
    (watched / "20240812_220000.png").write_bytes(b"half a pict")
    watch = watcher(db, watched, clock)
    reports = []
    for _ in range(4):
        reports.append(watch.look())
        clock.now += 10

    assert [len(report.quarantined) for report in reports] == [0, 1, 0, 0]


def test_a_refused_file_is_tried_again(db: MeteorDatabase, watched: Path, clock: Seconds) -> None:
    picture(watched / "20240812_220000.png")
    watch = Watcher(db, watched, IngestOptions(camera_id="roof"), settle_seconds=10, monotonic=clock)
    watch.look()
    clock.now += 10

    refused = watch.look()
    clock.now += 10
    quiet = watch.look()
    Watcher(db, watched, OPTIONS, settle_seconds=0, monotonic=clock).look()
    clock.now += REFUSED_SECONDS
    again = watch.look()

    assert [len(report.refused) for report in (refused, quiet, again)] == [1, 0, 0]
    assert again.files_present == 1


@pytest.mark.contract("issue-2.8")
def test_meteors_wait_for_the_end_of_the_night(
    db: MeteorDatabase, watched: Path, small_night: Path, clock: Seconds
) -> None:
    """Captures are taken while the night goes on; its detections when nothing is written any more."""
    folder = watched / small_night.name
    folder.mkdir()
    recordings = sorted(small_night.glob("FF_*.fits"))
    others = [path for path in small_night.iterdir() if path not in recordings]
    for path in others:
        shutil.copyfile(path, folder / path.name)
    watch = watcher(db, watched, clock)
    events = []
    for recording in recordings:
        shutil.copyfile(recording, folder / recording.name)
        clock.now += 6
        events.append(watch.look().events)
    mid_night = held_files(db)
    for _ in range(3):
        clock.now += 6
        events.append(watch.look().events)

    assert events[: len(recordings)] == [0] * len(recordings)
    assert sum(events) == 4
    assert recordings[0].name in mid_night
    for event in db.iterate_events(EventSearch(limit=0)):
        assert [str(record.semantic_type) for record in event.file_records] == [
            "rms:ff",
            "rms:ff/picture",
            "meteorpi:path",
        ]


def test_a_half_written_calibration_is_waited_for(
    db: MeteorDatabase, watched: Path, small_night: Path, clock: Seconds
) -> None:
    folder = Path(shutil.copytree(small_night, watched / small_night.name))
    platepar = folder / "platepar_cmn2010.cal"
    whole = platepar.read_bytes()
    watch = watcher(db, watched, clock)
    watch.look()
    clock.now += 10
    platepar.write_bytes(whole[:50])

    waiting = watch.look()
    platepar.write_bytes(whole)
    watch.look()
    clock.now += 10
    report = watch.look()

    assert (waiting.files, waiting.quarantined, waiting.statuses) == (0, [], 0)
    assert (report.events, report.quarantined, report.statuses) == (4, [], 1)


def test_a_new_watcher_finds_what_is_held(db: MeteorDatabase, watched: Path, clock: Seconds) -> None:
    picture(watched / "20240812_220000.png")
    for _ in range(2):
        watch = watcher(db, watched, clock)
        watch.look()
        clock.now += 10
        watch.look()

    assert counts(db) == (1, 1, 0)


def test_files_and_directories_may_vanish(db: MeteorDatabase, watched: Path, clock: Seconds) -> None:
    watch = watcher(db, watched, clock)
    picture(watched / "below" / "20240812_220000.png")
    watch.look()
    shutil.rmtree(watched / "below")
    clock.now += 10
    assert not watch.look().refused
    shutil.rmtree(watched)

    assert not watch.look().refused


@pytest.mark.contract("faults/full-disk")
def test_a_full_store_is_waited_for(
    db: MeteorDatabase, watched: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(watched / "20240812_220000.png")
    watch = watcher(db, watched, clock)
    watch.look()
    clock.now += 10
    with monkeypatch.context() as patched:

        def full(*_: object, **__: object) -> None:
            raise StoreFullError("no room")

        patched.setattr(db.store, "put", full)
        with pytest.raises(StoreFullError):
            watch.look()

    assert watch.look().files == 1


def test_only_directories_can_be_watched(db: MeteorDatabase, tmp_path: Path) -> None:
    with pytest.raises(InvalidDocumentError, match="only directories"):
        Watcher(db, picture(tmp_path / "a.png"))


def test_a_running_watch_takes_and_stops(db: MeteorDatabase, watched: Path) -> None:
    reports: list[IngestReport] = []
    stop, seen = threading.Event(), threading.Event()

    def reported(report: IngestReport) -> None:
        reports.append(report)
        seen.set()

    watch = Watcher(db, watched, OPTIONS, settle_seconds=0.05)
    thread = threading.Thread(target=watch.run, args=(stop, 0.02, reported))
    thread.start()
    picture(watched / "20240812_220000.png")

    assert seen.wait(20)
    begun = time.monotonic()
    stop.set()
    thread.join(20)

    assert not thread.is_alive()
    assert time.monotonic() - begun < 10
    assert sum(report.files for report in reports) == 1


def test_a_watch_stops_in_the_middle_of_a_large_folder(db: MeteorDatabase, watched: Path) -> None:
    """After the group under way; what was recorded stays, and the next watch does the rest."""
    for minute in range(300):
        picture(watched / f"20240812_{minute // 60:02d}{minute % 60:02d}00.png", minute % 250)
    stop = StopWhenAsked(times=4)

    Watcher(db, watched, OPTIONS, settle_seconds=0).run(stop)

    assert 0 < counts(db)[1] < 300
    Watcher(db, watched, OPTIONS, settle_seconds=0).look()
    assert counts(db)[1] == 300


@pytest.mark.contract("issue-3.5/prune-again")
def test_watch_that_starts_again_leaves_pruned_files_where_they_are(
    db: MeteorDatabase, watched: Path, clock: Seconds
) -> None:
    old, young = watched / "20150401_200000.png", watched / "20150530_200000.png"
    for number, path in enumerate((old, young)):
        picture(path, number)
    db.clock = lambda: datetime(2015, 6, 1)
    options = dataclasses.replace(OPTIONS, keep_frames_days=30)

    def look(with_options: IngestOptions) -> IngestReport:
        return Watcher(db, watched, with_options, settle_seconds=0, monotonic=clock).look()

    def names() -> set[str | None]:
        return {record.file_name for record in db.iterate_files()}

    look(OPTIONS)
    assert names() == {old.name, young.name}
    db.prune(RetentionRule(keep_frames_days=30))
    report = look(options)

    assert names() == {young.name}
    assert report.left_out == {"older than what is kept": 1}
