"""Backups while the node is at work: complete as of when they began, and clean when they are restored."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from meteorpi_model.errors import MeteorError
from tests.backup.conftest import Restore
from tests.backup.nodes import id_of
from tests.db.making import CAMERA, CONTENT, add_event, add_file, add_status, at, imported_event

SEED = 20150612
KEPT = 30
ORPHANS_AT_ONCE = timedelta(0)


class Load:
    """Threads that register, import and delete until told to stop; knows what was acknowledged."""

    def __init__(self, db: MeteorDatabase) -> None:
        self._db = db
        self._mutex = threading.Lock()
        self._stopped = threading.Event()
        self.kept: set[UUID] = set()
        self.steps = 0
        self.failures: list[BaseException] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """The load, for as long as the block takes."""
        works: list[Callable[[random.Random], object]] = [self._register, self._import, self._come_and_go]
        threads = [
            threading.Thread(target=self._go_on, args=(work, random.Random(SEED + number)))
            for number, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def acknowledged(self) -> set[UUID]:
        """Ids of what is stored and never deleted."""
        with self._mutex:
            return set(self.kept)

    def wait_for(self, steps: int) -> None:
        """Until so many more pieces of work are done."""
        wanted = self.steps + steps
        wait_until(lambda: self.steps >= wanted or bool(self.failures), 60, "more work")

    def _go_on(self, work: Callable[[random.Random], object], chance: random.Random) -> None:
        try:
            while not self._stopped.is_set():
                work(chance)
                with self._mutex:
                    self.steps += 1
        except MeteorError as error:
            self.failures.append(error)

    def _note(self, *ids: UUID) -> None:
        with self._mutex:
            self.kept.update(ids)

    def _register(self, chance: random.Random) -> None:
        self._note(id_of(add_file(self._db, 1, content=chance.randbytes(chance.randrange(3000)))))

    def _import(self, chance: random.Random) -> None:
        status = self._db.get_camera_status(at(0), CAMERA)
        assert status is not None
        assert status.status_id is not None
        event = imported_event(status.status_id, 2, files=1)
        file_id = id_of(event.file_records[0])
        self._db.store.put(file_id, [CONTENT])
        self._db.import_event(event, "importer")
        self._note(id_of(event), file_id)

    def _come_and_go(self, chance: random.Random) -> None:
        """What is deleted again: files, and events with their files."""
        records = [add_file(self._db, 3, content=uuid4().bytes) for _ in range(3)]
        event = add_event(self._db, 4, records[:2])
        self._db.delete_file(id_of(records[2]))
        self._db.delete_event(id_of(event), with_files=True)


@pytest.mark.contract("issue-3.5/backup", "issue-3.5/restore")
def test_backup_under_load_restores_to_a_clean_node_with_all_that_was_acknowledged(
    db: MeteorDatabase, new_database: Callable[[], str], restore: Restore, backups: Path, tmp_path: Path
) -> None:
    add_status(db)
    for number in range(KEPT):
        add_file(db, number, content=bytes([number]) * 1000)
    load = Load(db)
    expected: dict[str, set[UUID]] = {}

    with load.running():
        for _ in range(3):
            load.wait_for(6)
            before = load.acknowledged()
            report = db.backup_to(backups)
            assert report.is_complete, report.as_dict()
            expected[report.name] = before

    assert load.failures == []
    assert db.verify(deep=True).is_clean
    name, acknowledged = list(expected.items())[-1]
    restored = new_database()
    report_of_restore = restore(restored)
    assert report_of_restore.name == name
    assert report_of_restore.is_complete, report_of_restore.as_dict()
    with MeteorDatabase(restored, tmp_path / "restored-files") as node:
        held = {record.file_id for record in node.iterate_files()}
        held |= {event.event_id for event in node.iterate_events()}
        assert len(acknowledged) > 3
        assert acknowledged <= held
        assert node.count_entities()["files"] >= KEPT
        # An event whose files were deleted with it is not there without them.
        assert all(event.file_records for event in node.iterate_events())
        assert node.verify(deep=True, orphan_grace=ORPHANS_AT_ONCE).is_clean
