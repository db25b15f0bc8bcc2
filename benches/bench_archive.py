"""Archives without a server: planning, packing to a pipe against other packers, ranges, memory.

Run by hand: ``python benches/bench_archive.py [directory]``, best on a memory file system; one JSON line per
case. Rounds of all packers alternate, so that a busy machine slows them alike; ``ratio`` is the median of our
rate over theirs, round by round. All packers store, write to a pipe that ``cat`` empties, and find or
check the CRC-32 of every content; ours reads once as files of a directory and once as file records.

Aims (P1, P2, P4 and P5 of the archive contract): ``first_byte_ms`` at most 100 for 20,000 rows in memory;
``ratio`` against zipstream-ng at least 1.25 for 1,000 files of 1 MiB, and 1.8 for 20,000 of 10 KiB; the last
MiB of 0.5 GB within 30 ms and a byte in its middle within 15 ms, with at most 64 KiB read beside them;
``bytes_per_entry`` at most 1024 and ``growth_mb`` of a download of 20 GB at most 8.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from uuid import UUID

from meteorpi_db.filestore import Disk, LocalFileStore
from meteorpi_server.archiving import Entry, Plan
from meteorpi_server.archiving.entry_names import Names, clean_name
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import Chunks, PathSource, RecordSource, Source

SEED = 20151213
ROUNDS = 7
MTIME = 1_450_000_000
SETS = ((1000, 1 << 20), (20_000, 10 << 10))
ENTRIES = 20_000
HUGE_BYTES = 20 * 10**9

Row = tuple[str, str, int, int, int]


def rows(count: int) -> list[Row]:
    """What a search gives: name, id, size, CRC and time of each file."""
    chance = random.Random(SEED)
    return [
        (
            f"cam-{number % 7}/2015-12-{number % 28 + 1:02d}/{number:06d}.jpg",
            f"{chance.getrandbits(128):032x}",
            10240,
            chance.getrandbits(32),
            MTIME + number,
        )
        for number in range(count)
    ]


def planned(found: Iterable[Row]) -> Plan:
    """A plan of those rows, with names cleaned and told apart."""
    names = Names()
    return Plan(
        tuple(
            Entry(
                name=names.of_file(clean_name(name, index)),
                kind="record",
                reference=file_id,
                size=size,
                crc=crc,
                mtime=mtime,
            )
            for index, (name, file_id, size, crc, mtime) in enumerate(found)
        )
    )


class ZeroSource(Source):
    """Contents of zeros, which cost nothing, counted."""

    read_bytes = 0

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        """Zeros."""
        return self._zeros((entry.size or 0 if stop is None else stop) - start)

    def _zeros(self, left: int) -> Generator[bytes]:
        block = bytes(1 << 18)
        while left:
            chunk = block[:left]
            left -= len(chunk)
            self.read_bytes += len(chunk)
            yield chunk

    def check(self, entry: Entry) -> None:
        """They are always there."""


def milliseconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of `work` by `clock`, after a first, uncounted time."""
    times = []
    work()
    for _ in range(ROUNDS):
        started = clock()
        made = work()
        times.append((clock() - started) * 1000)
        del made  # not while the clock runs: by then the first byte has left
    return median(times)


def bench_planning() -> None:
    """P1: to the first byte, from rows and from what a ticket keeps."""
    found = rows(ENTRIES)
    content = bytes(10240)
    crc = zlib.crc32(content)
    found = [(*row[:3], crc, row[4]) for row in found]
    stored = planned(found).to_bytes()

    def first_byte(plan: Plan) -> object:
        plan.layout  # noqa: B018 - Content-Length, of every answer
        chunks = send(plan, {"record": ZeroSource()})
        next(chunks)
        return chunks

    report(
        case="planning",
        entries=ENTRIES,
        first_byte_ms=milliseconds(lambda: first_byte(planned(found))),
        first_byte_cpu_ms=milliseconds(lambda: first_byte(planned(found)), time.process_time),
        etag_ms=milliseconds(lambda: planned(found).etag) - milliseconds(lambda: planned(found).layout),
        to_bytes_ms=milliseconds(planned(found).to_bytes),
        first_byte_of_ticket_ms=milliseconds(lambda: first_byte(Plan.from_bytes(stored))),
        first_byte_of_ticket_cpu_ms=milliseconds(
            lambda: first_byte(Plan.from_bytes(stored)), time.process_time
        ),
        ticket_bytes=len(stored),
    )


