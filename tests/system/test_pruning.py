"""Pruning a real disk that is full, and a station that is exporting meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_db.retention import RetentionRule
from meteorpi_db.testing.processes import LOOPBACK
from tests.components import absent
from tests.system.pruned_disk import MEBIBYTE
from tests.system.replication import SHORT, Hub, add_event, add_file, add_statuses, content_of, export_to

OpenDatabase = Callable[..., MeteorDatabase]
OLD = RetentionRule(keep_frames_days=30, keep_events_days=60)


def own_namespace() -> list[str]:
    """The command that gives a program a mount namespace, with the rights to mount in it."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        absent(f"no mount namespace can be had here: {error}")
    return command


@pytest.mark.contract("issue-3.5/prune-room", "faults/full-disk")
def test_full_disk_has_room_again_and_the_oldest_are_gone(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    done = subprocess.run(
        [*own_namespace(), sys.executable, "-m", "tests.system.pruned_disk", tmp_path / "mount"],
        check=True,
        capture_output=True,
        cwd=repository,
        timeout=120,
    )
    seen: dict[str, Any] = json.loads(done.stdout)

    frames, again, events = seen["frames"], seen["again"], seen["events"]
    assert (frames["missing"], frames["events"], frames["clean"]) == (0, 0, True)
    assert 5 * MEBIBYTE < frames["free"] < 7 * MEBIBYTE
    assert frames["left"] == [1, 2, *range(100 + frames["files"], 100 + seen["filled"])]
    assert again["files"] == 0
    assert (events["missing"], events["clean"]) == (0, True)
    assert events["events"] >= 1
    assert not set(events["left"]) & set(range(100, 200))
    assert seen["taken"] == len(events["left"]) + 1


@pytest.fixture
def hub(open_database: OpenDatabase, new_database: Callable[[], str], tmp_path: Path) -> Iterator[Hub]:
    db = open_database(new_database(), file_store_path=str(tmp_path / "hub_files"))
    with Hub(db).serving() as hub:
        yield hub


@pytest.mark.contract("issue-3.5/prune-meanwhile")
def test_whatever_is_pruned_while_exporting_is_at_the_hub(
    db: MeteorDatabase, open_database: OpenDatabase, hub: Hub, tmp_path: Path
) -> None:
    add_statuses(db)
    export_to(db, hub.url)
    exporting = open_database()
    exporter = MeteorExporter(exporting, timeouts=SHORT)
    digests: dict[str, str] = {}
    done = threading.Event()

    def push() -> None:
        while not done.wait(0.01):
            exporter.run_round()

    thread = threading.Thread(target=push)
    thread.start()
    try:
        for number in range(8):
            record = add_file(db, tmp_path, number, size=20_000)
            event = add_event(db, tmp_path, 100 + number, files=2)
            for each in (record, *event.file_records):
                assert each.file_id is not None
                digests[each.file_id.hex] = hashlib.sha256(content_of(db, each.file_id)).hexdigest()
            db.prune(OLD)
    finally:
        done.set()
        thread.join()
    while exporter.run_round():
        pass
    exporter.close()
    pruned = db.prune(OLD)

    assert (pruned.kept.files, pruned.kept.events) == (0, 0)
    assert db.count_entities()["files"] == db.count_entities()["events"] == 0
    assert not list(db.store.ids())
    at_hub = {record.file_id for record in hub.db.iterate_files() if record.file_id}
    assert {each.hex: hashlib.sha256(content_of(hub.db, each)).hexdigest() for each in at_hub} == digests
    assert hub.db.count_entities()["events"] == 8
    assert hub.db.verify(deep=True, orphan_grace=timedelta(0)).is_clean


@pytest.mark.contract("issue-3.5/prune-exports")
@pytest.mark.engines("sqlite")
def test_nothing_goes_while_the_hub_is_away(db: MeteorDatabase, tmp_path: Path) -> None:
    add_statuses(db)
    with_files = add_event(db, tmp_path, 50)
    add_file(db, tmp_path, 1)
    with socket.socket() as nobody:
        nobody.bind((LOOPBACK, 0))
        export_to(db, f"http://{LOOPBACK}:{nobody.getsockname()[1]}/import")
        exporter = MeteorExporter(db, timeouts=SHORT, max_failures_before_disable=1)
        exporter.run_round()
        exporter.close()

    report = db.prune(RetentionRule(keep_frames_days=30, keep_events_days=60, ignore_disabled=True))

    assert any(state.suspended for state in db.get_export_states())
    assert not report.deleted
    assert db.count_entities()["files"] == 1 + len(with_files.file_records)
