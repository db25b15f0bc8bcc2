"""How fast a node is backed up and restored, against ``cp`` and ``sync`` of the same files.

Run by hand: ``python benches/bench_backup.py [directory]``; one JSON line per case. ``first`` copies every
content, ``again`` finds that nothing is new, ``check`` reads the backup, ``restore`` checks it, brings
everything back and verifies it: it reads each content three times. ``rows`` is the part of the records alone,
for a table of many rows, on SQLite.

Aims: ``ratio`` of ``first`` to ``cp`` at least 0.5 at 1 MB, although each content is hashed and flushed by
itself; ``again`` at least 5,000 files a second; ``rows`` at least 50,000 a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, insert

from meteorpi_db import MeteorDatabase, NewFile, tables
from meteorpi_db.backup import Repository, check_snapshot
from meteorpi_model import CameraStatus, Location, Meta, NSString, Orientation

SEED = 20150612
SIZES = {1_000_000: 300, 30_000: 3000}
ROWS = 200_000
CAMERA = "bench0000001"


def make_node(db: MeteorDatabase, size_bytes: int, count: int) -> None:
    """Fill a node with files of one size."""
    status = CameraStatus("lens", "chip", None, "bench", Orientation(45, 180), Location(52, 0), CAMERA)
    db.update_camera_status(status, datetime(2020, 1, 1), CAMERA)
    new = NewFile(
        mime_type="image/png",
        semantic_type=NSString("frame"),
        file_time=datetime(2020, 1, 2),
        camera_id=CAMERA,
        metas=[Meta(NSString("skyClarity"), 1.5), Meta(NSString("text"), "x" * 20)],
    )
    chance = random.Random(SEED)
    for _ in range(count):
        db.add_file(new, [chance.randbytes(size_bytes)])


def seconds_of(action: Callable[[], object]) -> float:
    """How long `action` takes when nothing waits to be written before it."""
    os.sync()
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def report(case: str, size_bytes: int, count: int, seconds: float, copy_seconds: float) -> None:
    """Print one case."""
    figures = {
        "bench": "backup",
        "case": case,
        "size_bytes": size_bytes,
        "files": count,
        "seconds": round(seconds, 3),
        "megabytes_per_second": round(size_bytes * count / seconds / 1e6, 1),
        "files_per_second": round(count / seconds),
        "ratio": round(copy_seconds / seconds, 2),
    }
    print(json.dumps(figures), flush=True)


def measure(directory: Path, size_bytes: int, count: int) -> None:
    """All cases with files of one size."""
    files, backups, copy = (directory / name for name in ("files", "backups", "copy"))
    with MeteorDatabase(directory / "node.db", f"file://{files}?durability=none") as db:
        make_node(db, size_bytes, count)
    shell = f"cp -a '{files}' '{copy}' && sync -f '{copy}'"
    copied = seconds_of(lambda: subprocess.run(["bash", "-c", shell], check=True))
    report("cp", size_bytes, count, copied, copied)
    repository = Repository(backups)
    with MeteorDatabase(directory / "node.db", files) as db:
        report("first", size_bytes, count, seconds_of(lambda: db.backup_to(backups)), copied)
        report("again", size_bytes, count, seconds_of(lambda: db.backup_to(backups)), copied)
    checked = seconds_of(lambda: check_snapshot(repository, repository.find()))
    report("check", size_bytes, count, checked, copied)
    restored = seconds_of(
        lambda: MeteorDatabase.restore_from(
            backups, db_path=directory / "restored.db", file_store_path=directory / "restored"
        )
    )
    report("restore", size_bytes, count, restored, copied)


def measure_rows(directory: Path) -> None:
    """The records alone."""
    rows = [
        {"recorded_at": number, "actor": "a", "action": "b", "subject": str(number), "detail": "x" * 200}
        for number in range(ROWS)
    ]

    def operation(connection: Connection) -> None:
        connection.execute(insert(tables.audit_entry), rows)

    with MeteorDatabase(directory / "rows.db", directory / "no-files") as db:
        db.transactions.write(operation)
        seconds = seconds_of(lambda: db.backup_to(directory / "rows"))
    figures = {"bench": "backup", "case": "rows", "rows": ROWS, "rows_per_second": round(ROWS / seconds)}
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Measure in a directory that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory", nargs="?", help="where to measure; the disk counts")
    place = parser.parse_args().directory
    for size_bytes, count in SIZES.items():
        with tempfile.TemporaryDirectory(dir=place) as directory:
            measure(Path(directory), size_bytes, count)
    with tempfile.TemporaryDirectory(dir=place) as directory:
        measure_rows(Path(directory))


if __name__ == "__main__":
    main()
