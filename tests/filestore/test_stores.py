"""Every store runs the whole contract."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from meteorpi_db.filestore import (
    Disk,
    FallbackFileStore,
    FileStore,
    LocalFileStore,
    MemoryFileStore,
    open_file_store,
)
from meteorpi_db.filestore.measured import MeasuredFileStore, kind_of
from meteorpi_db.testing.filestore_contract import FileStoreContract
from meteorpi_model.errors import NotFoundError
from tests.filestore.disks import NoLinksDisk


@pytest.mark.contract("S-101", "B.1")
class TestFlatLocalFileStore(FileStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        store = LocalFileStore(tmp_path / "store")
        store.prepare()
        return store

    def reopen(self, store: FileStore) -> FileStore:
        return open_file_store(store.location)


@pytest.mark.contract("S-101", "S-125")
class TestTreeLocalFileStore(TestFlatLocalFileStore):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        store = LocalFileStore(tmp_path / "store", layout="tree")
        store.prepare()
        return store


@pytest.mark.contract("S-101", "S-121")
class TestLocalFileStoreWithoutFlushing(TestFlatLocalFileStore):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        store = LocalFileStore(tmp_path / "store", disk=Disk(durability="none"))
        store.prepare()
        return store


@pytest.mark.contract("S-101", "S-126")
class TestLocalFileStoreWithoutHardLinks(TestFlatLocalFileStore):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        store = LocalFileStore(tmp_path / "store", disk=NoLinksDisk(durability="none"))
        store.prepare()
        return store


@pytest.mark.contract("S-101", "B.1", "B.5")
class TestMemoryFileStore(FileStoreContract):
    @pytest.fixture
    def store(self) -> FileStore:
        return MemoryFileStore()


@pytest.mark.contract("S-101", "B.5")
class TestLimitedMemoryFileStore(FileStoreContract):
    @pytest.fixture
    def store(self) -> FileStore:
        return MemoryFileStore(limit_bytes=1 << 24)


@pytest.mark.contract("S-101", "S-111")
class TestFallbackFileStore(FileStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        store = FallbackFileStore(LocalFileStore(tmp_path / "new"), LocalFileStore(tmp_path / "old"))
        store.prepare()
        return store

    def reopen(self, store: FileStore) -> FileStore:
        assert isinstance(store, FallbackFileStore)
        return FallbackFileStore(
            open_file_store(store.primary.location), open_file_store(store.fallback.location)
        )


class Observed:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.seconds = 0.0
        self.bytes = 0

    def operation(self, kind: str, seconds: float) -> None:
        self.operations[kind] += 1
        self.seconds += seconds

    def received(self, size: int) -> None:
        self.bytes += size


@pytest.mark.contract("S-101")
class TestMeasuredFileStore(FileStoreContract):
    @pytest.fixture
    def store(self) -> FileStore:
        return MeasuredFileStore(MemoryFileStore(), Observed())


def test_nothing_of_a_store_is_left_out() -> None:
    whole = {name for name in vars(FileStore) if not name.startswith("_")}

    assert whole <= vars(MeasuredFileStore).keys()


def test_a_measured_content_comes_in_the_chunks_that_are_wanted() -> None:
    store, content_id = MeasuredFileStore(MemoryFileStore(), Observed()), UUID(int=1)
    store.put(content_id, [b"x" * 100_000])

    with store.open(content_id) as reader:
        reader.chunk_bytes = 1000
        assert len(next(reader)) == 1000


@pytest.mark.contract("K-171")
def test_what_a_store_does_is_counted() -> None:
    observed = Observed()
    store = MeasuredFileStore(FallbackFileStore(MemoryFileStore(), MemoryFileStore()), observed)
    content_id, other_id = UUID(int=1), UUID(int=2)

    store.put(content_id, [b"12", b"345"])
    store.stat(content_id)
    with store.open(content_id, 1) as reader:
        assert b"".join(reader) == b"2345"
    with store.open(content_id) as reader:
        next(reader)
    with pytest.raises(NotFoundError):
        store.open(other_id)
    parts = store.parts(other_id)
    parts.append(0, [b"1"])
    parts.finish(1)
    store.delete(content_id)

    assert observed.operations == {"store": 3, "meta": 1, "retrieve": 3, "delete": 1}
    assert observed.bytes == 6
    assert kind_of(store) == "memory"


@pytest.mark.contract("K-171")
def test_who_sends_or_takes_slowly_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    observed, clock = Observed(), [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    store = MeasuredFileStore(MemoryFileStore(), observed)

    def slowly() -> Iterator[bytes]:
        for chunk in (b"1", b"2"):
            clock[0] += 100
            yield chunk

    store.put(UUID(int=1), slowly())
    with store.open(UUID(int=1)) as reader:
        for _ in reader:
            clock[0] += 100

    assert (observed.operations, observed.seconds) == ({"store": 1, "retrieve": 1}, 0.0)
