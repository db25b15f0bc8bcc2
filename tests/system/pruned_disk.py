"""Prunes a node on a small file system of its own; run by test_pruning.py.

usage: python -m tests.system.pruned_disk MOUNT_POINT

Needs a mount namespace in which it may mount; prints what it saw as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from meteorpi_db import MeteorDatabase, NewEvent, NewFile
from meteorpi_db.retention import PruneReport, RetentionRule
from meteorpi_model import NSString
from meteorpi_model.errors import StoreFullError
from tests.db.making import CAMERA, START, add_status

MEBIBYTE = 1 << 20
SIZE_MEBIBYTES = 16


def picture(db: MeteorDatabase, minute: int, size_bytes: int = MEBIBYTE) -> UUID:
    new = NewFile(
        mime_type="image/png",
        semantic_type=NSString("frame"),
        file_time=START + timedelta(minutes=minute),
        camera_id=CAMERA,
    )
    file_id = db.add_file(new, [minute.to_bytes(1, "big") * size_bytes]).file_id
    assert file_id is not None
    return file_id


def fill(db: MeteorDatabase) -> int:
    """Add pictures until the disk is full; gives the number of them."""
    number = 0
    try:
        while True:
            picture(db, 100 + number)
            number += 1
    except StoreFullError:
        return number


def event_with(db: MeteorDatabase, minute: int) -> None:
    files = [picture(db, minute)]
    time = START + timedelta(minutes=minute)
    db.add_event(NewEvent(camera_id=CAMERA, event_time=time, event_type=NSString("m"), file_ids=files))


def seen_in(db: MeteorDatabase, report: PruneReport) -> dict[str, object]:
    times = [record.file_time for record in db.iterate_files() if record.file_time]
    return {
        "free": db.store.free_bytes(),
        "missing": report.missing_bytes,
        "files": report.total.files,
        "events": report.total.events,
        "left": sorted(
            (time - START) // timedelta(minutes=1) for time in times if isinstance(time, datetime)
        ),
        "clean": db.verify(deep=True, orphan_grace=timedelta(0)).is_clean,
    }


def main(mount_point: Path) -> dict[str, object]:
    options = f"size={SIZE_MEBIBYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount_point], check=True)
    wanted = RetentionRule(keep_free_bytes=5 * MEBIBYTE + 1)
    with MeteorDatabase(mount_point / "node.db", mount_point / "files") as db:
        add_status(db)
        event_with(db, 1)
        event_with(db, 2)
        filled = fill(db)
        seen: dict[str, object] = {"filled": filled, "frames": seen_in(db, db.prune(wanted))}
        seen["again"] = seen_in(db, db.prune(wanted))
        more = RetentionRule(keep_free_bytes=13 * MEBIBYTE + 1, prune_events_for_space=True)
        seen["events"] = seen_in(db, db.prune(more))
        picture(db, 200)
        seen["taken"] = db.count_entities()["files"]
    return seen


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1])), sys.stdout)
