"""Fills a small file system of its own with every way of writing; run by test_full_disk.py.

usage: python -m tests.filestore.full_disk MOUNT_POINT CAPTURE

Needs a mount namespace in which it may mount; prints what it saw as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from meteorpi_db.filestore import LocalFileStore
from meteorpi_model.errors import MeteorError

MEBIBYTE = 1 << 20
SIZE_MEBIBYTES = 8


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except MeteorError as error:
        return type(error).__name__
    return "stored"


def blocks(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number]) * MEBIBYTE


def main(mount_point: Path, capture: Path) -> dict[str, object]:
    options = f"size={SIZE_MEBIBYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount_point], check=True)
    store = LocalFileStore(mount_point / "store")
    store.prepare()
    kept, unfinished = uuid4(), uuid4()
    capture.write_bytes(b"".join(blocks(SIZE_MEBIBYTES + 2)))
    seen: dict[str, object] = {
        "fits": outcome(lambda: store.put(kept, blocks(2))),
        "put": outcome(lambda: store.put(uuid4(), blocks(SIZE_MEBIBYTES + 2))),
        "move from another file system": outcome(lambda: store.put_file(uuid4(), capture)),
        "capture": capture.stat().st_size,
        "left over": [path.name for path in store.root.iterdir() if path.name != kept.hex],
        "parts": outcome(lambda: store.parts(unfinished).append(0, blocks(SIZE_MEBIBYTES + 2))),
    }
    offset = store.parts(unfinished).offset
    seen["offset"] = offset
    seen["probe of a full store"] = outcome(lambda: store.check(probe=True))
    seen["kept"] = store.digests_of(kept).size
    store.delete(kept)
    rest = b"".join(blocks(7))[offset:]
    seen["resumed after room was made"] = outcome(lambda: store.parts(unfinished).append(offset, [rest]))
    seen["finished"] = outcome(lambda: store.parts(unfinished).finish(7 * MEBIBYTE))
    seen["content is right"] = b"".join(store.open(unfinished)) == b"".join(blocks(7))
    store.delete(unfinished)
    capture.write_bytes(b"".join(blocks(3)))
    seen["small capture"] = outcome(lambda: store.put_file(uuid4(), capture))
    seen["small capture moved"] = not capture.exists()
    return seen


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
