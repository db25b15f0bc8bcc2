"""The contract of file stores as tests that any implementation can run.

Subclass, give it a store, and let pytest collect it::

    class TestMyFileStore(FileStoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyFileStore(tmp_path)

        def reopen(self, store):
            return MyFileStore(store.root)

A rule that a store cannot keep is skipped with a reason: override the test and call ``pytest.skip`` in it.
The tests carry the marker ``contract``, which a suite of another project declares in its settings.
Needs pytest, which comes with ``pip install 'meteorpi[dev]'`` and is imported by no other module here.

Source: S-101 of the storage contract.
"""

# The names of the tests say the behaviour, as everywhere.
# ruff: noqa: D102

from __future__ import annotations

import hashlib
import os
import stat
import threading
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import CHUNK_BYTES, ContentFacts, Digests, FileStore
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    IncompleteBodyError,
    InvalidDocumentError,
    MeteorError,
    NotFoundError,
)
from meteorpi_model.values import now

CONTENT = bytes(range(256)) * 40
LARGE = hashlib.shake_256(b"meteor").digest(3 * CHUNK_BYTES + 12345)


class CutOffError(Exception):
    """What the source of a broken upload raises in these tests."""


def facts(content: bytes) -> ContentFacts:
    """Size and digests, computed in the plainest way."""
    return ContentFacts(
        size=len(content),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(content).hexdigest(),
        crc32=zlib.crc32(content),
    )


def read(store: FileStore, file_id: UUID, start: int = 0, stop: int | None = None) -> bytes:
    """Everything that `store.open` gives."""
    with store.open(file_id, start, stop) as chunks:
        return b"".join(chunks)


def cut_off(content: bytes) -> Iterator[bytes]:
    """`content`, and then the connection breaks."""
    yield content
    raise CutOffError


def outcome(action: Callable[[], object]) -> type[Exception] | None:
    """The class of the error that `action` raises, None when it does not."""
    try:
        action()
    except MeteorError as error:
        return type(error)
    return None


