"""How fast contents get into a local store, against the plainest durable write of the same machine.

Run by hand: ``python benches/bench_filestore.py [directory]``; one JSON line per case. The yardstick
``raw`` writes, flushes and renames a file of the same size and does nothing else: no digests, no directory
flush. Rounds of the yardstick and of the case alternate, so that a busy machine slows both alike.

Aims: ``ratio`` at least 0.6 at 3.7 MB and 0.3 at 100 KB for files taken over (``move``); with ``full``,
eight writers of 64 KiB reach at least 1.5 times the rate of one. On a disk that flushes more than about
700 MB a second MD5 alone takes longer than the yardstick, so a single caller cannot reach 0.6 there:
compare ``callers``, and ``hash_files_per_second``, the rate of one MD5 of the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import UUID

from meteorpi_db.filestore import Disk, FileStore, LocalFileStore
from meteorpi_db.filestore.disk import Durability

SEED = 20150612
ROUNDS = 9
ROUND_BYTES = 24_000_000
SIZES = (100_000, 3_700_000)
LEVELS: tuple[Durability, ...] = ("full", "data", "none")


class Case:
    """A way of storing one file; `prepare` is not timed."""

    def __init__(self, name: str, store: FileStore, data: bytes, directory: Path, callers: int = 1) -> None:
        self.name = name
        self.callers = callers
        self.store = store
        self.data = data
        self.directory = directory
        self.ids = random.Random(SEED)

    def prepare(self) -> list[tuple[UUID, Path]]:
        """The ids, and the files that a camera would have left, of one round."""
        work = []
        for number in range(max(4, ROUND_BYTES // len(self.data) // 2)):
            path = self.directory / f"capture-{number}"
            if self.name != "put":
                path.write_bytes(self.data)
            work.append((UUID(int=self.ids.getrandbits(128)), path))
        return work

    def write(self, file_id: UUID, path: Path) -> None:
        """Store one file."""
        if self.name == "raw":
            write_raw(path, self.directory / file_id.hex, self.data)
        elif self.name == "put":
            self.store.put(file_id, [self.data], size=len(self.data))
        else:
            self.store.put_file(file_id, path, move=self.name == "move")

    def clear(self, work: list[tuple[UUID, Path]]) -> None:
        """Remove what a round left."""
        for file_id, path in work:
            self.store.delete(file_id)
            path.unlink(missing_ok=True)
            (self.directory / file_id.hex).unlink(missing_ok=True)

    def rate(self) -> float:
        """Files per second of one round."""
        work = self.prepare()
        with ThreadPoolExecutor(self.callers) as pool:
            started = time.perf_counter()
            list(pool.map(self.write, *zip(*work, strict=True)))
            seconds = time.perf_counter() - started
        self.clear(work)
        return len(work) / seconds


def write_raw(temporary: Path, final: Path, data: bytes) -> None:
    """The yardstick: write, flush, rename."""
    with temporary.open("wb", buffering=0) as stream:
        stream.write(data)
        os.fsync(stream.fileno())
    temporary.rename(final)


@contextmanager
def local_store(parent: Path, durability: Durability) -> Iterator[tuple[LocalFileStore, Path]]:
    """A store and a directory for captures on the same file system."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-filestore-") as name:
        store = LocalFileStore(Path(name, "store"), disk=Disk(durability=durability))
        store.prepare()
        captures = Path(name, "captures")
        captures.mkdir()
        yield store, captures


def compare(parent: Path, name: str, size: int, durability: Durability, callers: int = 1) -> None:
    """Alternate rounds of one case and of the yardstick, and print both."""
    data = random.Random(SEED).randbytes(size)
    with local_store(parent, durability) as (store, captures):
        case, raw = Case(name, store, data, captures, callers), Case("raw", store, data, captures)
        rates = [(case.rate(), raw.rate()) for _ in range(ROUNDS)]
    report(
        case=name,
        size_bytes=size,
        durability=durability,
        callers=callers,
        hash_files_per_second=hash_rate(data),
        files_per_second=median(rate for rate, _ in rates),
        raw_files_per_second=median(rate for _, rate in rates),
        ratio=median(rate / raw_rate for rate, raw_rate in rates),
    )


def hash_rate(data: bytes) -> float:
    """Files per second of one thread that does nothing but MD5."""
    started = time.perf_counter()
    for _ in range(20):
        hashlib.md5(data, usedforsecurity=False)
    return 20 / (time.perf_counter() - started)


def count_writers(parent: Path, writers: int, durability: Durability) -> None:
    """Objects of 64 KiB per second by several threads at once."""
    data = random.Random(SEED).randbytes(1 << 16)
    numbers = random.Random(SEED)
    ids = [UUID(int=numbers.getrandbits(128)) for _ in range(1200)]
    with local_store(parent, durability) as (store, _), ThreadPoolExecutor(writers) as pool:
        started = time.perf_counter()
        list(pool.map(lambda file_id: store.put(file_id, [data]), ids))
        seconds = time.perf_counter() - started
    report(
        case="writers",
        size_bytes=len(data),
        durability=durability,
        writers=writers,
        files_per_second=len(ids) / seconds,
    )


def report(**values: float | int | str) -> None:
    """One JSON line."""
    print(
        json.dumps(
            {
                "bench": "filestore",
                **{
                    name: round(value, 3) if isinstance(value, float) else value
                    for name, value in values.items()
                },
            }
        ),
        flush=True,
    )


def main() -> None:
    """Run all cases below the directory given, or the current one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path.cwd(), help="on the disk to measure")
    parent = parser.parse_args().directory
    for size in SIZES:
        for name in ("move", "copy", "put"):
            for durability in LEVELS:
                compare(parent, name, size, durability)
        compare(parent, "move", size, "full", callers=2)
    for durability in LEVELS:
        for writers in (1, 8):
            count_writers(parent, writers, durability)


if __name__ == "__main__":
    main()