class Files:
    """Files of one size in a directory, and the same contents in a file store."""

    def __init__(self, directory: Path, count: int, size: int) -> None:
        self.directory, self.count, self.size = directory, count, size
        self.store = LocalFileStore(directory / "store", disk=Disk(durability="none"))
        self.store.prepare()
        chance = random.Random(SEED)
        by_path, by_id = [], []
        (directory / "files").mkdir()
        for number in range(count):
            content = chance.randbytes(size)
            name, file_id = f"{number:06d}.bin", UUID(int=chance.getrandbits(128))
            (directory / "files" / name).write_bytes(content)
            self.store.put(file_id, [content])
            facts = {"name": name, "size": size, "crc": zlib.crc32(content), "mtime": MTIME}
            by_path.append(Entry(kind="path", reference=name, **facts))  # type: ignore[arg-type]
            by_id.append(Entry(kind="record", reference=file_id.hex, **facts))  # type: ignore[arg-type]
        self.paths, self.records = Plan(tuple(by_path)), Plan(tuple(by_id))

    def packers(self) -> dict[str, Callable[[], Iterable[bytes]]]:
        """Ways of packing them, each giving the bytes of an archive."""
        by_path = {"path": PathSource(self.directory / "files")}
        by_id = {"record": RecordSource(self.store)}
        found: dict[str, Callable[[], Iterable[bytes]]] = {
            "ours-path": lambda: send(Plan(self.paths.entries), by_path),
            "ours-record": lambda: send(Plan(self.records.entries), by_id),
        }
        if find_spec("zipstream"):
            found["zipstream-ng"] = self.by_zipstream
        if find_spec("stream_zip"):
            found["stream-zip"] = self.by_stream_zip
        return found

    def by_zipstream(self) -> Iterable[bytes]:
        """The most used packer that streams."""
        from zipstream import ZipStream

        packer = ZipStream(sized=True)
        for entry in self.paths.entries:
            packer.add_path(str(self.directory / "files" / entry.name), entry.name)
        found: Iterable[bytes] = packer
        return found

    def by_stream_zip(self) -> Iterable[bytes]:
        """A packer that is given size and CRC, as ours is."""
        from stream_zip import NO_COMPRESSION_64, stream_zip

        modified = datetime.fromtimestamp(MTIME, UTC)
        found: Iterable[bytes] = stream_zip(
            (
                entry.name,
                modified,
                0o100644,
                NO_COMPRESSION_64(entry.size or 0, entry.crc or 0),
                chunks_of(self.directory / "files" / entry.name),
            )
            for entry in self.paths.entries
        )
        return found


def chunks_of(path: Path) -> Iterator[bytes]:
    """The content of a file."""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(1 << 18):
            yield chunk


@contextmanager
def drain() -> Iterator[int]:
    """A pipe that is emptied; leaving waits until it is."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as cat:
        assert cat.stdin is not None
        yield cat.stdin.fileno()


def seconds_of(pack: Callable[[], Iterable[bytes]]) -> float:
    """How long the whole archive takes to get through a pipe."""
    with drain() as descriptor:
        started = time.perf_counter()
        for chunk in pack():
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
    return time.perf_counter() - started


def seconds_of_zip(files: Files) -> float:
    """The same of the program ``zip``."""
    names = "\n".join(entry.name for entry in files.paths.entries).encode()
    started = time.perf_counter()
    with drain() as descriptor:
        command = ["zip", "-0", "-q", "-", "-@"]
        subprocess.run(command, input=names, stdout=descriptor, cwd=files.directory / "files", check=True)
    return time.perf_counter() - started


def bench_packing(parent: Path, count: int, size: int) -> None:
    """P2: to a pipe, against other packers."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-archive-") as name:
        files = Files(Path(name), count, size)
        packers = files.packers()
        times: dict[str, list[float]] = {each: [] for each in packers}
        times["zip"] = []
        for number in range(ROUNDS + 1):
            for each, pack in packers.items():
                times[each].append(seconds_of(pack))
            times["zip"].append(seconds_of_zip(files))
            if number == 0:
                times = {each: [] for each in times}  # the first round warms caches
        for ours in ("ours-path", "ours-record"):
            ratios = {
                f"ratio_{each}": median(
                    theirs / mine for theirs, mine in zip(spent, times[ours], strict=True)
                )
                for each, spent in times.items()
                if not each.startswith("ours")
            }
            rate = count * size / 1e6 / median(times[ours])
            report(case=ours, files=count, size_bytes=size, mb_per_second=rate, **ratios)


