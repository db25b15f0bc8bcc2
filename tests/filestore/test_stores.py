"""Every store runs the whole contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from meteorpi_db.filestore import (
    Disk,
    FallbackFileStore,
    FileStore,
    LocalFileStore,
    MemoryFileStore,
    open_file_store,
)
from meteorpi_db.testing.filestore_contract import FileStoreContract
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
