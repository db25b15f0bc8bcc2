"""What makes archives fast, in what can be counted: how often anything is opened, read and computed.

How fast that is, ``benches/bench_archive.py`` and ``benches/bench_archive_http.py`` measure.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import ContentReader, MemoryFileStore
from meteorpi_server.archiving import Entry, Form, Plan, ZipLayout
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import RecordSource
from tests.archive.conftest import ArchiveNode
from tests.archive.plans import MTIME, filling

COUNT = 300
SIZE = 1500
ALLOWANCE = 64 * 1024
LARGE = 200_000


class CountingStore(MemoryFileStore):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[UUID] = []
        self.read_bytes = 0
        self.stats = 0
        self.size_rounds = 0

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        self.opened.append(file_id)
        reader = super().open(file_id, start, stop)
        count = self.count

        class Counted(ContentReader):
            def __next__(self) -> bytes:
                return count(super().__next__())

        reader.__class__ = Counted
        return reader

    def count(self, chunk: bytes) -> bytes:
        self.read_bytes += len(chunk)
        return chunk

    def sizes(self, names: Iterable[str]) -> Iterator[int | None]:
        self.size_rounds += 1
        return super().sizes(names)


def filled(store: CountingStore, count: int, size: int) -> Plan:
    """A plan of contents of `store`, read back from what a ticket keeps."""
    entries = []
    for number in range(count):
        content, file_id = filling(size + number, number), uuid4()
        store.put(file_id, [content])
        entries.append(
            Entry(
                name=f"{number:05d}.bin",
                kind="record",
                reference=file_id.hex,
                size=len(content),
                crc=zlib.crc32(content),
                mtime=MTIME,
            )
        )
    return Plan.from_bytes(Plan(tuple(entries)).to_bytes())


@pytest.mark.contract("archive-P1", "archive-3.8/flow")
def test_first_byte_opens_one_content_however_many_there_are() -> None:
    store = CountingStore()
    plan = filled(store, COUNT, SIZE)

    chunks = send(plan, {"record": RecordSource(store)})
    first = next(chunks)
    chunks.close()

    assert first
    assert len(store.opened) == 1


@pytest.mark.contract("archive-P1")
def test_plan_of_a_ticket_knows_its_tag_without_writing_its_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = filled(CountingStore(), COUNT, SIZE)
    fresh = Plan(made.entries, made.comment)
    expected = fresh.etag
    stored = fresh.to_bytes()

    def walk(*_: object) -> Iterator[bytes]:
        pytest.fail("the directory is written for its tag")

    monkeypatch.setattr(ZipLayout, "pieces", walk)

    assert Plan.from_bytes(stored).etag == expected is not None


@pytest.mark.contract("archive-3.8/etag")
def test_tag_of_another_layout_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(filled(CountingStore(), 3, SIZE).entries)
    with monkeypatch.context() as older_software:
        older_software.setattr("meteorpi_server.archiving.zip_format.LAYOUT_VERSION", 0)
        stored = plan.to_bytes()
        older = plan.etag

    assert Plan.from_bytes(stored).etag == Plan(plan.entries).etag != older


@pytest.mark.contract("archive-P1", "archive-3.12/before")
def test_contents_are_looked_for_all_at_once() -> None:
    store = CountingStore()
    plan = filled(store, COUNT, SIZE)
    gone, other = plan.entries[7], replace(plan.entries[9], size=5)
    store.delete(UUID(gone.reference))
    entries = [other if index == 9 else entry for index, entry in enumerate(plan.entries)]

    assert list(RecordSource(store).gone(entries)) == [gone, other]
    assert store.size_rounds == 1
    assert store.opened == []


@pytest.mark.contract("archive-P2")
@pytest.mark.parametrize("size", [SIZE, LARGE])
def test_whole_archive_reads_every_content_once(size: int) -> None:
    store = CountingStore()
    plan = filled(store, 20, size)

    sent = sum(map(len, send(plan, {"record": RecordSource(store)})))

    assert sent == plan.total_bytes
    assert store.opened == [UUID(entry.reference) for entry in plan.entries]
    assert store.read_bytes == sum(entry.size or 0 for entry in plan.entries)


@pytest.mark.contract("archive-P4", "archive-4.5")
def test_part_reads_hardly_more_than_it_gives() -> None:
    store = CountingStore()
    plan = filled(store, 20, LARGE)
    total = plan.layout.total
    chance = random.Random(4)

    for length in (1, 1000, LARGE, 1 << 20):
        for start in (0, total - length, *(chance.randrange(total - length) for _ in range(20))):
            before, opened = store.read_bytes, len(store.opened)
            part = b"".join(send(plan, {"record": RecordSource(store)}, start, start + length))
            assert len(part) == length
            assert store.read_bytes - before <= length + ALLOWANCE
            assert len(store.opened) - opened <= length // LARGE + 2


@pytest.mark.engines("sqlite")
@pytest.mark.contract("archive-3.5/crc")
def test_checksums_of_records_are_never_computed_for_a_plan(
    make_archive_node: Callable[..., ArchiveNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_archive_node()
    node.add_files()
    monkeypatch.setattr(type(node.db.store), "open", lambda *_, **__: pytest.fail("a content is read"))
    monkeypatch.setattr(type(node.db.store), "read", lambda *_, **__: pytest.fail("a content is read"))

    made = node.ticket([{"search": {}}])

    assert made["resumable"]
    assert Form.STORED in {entry.form for entry in plan_of(node, made["id"]).entries}


def plan_of(node: ArchiveNode, ticket_id: str) -> Plan:
    return Plan.from_bytes(node.register.ticket_plan(UUID(ticket_id)))