def bench_ranges(parent: Path) -> None:
    """P4: parts of 0.5 GB, from what a ticket keeps."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-archive-") as name:
        files = Files(Path(name), 500, 1 << 20)
        stored = files.records.to_bytes()
        source = RecordSource(files.store)
        total = files.records.layout.total

        def fetch(start: int, stop: int) -> None:
            assert (
                sum(map(len, send(Plan.from_bytes(stored), {"record": source}, start, stop))) == stop - start
            )

        report(
            case="ranges",
            archive_mb=total / 1e6,
            last_mib_ms=milliseconds(lambda: fetch(total - (1 << 20), total)),
            middle_byte_ms=milliseconds(lambda: fetch(total // 2, total // 2 + 1)),
            extra_bytes=extra_bytes(files.records),
        )


def extra_bytes(plan: Plan) -> int:
    """Bytes of contents that are read beside those asked for, over some parts."""
    worst = 0
    chance = random.Random(SEED)
    for length in (1, 1000, 1 << 20, 10 << 20):
        source = ZeroSource()
        start = chance.randrange(plan.layout.directory_start - length)
        blank = Plan(tuple(each_with(entry, zlib.crc32(bytes(entry.size or 0))) for entry in plan.entries))
        for _ in send(blank, {"record": source}, start, start + length):
            pass
        worst = max(worst, source.read_bytes - length)
    return worst


def each_with(entry: Entry, crc: int) -> Entry:
    """The same entry for another content."""
    return Entry(name=entry.name, kind=entry.kind, size=entry.size, crc=crc, mtime=entry.mtime)


def bench_memory() -> None:
    """P5: of a plan in use, and of a long download."""
    stored = planned(rows(10 * ENTRIES)).to_bytes()
    tracemalloc.start()
    plan = Plan.from_bytes(stored)
    plan.layout  # noqa: B018 - it is part of what is held
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    report(case="plan", entries=len(plan.entries), bytes_per_entry=held / len(plan.entries))
    done = subprocess.run([sys.executable, __file__, "--huge"], check=True, capture_output=True, text=True)
    print(done.stdout, end="", flush=True)


def bench_huge() -> None:
    """A download of 20 GB in a process of its own, whose memory nobody else uses."""
    count = 20
    size = HUGE_BYTES // count
    crc = 0
    block = bytes(1 << 20)
    for _ in range(size >> 20):
        crc = zlib.crc32(block, crc)
    crc = zlib.crc32(bytes(size & ((1 << 20) - 1)), crc)
    plan = Plan(
        tuple(
            Entry(name=f"{number}.bin", kind="record", size=size, crc=crc, mtime=MTIME)
            for number in range(count)
        )
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    sent = sum(map(len, send(plan, {"record": ZeroSource()})))
    seconds = time.perf_counter() - started
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    report(case="huge", archive_mb=sent / 1e6, growth_mb=growth, mb_per_second=sent / 1e6 / seconds)


def report(**values: float | int | str) -> None:
    """One JSON line."""
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}
    accelerated = find_spec("isal") is not None
    print(json.dumps({"bench": "archive", "accelerated": accelerated, **rounded}), flush=True)


def main() -> None:
    """Run all cases below the directory given, or the shared memory of the system."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path("/dev/shm"), help="for the files")
    parser.add_argument("--huge", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.huge:
        bench_huge()
        return
    bench_planning()
    for count, size in SETS:
        bench_packing(options.directory, count, size)
    bench_ranges(options.directory)
    bench_memory()


if __name__ == "__main__":
    main()
