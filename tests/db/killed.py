"""A process that dies of SIGKILL in the middle of storing or deleting.

Run as ``python -m tests.db.killed TASK STEP DB_PATH FILE_STORE SOURCE``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import event as engine_event

from meteorpi_db import MeteorDatabase
from meteorpi_db.records import contents
from meteorpi_db.retention import RetentionRule
from meteorpi_model import CameraStatus, FileRecordSearch
from tests.db.making import CAMERA, CONTENT, at, imported_event, new_file

FILE_ID = UUID(int=0x5EED)


def die(*_arguments: object, **_options: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`, followed by death."""

    def dying(*arguments: Any, **options: Any) -> None:
        step(*arguments, **options)
        die()

    return dying


def arrange(db: MeteorDatabase, step: str) -> None:
    """Make the process die at `step`."""
    if step == "content stored":
        db.store.put_file = then_die(db.store.put_file)  # type: ignore[method-assign]
        db.store.put = then_die(db.store.put)  # type: ignore[method-assign]
    elif step == "before commit":
        engine_event.listen(db.con, "commit", die)
    elif step == "after commit":
        db.transactions.write = then_die(db.transactions.write)  # type: ignore[method-assign]
    elif step == "before the source goes":
        contents.remove_source = die
    elif step == "after the source went":
        contents.remove_source = then_die(contents.remove_source)
    elif step == "one content removed":
        db.store.delete = then_die(db.store.delete)  # type: ignore[method-assign]


def register(db: MeteorDatabase, source: Path) -> None:
    db.add_file(new_file(), source, FILE_ID, move=True)


def delete(db: MeteorDatabase, _source: Path) -> None:
    db.set_high_water_mark(at(-1), CAMERA)


def take_in(db: MeteorDatabase, _source: Path) -> None:
    """Import an event whose content comes with it."""
    status: CameraStatus | None = db.get_camera_status(at(0), CAMERA)
    assert status is not None
    assert status.status_id is not None
    event = imported_event(status.status_id)
    event.event_id = event.file_records[0].file_id = FILE_ID
    db.store.put(FILE_ID, [CONTENT])
    db.import_event(event, "importer")


def prune(db: MeteorDatabase, _source: Path) -> None:
    db.prune(RetentionRule(keep_frames_days=1, keep_events_days=2))


TASKS = {"register": register, "delete": delete, "import": take_in, "prune": prune}


def main(task: str, step: str, db_path: str, store: str, source: str) -> None:
    with MeteorDatabase(db_path, store) as db:
        db.search_files(FileRecordSearch())
        arrange(db, step)
        TASKS[task](db, Path(source))


if __name__ == "__main__":
    main(*sys.argv[1:])