class FileStoreContract:
    """Tests that every file store passes; the subclass has a fixture ``store``, prepared and empty."""

    def reopen(self, store: FileStore) -> FileStore:
        """The same store as a process started later sees it; override where contents outlive the process."""
        pytest.skip(f"{type(store).__name__} keeps nothing beyond its process")

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize("content", [b"", b"x", CONTENT, LARGE], ids=["empty", "byte", "small", "large"])
    def test_content_comes_back_with_its_size_and_digests(self, store: FileStore, content: bytes) -> None:
        file_id = uuid4()

        stored = store.put(file_id, [content])

        assert read(store, file_id) == content
        assert (stored.size, stored.md5, stored.sha256, stored.crc32) == tuple(vars(facts(content)).values())
        assert store.digests_of(file_id) == facts(content)

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize("size", [1, 7, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
    def test_size_of_the_pieces_does_not_matter(self, store: FileStore, size: int) -> None:
        content = LARGE if size > 100 else CONTENT
        file_id = uuid4()

        store.put(file_id, (content[start : start + size] for start in range(0, len(content), size)))

        assert read(store, file_id) == content

    @pytest.mark.contract("S-101")
    def test_empty_pieces_are_harmless(self, store: FileStore) -> None:
        file_id = uuid4()

        store.put(file_id, [b"", b"ab", b"", b"", b"c", b""])

        assert read(store, file_id) == b"abc"

    @pytest.mark.contract("S-101")
    def test_chunks_are_neither_empty_nor_too_large(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [LARGE])

        with store.open(file_id) as chunks:
            sizes = [len(chunk) for chunk in chunks]

        assert min(sizes) >= 1
        assert max(sizes) <= CHUNK_BYTES

    @pytest.mark.contract("S-101")
    def test_stat_tells_size_and_time_without_reading(self, store: FileStore) -> None:
        file_id = uuid4()

        stored = store.put(file_id, [CONTENT])

        found = store.stat(file_id)
        assert found is not None
        assert (found.size, found.stored_at) == (len(CONTENT), stored.stored_at)
        assert found.md5 in (None, stored.md5)
        assert found.sha256 in (None, stored.sha256)
        assert found.crc32 in (None, stored.crc32)
        assert abs(found.stored_at - now()) < timedelta(minutes=1)

    @pytest.mark.contract("S-101", "S-106")
    def test_what_is_not_held_is_missing(self, store: FileStore) -> None:
        file_id = uuid4()

        assert store.stat(file_id) is None
        assert store.delete(file_id) is False
        with pytest.raises(NotFoundError):
            store.open(file_id)
        with pytest.raises(NotFoundError):
            store.digests_of(file_id)
        with pytest.raises(NotFoundError), store.local_path(file_id):
            pass

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, 0),
            (0, 1),
            (5, 5),
            (1, None),
            (100, 200),
            (len(LARGE) - 1, None),
            (len(LARGE), None),
            (len(LARGE) + 9, None),
            (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
            (3, 10**12),
            (10**12, 10**13),
        ],
    )
    def test_ranges_are_half_open_and_cut_at_the_end(
        self, store: FileStore, start: int, stop: int | None
    ) -> None:
        file_id = uuid4()
        store.put(file_id, [LARGE])

        assert read(store, file_id, start, stop) == LARGE[start:stop]

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize(("start", "stop"), [(-1, None), (0, -1), (5, 4)])
    def test_what_is_no_range_is_refused(self, store: FileStore, start: int, stop: int) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        with pytest.raises(InvalidDocumentError):
            store.open(file_id, start, stop)

    @pytest.mark.contract("S-101")
    def test_delete_says_whether_there_was_something(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        assert [store.delete(file_id), store.delete(file_id)] == [True, False]
        assert store.stat(file_id) is None

    @pytest.mark.contract("S-101")
    def test_id_can_be_used_again_after_delete(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])
        store.delete(file_id)

        store.put(file_id, [b"other"])

        assert read(store, file_id) == b"other"

    @pytest.mark.contract("S-101")
    def test_same_bytes_again_are_no_error(self, store: FileStore) -> None:
        file_id = uuid4()
        first = store.put(file_id, [CONTENT])

        assert store.put(file_id, [CONTENT]) == first
        assert list(store.ids()) == [file_id]

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize("other", [b"", CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x"])
    def test_other_bytes_under_the_same_id_are_refused(self, store: FileStore, other: bytes) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        with pytest.raises(ConflictError):
            store.put(file_id, [other])

        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize("size", [0, len(CONTENT) - 1, len(CONTENT) + 1])
    def test_wrong_number_of_bytes_stores_nothing(self, store: FileStore, size: int) -> None:
        file_id = uuid4()

        with pytest.raises(IncompleteBodyError):
            store.put(file_id, [CONTENT[:100], CONTENT[100:]], size=size)

        assert store.stat(file_id) is None

    @pytest.mark.contract("S-101")
    def test_more_bytes_than_announced_are_not_read_to_their_end(self, store: FileStore) -> None:
        endless = repeat(bytes(CHUNK_BYTES))

        with pytest.raises(IncompleteBodyError):
            store.put(uuid4(), endless, size=3 * CHUNK_BYTES)

    @pytest.mark.contract("S-101", "S-151")
    @pytest.mark.parametrize("name", ["md5", "sha256", "crc32"])
    def test_wrong_digest_stores_nothing(self, store: FileStore, name: str) -> None:
        file_id = uuid4()
        wrong = getattr(facts(b"other"), name)

        with pytest.raises(DigestMismatchError):
            store.put(file_id, [CONTENT], size=len(CONTENT), digests={name: wrong})

        assert store.stat(file_id) is None
        assert list(store.ids()) == []

    @pytest.mark.contract("S-101", "S-152")
    def test_right_digests_are_accepted_in_either_case(self, store: FileStore) -> None:
        expected = facts(CONTENT)
        digests: Digests = {"md5": expected.md5.upper(), "sha256": expected.sha256, "crc32": expected.crc32}

        stored = store.put(uuid4(), [CONTENT], size=len(CONTENT), digests=digests)

        assert stored.md5 == expected.md5

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize(
        "digests",
        [{"md5": "12"}, {"md5": "g" * 32}, {"sha1": "0" * 40}, {"crc32": -1}, {"crc32": "00000000"}],
    )
    def test_unreadable_digests_are_refused(self, store: FileStore, digests: dict[str, str | int]) -> None:
        with pytest.raises(InvalidDocumentError):
            store.put(uuid4(), [CONTENT], digests=digests)

    @pytest.mark.contract("S-105")
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

    @pytest.mark.contract("S-101")
    def test_ids_come_in_order_and_after_any_point(self, store: FileStore) -> None:
        ids = sorted(uuid4() for _ in range(40))
        for file_id in reversed(ids):
            store.put(file_id, [file_id.bytes])

        assert list(store.ids()) == ids
        assert list(store.ids(after=ids[20])) == ids[21:]
        assert list(store.ids(after=ids[-1])) == []
        assert list(store.ids(after=UUID(int=0))) == ids

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

        assert peak < 16 * CHUNK_BYTES

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

    @pytest.mark.contract("S-101")
    def test_put_file_moves(self, store: FileStore, tmp_path: Path) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(LARGE)

        stored = store.put_file(file_id, path)

        assert not path.exists()
        assert read(store, file_id) == LARGE
        assert stored.sha256 == facts(LARGE).sha256

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize("may_link", [False, True])
    def test_put_file_without_moving_leaves_the_file(
        self, store: FileStore, tmp_path: Path, may_link: bool
    ) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(CONTENT)

        store.put_file(file_id, path, move=False, may_link=may_link)

        assert path.read_bytes() == CONTENT
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize("may_link", [False, True])
    def test_put_file_of_wrong_bytes_leaves_the_file(
        self, store: FileStore, tmp_path: Path, may_link: bool
    ) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(CONTENT)
        kept = uuid4()
        store.put(kept, [b"other"])

        with pytest.raises(DigestMismatchError):
            store.put_file(file_id, path, may_link=may_link, digests={"md5": facts(b"other").md5})
        with pytest.raises(IncompleteBodyError):
            store.put_file(file_id, path, may_link=may_link, size=5)
        with pytest.raises(ConflictError):
            store.put_file(kept, path, may_link=may_link)

        assert path.read_bytes() == CONTENT
        assert list(store.ids()) == [kept]

    @pytest.mark.contract("S-101")
    def test_put_file_again_after_a_lost_answer_removes_the_file(
        self, store: FileStore, tmp_path: Path
    ) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(CONTENT)
        store.put_file(file_id, path, move=False, may_link=True)

        store.put_file(file_id, path)

        assert not path.exists()
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-101", "S-106")
    def test_put_file_of_what_is_no_file_is_refused(self, store: FileStore, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        with pytest.raises(NotFoundError):
            store.put_file(uuid4(), tmp_path / "nothing")
        with pytest.raises(InvalidDocumentError):
            store.put_file(uuid4(), tmp_path)
        with pytest.raises(InvalidDocumentError):
            store.put_file(uuid4(), pipe)

        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert list(store.ids()) == []

    @pytest.mark.contract("S-101")
    def test_local_path_can_be_read(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [LARGE])

        with store.local_path(file_id) as path:
            assert path.read_bytes() == LARGE

        if "local-path" not in store.capabilities:
            assert not path.exists()

    @pytest.mark.contract("S-101")
    def test_resumable_write_becomes_content_at_the_end(self, store: FileStore) -> None:
        file_id = uuid4()
        parts = store.parts(file_id)

        offsets = [
            parts.offset,
            parts.append(0, [LARGE[:10], LARGE[10:1000]]),
            parts.append(1000, [LARGE[1000:]]),
        ]
        before = (store.stat(file_id), list(store.ids()))
        stored = parts.finish(len(LARGE), {"sha256": facts(LARGE).sha256})

        assert offsets == [0, 1000, len(LARGE)]
        assert before == (None, [])
        assert stored.md5 == facts(LARGE).md5
        assert read(store, file_id) == LARGE
        assert list(store.ids()) == [file_id]

    @pytest.mark.contract("S-101")
    def test_resumable_write_may_be_empty(self, store: FileStore) -> None:
        file_id = uuid4()

        store.parts(file_id).finish(0)

        assert read(store, file_id) == b""

    @pytest.mark.contract("S-101")
    def test_resumable_write_goes_on_where_the_source_broke(self, store: FileStore) -> None:
        file_id = uuid4()
        with pytest.raises(CutOffError):
            store.parts(file_id).append(0, cut_off(CONTENT[:5000]))

        parts = store.parts(file_id)

        assert parts.offset == 5000
        parts.append(5000, [CONTENT[5000:]])
        parts.finish(len(CONTENT), {"md5": facts(CONTENT).md5})
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-101")
    def test_resumable_write_survives_a_restart(self, store: FileStore) -> None:
        file_id = uuid4()
        store.parts(file_id).append(0, [CONTENT[:5000]])

        parts = self.reopen(store).parts(file_id)

        assert parts.offset == 5000
        parts.append(5000, [CONTENT[5000:]])
        parts.finish(len(CONTENT))
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-101")
    def test_contents_survive_a_restart(self, store: FileStore) -> None:
        file_id = uuid4()
        stored = store.put(file_id, [CONTENT])

        again = self.reopen(store)

        assert list(again.ids()) == [file_id]
        assert again.digests_of(file_id).sha256 == stored.sha256

    @pytest.mark.contract("S-101")
    @pytest.mark.parametrize("offset", [0, 99, 101])
    def test_resumable_write_elsewhere_than_at_its_end_is_refused(
        self, store: FileStore, offset: int
    ) -> None:
        parts = store.parts(uuid4())
        parts.append(0, [CONTENT[:100]])

        with pytest.raises(ConflictError) as caught:
            parts.append(offset, [CONTENT])

        assert caught.value.context["offset"] == 100
        assert parts.offset == 100

    @pytest.mark.contract("S-101", "S-105")
    def test_resumable_write_that_is_too_short_can_go_on(self, store: FileStore) -> None:
        file_id = uuid4()
        parts = store.parts(file_id)
        parts.append(0, [CONTENT[:100]])

        with pytest.raises(IncompleteBodyError):
            parts.finish(len(CONTENT))

        assert store.stat(file_id) is None
        parts.append(100, [CONTENT[100:]])
        parts.finish(len(CONTENT))
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-151")
    def test_resumable_write_of_wrong_bytes_is_discarded(self, store: FileStore) -> None:
        file_id = uuid4()
        parts = store.parts(file_id)
        parts.append(0, [CONTENT])

        with pytest.raises(DigestMismatchError):
            parts.finish(len(CONTENT), {"md5": facts(b"other").md5})

        assert store.stat(file_id) is None
        assert parts.offset == 0

    @pytest.mark.contract("S-101")
    def test_finishing_again_after_a_lost_answer_gives_the_same(self, store: FileStore) -> None:
        parts = store.parts(uuid4())
        parts.append(0, [CONTENT])

        first, second = parts.finish(len(CONTENT)), parts.finish(len(CONTENT))

        assert second == first

    @pytest.mark.contract("S-101", "S-104")
    def test_resumable_write_never_replaces_content(self, store: FileStore) -> None:
        file_id = uuid4()
        parts = store.parts(file_id)
        parts.append(0, [b"other"])
        store.put(file_id, [CONTENT])

        with pytest.raises(ConflictError):
            parts.finish(5)
        parts.discard()
        with pytest.raises(ConflictError):
            parts.finish(5)

        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("S-101")
    def test_discarded_resumable_write_begins_anew(self, store: FileStore) -> None:
        parts = store.parts(uuid4())
        parts.append(0, [CONTENT])

        parts.discard()
        parts.discard()

        assert parts.offset == 0

    @pytest.mark.contract("S-104")
    def test_resumable_write_has_one_writer_at_a_time(self, store: FileStore) -> None:
        file_id = uuid4()
        seen: list[type[Exception] | None] = []

        def source() -> Iterator[bytes]:
            yield b"abc"
            for attempt in (
                lambda: store.parts(file_id).append(3, [b"x"]),
                lambda: store.parts(file_id).finish(3),
                store.parts(file_id).discard,
            ):
                seen.append(outcome(attempt))
            yield b"def"

        end = store.parts(file_id).append(0, source())

        assert end == 6
        assert [error is not None and error.__name__ for error in seen] == ["UnavailableError"] * 3

    @pytest.mark.contract("S-105")
    def test_sweep_removes_expired_resumable_writes_only(self, store: FileStore) -> None:
        kept = uuid4()
        store.put(kept, [CONTENT])
        parts = store.parts(uuid4())
        parts.append(0, [CONTENT])

        young = store.sweep(now=now() + timedelta(hours=2))
        offset = parts.offset
        old = store.sweep(now=now() + timedelta(hours=25))

        assert (young.removed, young.kept, offset) == (0, 1, len(CONTENT))
        assert (old.removed, old.freed_bytes, old.kept) == (1, len(CONTENT), 0)
        assert parts.offset == 0
        assert list(store.ids()) == [kept]

    @pytest.mark.contract("S-105")
    def test_sweep_keeps_what_is_in_use(self, store: FileStore) -> None:
        file_id, other = uuid4(), uuid4()
        later = now() + timedelta(days=30)
        kept = []

        def source() -> Iterator[bytes]:
            yield CONTENT[:100]
            kept.append(store.sweep(now=later).removed)
            yield CONTENT[100:]

        store.put(file_id, source())
        store.parts(other).append(0, source())
        store.parts(other).finish(len(CONTENT))

        assert kept == [0, 0]
        assert read(store, file_id) == read(store, other) == CONTENT

    @pytest.mark.contract("S-101")
    def test_check_passes_and_leaves_nothing_behind(self, store: FileStore) -> None:
        store.check()
        store.check(probe=True)

        assert list(store.ids()) == []

    @pytest.mark.contract("S-101")
    def test_free_bytes_is_a_number_or_unknown(self, store: FileStore) -> None:
        free = store.free_bytes()

        assert free is None or free >= 0

    @pytest.mark.contract("S-101")
    def test_url_is_there_exactly_where_it_is_promised(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        assert (store.url(file_id) is not None) == ("presign" in store.capabilities)

    @pytest.mark.contract("S-101")
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
            status = status_of_fork(lambda: read(store, file_id) == CONTENT and _writes(store))
            release.set()
            writing.result()

        assert status == 0


def _writes(store: FileStore) -> bool:
    file_id = uuid4()
    store.put(file_id, [CONTENT])
    return store.digests_of(file_id) == facts(CONTENT)


def status_of_fork(action: Callable[[], object]) -> int:
    """Exit status of a forked process: 0 when `action` is true there, -9 when it was killed."""
    with warnings.catch_warnings():
        # Python warns of threads at a fork, which is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if action() else 1
        finally:
            # Straight out: the test run's own clean-up belongs to the parent.
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
