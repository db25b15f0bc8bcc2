"""Contract of file stores: broken sources, many threads, deleted contents, and the store as a whole."""

# The names of the tests say the behaviour, as everywhere.
# ruff: noqa: D102

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import CHUNK_BYTES, FileStore
from meteorpi_db.testing.filestore_samples import (
    CONTENT,
    LARGE,
    CutOffError,
    StoreUnderTest,
    cut_off,
    outcome,
    read,
    status_of_fork,
    writes,
)
from meteorpi_model.errors import (
    ConflictError,
)


class SharingContract(StoreUnderTest):
    """A part of :class:`~meteorpi_db.testing.filestore_contract.FileStoreContract`."""

    @pytest.mark.contract("S-105", "S-106")
    @pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
    def test_broken_source_stores_nothing_and_its_error_passes(
        self, store: FileStore, content: bytes
    ) -> None:
        file_id = uuid4()
        free = store.free_bytes()

        with pytest.raises(CutOffError):
            store.put(file_id, cut_off(content))

        assert store.stat(file_id) is None
        assert list(store.ids()) == []
        if "persistent" not in store.capabilities:
            assert store.free_bytes() == free

    @pytest.mark.contract("S-106")
    def test_os_errors_of_the_source_are_not_taken_for_the_stores(self, store: FileStore) -> None:
        def source() -> Iterator[bytes]:
            yield CONTENT
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            store.put(uuid4(), source())

    @pytest.mark.contract("S-103")
    def test_reader_finishes_although_the_content_is_deleted(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [LARGE])

        with store.open(file_id) as chunks:
            begin = next(chunks)
            store.delete(file_id)
            store.put(file_id, [CONTENT])
            rest = b"".join(chunks)

        assert begin + rest == LARGE
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-104")
    def test_one_of_many_writers_wins_and_all_are_told(self, store: FileStore) -> None:
        writers = 8
        barrier = threading.Barrier(writers)
        for _ in range(5):
            file_id = uuid4()
            contents = [bytes([number]) * 50_000 for number in range(writers)]

            def write(content: bytes, file_id: UUID = file_id) -> type[Exception] | None:
                barrier.wait()
                return outcome(lambda: store.put(file_id, [content[:1], content[1:]]))

            with ThreadPoolExecutor(writers) as pool:
                outcomes = list(pool.map(write, contents))

            assert sorted(map(str, outcomes)) == sorted(map(str, [None] + [ConflictError] * (writers - 1)))
            assert read(store, file_id) == contents[outcomes.index(None)]

    @pytest.mark.contract("S-102")
    @pytest.mark.parametrize("way", ["put", "put_file"])
    def test_memory_does_not_grow_with_the_content(self, store: FileStore, tmp_path: Path, way: str) -> None:
        if "persistent" not in store.capabilities:
            pytest.skip("contents are kept in memory")
        file_id, count = uuid4(), 48
        path = tmp_path / "large"
        with path.open("wb") as stream:
            stream.writelines(repeat(bytes(CHUNK_BYTES), count))
        chunks: Iterable[bytes] = (bytes(CHUNK_BYTES) for _ in range(count))

        tracemalloc.start()
        try:
            store.put(file_id, chunks) if way == "put" else store.put_file(file_id, path, move=False)
            store.digests_of(file_id)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < self.most_bytes

    @pytest.mark.contract("S-107")
    def test_many_threads_share_one_store(self, store: FileStore) -> None:
        def work(number: int) -> bool:
            file_id, content = uuid4(), bytes([number]) * (number * 1000)
            store.put(file_id, [content])
            same = read(store, file_id) == content
            return same and store.delete(file_id) and store.stat(file_id) is None

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(64)))

        assert list(store.ids()) == []

    @pytest.mark.contract("B.1")
    def test_contents_survive_a_restart(self, store: FileStore) -> None:
        file_id = uuid4()
        stored = store.put(file_id, [CONTENT])

        again = self.reopen(store)

        assert list(again.ids()) == [file_id]
        assert again.digests_of(file_id).sha256 == stored.sha256

    @pytest.mark.contract("B.1/check")
    def test_check_passes_and_leaves_nothing_behind(self, store: FileStore) -> None:
        store.check()
        store.check(probe=True)

        assert list(store.ids()) == []

    @pytest.mark.contract("B.1/free_bytes")
    def test_free_bytes_is_a_number_or_unknown(self, store: FileStore) -> None:
        free = store.free_bytes()

        assert free is None or free >= 0

    @pytest.mark.contract("B.1/url", "B.1/capabilities")
    def test_url_is_there_exactly_where_it_is_promised(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        assert (store.url(file_id) is not None) == ("presign" in store.capabilities)

    @pytest.mark.contract("B.1")
    def test_preparing_again_is_harmless(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        store.prepare()

        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-107")
    def test_store_works_after_fork(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])
        release = threading.Event()

        def hold() -> Iterator[bytes]:
            yield CONTENT
            release.wait(30)

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(store.put, uuid4(), hold())
            status = status_of_fork(lambda: read(store, file_id) == CONTENT and writes(store))
            release.set()
            writing.result()

        assert status == 0
