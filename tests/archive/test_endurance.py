"""What archives leave behind, and what they hold meanwhile: nothing that grows.

Source:
    Bar P5 and section 6.8 of the archive contract.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import threading
import tracemalloc
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from meteorpi_db.filestore.crc import crc32
from meteorpi_db.testing.processes import wait_until
from meteorpi_server.archiving import Entry, Form, Plan
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import Chunks, PathSource, Source, file_identity
from tests.archive.conftest import ArchiveNode
from tests.archive.plans import MTIME, SOURCES, text_entry

GIBIBYTE = 1 << 30
MEBIBYTE = 1 << 20
SECONDS = 60
ABANDONED = 200
AT_HAND = (Form.STORED, Form.BLOCKS, Form.DEFLATED)
SQLITE = (".db", "-wal", "-shm")


class Zeros(Source):
    """Contents of nothing but zeros, of any size."""

    block = bytes(1 << 18)

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        return self.blocks((stop or 0) - start)

    def blocks(self, length: int) -> Generator[bytes]:
        for _ in range(length // len(self.block)):
            yield self.block
        if rest := length % len(self.block):
            yield self.block[:rest]

    def check(self, entry: Entry) -> None:
        """They are always there."""


@contextmanager
def memory_watched() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def sparse_entries(directory: Path, count: int) -> tuple[Entry, ...]:
    """Entries of files of a gibibyte each, none of which takes room."""
    crc, block = 0, bytes(MEBIBYTE)
    for _ in range(GIBIBYTE // MEBIBYTE):
        crc = crc32(block, crc)
    found = []
    for number in range(count):
        path = directory / f"{number:02d}.bin"
        with path.open("wb") as stream:
            stream.truncate(GIBIBYTE)
        details = file_identity(path.stat())
        found.append(
            Entry(
                name=path.name,
                kind="path",
                reference=path.name,
                size=GIBIBYTE,
                crc=crc,
                mtime=MTIME,
                details=details,
            )
        )
    return tuple(found)


@pytest.mark.contract("archive-6.8", "archive-P5", "archive-3.8/flow")
def test_archive_of_20_gigabytes_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    """All of it from blocks that cost nothing to read, and parts of it from files that take no room."""
    plan = Plan(sparse_entries(tmp_path, 19))
    total = plan.layout.total
    assert total > 20_000_000_000
    files = open_files()

    with memory_watched():
        sent = largest = 0
        for chunk in send(plan, {"path": Zeros()}):
            sent += len(chunk)
            largest = max(largest, len(chunk))
        chance = random.Random(68)
        for start in [0, total - MEBIBYTE, *(chance.randrange(total - MEBIBYTE) for _ in range(100))]:
            part = send(plan, {"path": PathSource(tmp_path)}, start, start + MEBIBYTE)
            assert sum(map(len, part)) == MEBIBYTE
        _, peak = tracemalloc.get_traced_memory()

    assert sent == total
    assert largest <= 1 << 18
    assert peak < 2 * MEBIBYTE  # the bar is 8
    assert open_files() == files


@pytest.mark.contract("archive-6.8", "archive-P5")
def test_plan_of_200000_entries_takes_less_than_a_kibibyte_for_each() -> None:
    count = 200_000
    stored = Plan(
        tuple(
            Entry(
                name=f"aabbccddeeff/2015-12-13/{number:06d}.jpg",
                kind="record",
                reference=f"{number * 0x9E3779B97F4A7C15:032x}"[-32:],
                size=10_000 + number,
                crc=number,
                mtime=MTIME + number,
            )
            for number in range(count)
        )
    ).to_bytes()

    with memory_watched():
        plan = Plan.from_bytes(stored)
        assert plan.layout.total == plan.total_bytes
        held, _ = tracemalloc.get_traced_memory()
        tail = b"".join(send(plan, {}, plan.layout.total - 100_000))
        after, _ = tracemalloc.get_traced_memory()

    assert tail[-22:-18] == b"PK\5\6"
    assert held < 1024 * count
    assert after - held < MEBIBYTE


@pytest.mark.contract("archive-6.8", "archive-defect-18")
def test_parts_given_up_leave_nothing_open() -> None:
    plan = Plan(tuple(text_entry(f"{n}.bin", bytes(300_000), form) for n in range(3) for form in AT_HAND))
    total = plan.layout.total
    threads, before = threading.active_count(), 0

    with memory_watched():
        for number in range(ABANDONED):
            if number == ABANDONED // 4:
                before, _ = tracemalloc.get_traced_memory()
            with closing(send(plan, SOURCES, number * total // ABANDONED)) as chunks:
                next(chunks, b"")
        after, _ = tracemalloc.get_traced_memory()

    assert after - before < MEBIBYTE // 4
    assert threading.active_count() == threads


@pytest.mark.engines("sqlite")
@pytest.mark.contract("archive-6.8", "archive-3.8/gone", "archive-defect-16", "archive-defect-18")
def test_200_downloads_given_up_leave_no_descriptor_thread_process_or_memory(
    make_archive_node: Callable[..., ArchiveNode], serve: Callable[[ArchiveNode], str], tmp_path: Path
) -> None:
    directory = tmp_path / "storage" / "0123456789abcdef"
    directory.mkdir(parents=True)
    (directory / "large.bin").write_bytes(os.urandom(8 * MEBIBYTE))
    node = make_archive_node(storage_path=str(directory.parent), max_active=8)
    record = node.add_file(os.urandom(8 * MEBIBYTE))
    assert record.file_id is not None
    made = node.ticket([{"record": record.file_id.hex}])
    parts = urlsplit(serve(node))
    assert parts.hostname is not None
    assert parts.port is not None
    address = parts.hostname, parts.port
    links = [made["href"], f"/archive/{directory.name}/"]

    give_up(address, links, 20)
    wait_until(lambda: not sending(tmp_path), SECONDS, "end of the downloads")
    files, threads = open_files(), threading.active_count()
    with memory_watched():
        give_up(address, links, ABANDONED)
        wait_until(lambda: not sending(tmp_path), SECONDS, "end of the downloads")
        wait_until(lambda: threading.active_count() <= threads, SECONDS, "end of the threads")
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()

    assert held < 4 * MEBIBYTE
    wait_until(lambda: len(open_files()) <= len(files), SECONDS, "end of the connections")
    assert not children()
    state = node.get(made["status_href"]).json
    assert state is not None
    assert state["active_downloads"] == 0


def give_up(address: tuple[str, int], links: list[str], count: int) -> None:
    """Begin downloads, take some of each, and leave."""
    for number in range(count):
        with socket.create_connection(address, timeout=SECONDS) as connection:
            request = f"GET {links[number % len(links)]} HTTP/1.1\r\nHost: node\r\n\r\n"
            connection.sendall(request.encode())
            answer = connection.recv(65_536)
            while b"200 OK" in answer and len(answer) < 100_000:
                answer += connection.recv(65_536)
            assert b" 200 " in answer or b" 503 " in answer  # the one before is not off the list yet
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def open_files() -> list[str]:
    """What this process holds open, but for the pool of the database, which has its own limit."""
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(entry.readlink()))
        except FileNotFoundError:
            continue  # the directory that is being read
    return sorted(name for name in names if "/proc/" not in name and not name.endswith(SQLITE))


def sending(directory: Path) -> list[str]:
    """Contents that are being read."""
    return [name for name in open_files() if name.startswith(str(directory))]


def children() -> list[str]:
    """Ids of processes that this one has started and that are still there."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]
