"""A database on a disk that really is full: a small tmpfs in a mount namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, insert

from meteorpi_db.connections import Transactions
from meteorpi_db.migrations import ensure_schema
from meteorpi_model.errors import StoreFullError
from tests.db import workers
from tests.db.workers import entries_in, entry, tell
from tests.filestore.test_full_disk import own_namespace

DISK_MEBIBYTES = 12
BATCH = 500


def write_until_full(transactions: Transactions) -> int:
    """Write row after row; how many were acknowledged before the disk was full."""
    written = 0

    def operation(connection: Connection) -> None:
        connection.execute(insert(entry), [{"author": uuid4().hex * 2} for _ in range(BATCH)])

    while True:
        try:
            transactions.write(operation)
        except StoreFullError:
            return written
        written += BATCH


def main(mount_point: Path, name: str) -> None:
    options = f"size={DISK_MEBIBYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount_point], check=True)
    ballast = mount_point / "ballast"
    with closing(workers.open_plainly(str(mount_point / name))) as transactions:
        ensure_schema(transactions, schema=workers.SCHEMA)
        ballast.write_bytes(bytes((DISK_MEBIBYTES << 20) * 3 // 5))
        written = write_until_full(transactions)
        readable = entries_in(transactions)
        ballast.unlink()
        transactions.write(lambda found: found.execute(insert(entry).values(author="room again")))
        tell(f"{written > 0} {readable - written} {entries_in(transactions) - written}")


@pytest.mark.contract("faults/full-disk")
@pytest.mark.parametrize("name", ["full.db", "full.fdb"])
def test_full_disk_keeps_what_was_acknowledged_and_goes_on_with_room(
    name: str, tmp_path: Path, repository: Path
) -> None:
    done = subprocess.run(
        [*own_namespace(), sys.executable, "-m", __spec__.name, str(tmp_path), name],
        capture_output=True,
        text=True,
        cwd=repository,
        timeout=300,
    )

    assert done.stderr == ""
    assert done.stdout.split() == ["True", "0", "1"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
