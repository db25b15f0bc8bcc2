"""Contract of file stores: contents that are written, read, listed and deleted."""

# The names of the tests say the behaviour, as everywhere.
# ruff: noqa: D102

from __future__ import annotations

from datetime import timedelta
from itertools import repeat
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import CHUNK_BYTES, Digests, FileStore
from meteorpi_db.testing.filestore_samples import (
    CONTENT,
    LARGE,
    StoreUnderTest,
    facts,
    read,
)
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    IncompleteBodyError,
    InvalidDocumentError,
    NotFoundError,
)
from meteorpi_model.values import now


class ContentsContract(StoreUnderTest):
    """A part of :class:`~meteorpi_db.testing.filestore_contract.FileStoreContract`."""

    @pytest.mark.contract("B.1/put", "S-152")
    @pytest.mark.parametrize("content", [b"", b"x", CONTENT, LARGE], ids=["empty", "byte", "small", "large"])
    def test_content_comes_back_with_its_size_and_digests(self, store: FileStore, content: bytes) -> None:
        file_id = uuid4()

        stored = store.put(file_id, [content])

        assert read(store, file_id) == content
        assert (stored.size, stored.md5, stored.sha256, stored.crc32) == tuple(vars(facts(content)).values())
        assert store.digests_of(file_id) == facts(content)

    @pytest.mark.contract("B.1/put")
    @pytest.mark.parametrize("size", [1, 7, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
    def test_size_of_the_pieces_does_not_matter(self, store: FileStore, size: int) -> None:
        content = LARGE if size > 100 else CONTENT
        file_id = uuid4()

        store.put(file_id, (content[start : start + size] for start in range(0, len(content), size)))

        assert read(store, file_id) == content

    @pytest.mark.contract("B.1/put")
    def test_empty_pieces_are_harmless(self, store: FileStore) -> None:
        file_id = uuid4()

        store.put(file_id, [b"", b"ab", b"", b"", b"c", b""])

        assert read(store, file_id) == b"abc"

    @pytest.mark.contract("B.1/open", "S-102")
    def test_chunks_are_neither_empty_nor_too_large(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [LARGE])

        with store.open(file_id) as chunks:
            sizes = [len(chunk) for chunk in chunks]

        assert min(sizes) >= 1
        assert max(sizes) <= CHUNK_BYTES

    @pytest.mark.contract("B.1/stat")
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

    @pytest.mark.contract("B.1/open")
    def test_small_content_is_read_at_once(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        assert store.read(file_id, len(CONTENT) + 1) == CONTENT
        assert store.read(file_id, len(CONTENT)) == CONTENT
        assert store.read(file_id, 3) == CONTENT[:3]
        with pytest.raises(NotFoundError):
            store.read(uuid4(), 5)

    @pytest.mark.contract("B.1/stat")
    def test_sizes_of_many_are_told_in_order(self, store: FileStore) -> None:
        first, second, missing = uuid4(), uuid4(), uuid4()
        store.put(first, [CONTENT])
        store.put(second, [LARGE])

        names = [second.hex, missing.hex, first.hex, second.hex]
        assert list(store.sizes(names)) == [len(LARGE), None, len(CONTENT), len(LARGE)]
        with pytest.raises(ValueError):
            list(store.sizes([first.hex, f"../{first.hex}"]))

    @pytest.mark.contract("B.1/open", "B.1/stat", "S-106")
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

    @pytest.mark.contract("B.1/open")
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

    @pytest.mark.contract("B.1/open")
    @pytest.mark.parametrize(("start", "stop"), [(-1, None), (0, -1), (5, 4)])
    def test_what_is_no_range_is_refused(self, store: FileStore, start: int, stop: int) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        with pytest.raises(InvalidDocumentError):
            store.open(file_id, start, stop)

    @pytest.mark.contract("B.1/delete")
    def test_delete_says_whether_there_was_something(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        assert [store.delete(file_id), store.delete(file_id)] == [True, False]
        assert store.stat(file_id) is None

    @pytest.mark.contract("B.1/delete")
    def test_id_can_be_used_again_after_delete(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])
        store.delete(file_id)

        store.put(file_id, [b"other"])

        assert read(store, file_id) == b"other"

    @pytest.mark.contract("B.1/put")
    def test_same_bytes_again_are_no_error(self, store: FileStore) -> None:
        file_id = uuid4()
        first = store.put(file_id, [CONTENT])

        assert store.put(file_id, [CONTENT]) == first
        assert list(store.ids()) == [file_id]

    @pytest.mark.contract("B.1/put")
    @pytest.mark.parametrize("other", [b"", CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x"])
    def test_other_bytes_under_the_same_id_are_refused(self, store: FileStore, other: bytes) -> None:
        file_id = uuid4()
        store.put(file_id, [CONTENT])

        with pytest.raises(ConflictError):
            store.put(file_id, [other])

        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("B.1/put")
    @pytest.mark.parametrize("size", [0, len(CONTENT) - 1, len(CONTENT) + 1])
    def test_wrong_number_of_bytes_stores_nothing(self, store: FileStore, size: int) -> None:
        file_id = uuid4()

        with pytest.raises(IncompleteBodyError):
            store.put(file_id, [CONTENT[:100], CONTENT[100:]], size=size)

        assert store.stat(file_id) is None

    @pytest.mark.contract("B.1/put")
    def test_more_bytes_than_announced_are_not_read_to_their_end(self, store: FileStore) -> None:
        endless = repeat(bytes(CHUNK_BYTES))

        with pytest.raises(IncompleteBodyError):
            store.put(uuid4(), endless, size=3 * CHUNK_BYTES)

    @pytest.mark.contract("B.1/put", "S-151")
    @pytest.mark.parametrize("name", ["md5", "sha256", "crc32"])
    def test_wrong_digest_stores_nothing(self, store: FileStore, name: str) -> None:
        file_id = uuid4()
        wrong = getattr(facts(b"other"), name)

        with pytest.raises(DigestMismatchError):
            store.put(file_id, [CONTENT], size=len(CONTENT), digests={name: wrong})

        assert store.stat(file_id) is None
        assert list(store.ids()) == []

    @pytest.mark.contract("B.1/put")
    def test_right_digests_are_accepted_in_either_case(self, store: FileStore) -> None:
        expected = facts(CONTENT)
        digests: Digests = {"md5": expected.md5.upper(), "sha256": expected.sha256, "crc32": expected.crc32}

        stored = store.put(uuid4(), [CONTENT], size=len(CONTENT), digests=digests)

        assert stored.md5 == expected.md5

    @pytest.mark.contract("B.1/put")
    @pytest.mark.parametrize(
        "digests",
        [{"md5": "12"}, {"md5": "g" * 32}, {"sha1": "0" * 40}, {"crc32": -1}, {"crc32": "00000000"}],
    )
    def test_unreadable_digests_are_refused(self, store: FileStore, digests: dict[str, str | int]) -> None:
        with pytest.raises(InvalidDocumentError):
            store.put(uuid4(), [CONTENT], digests=digests)

    @pytest.mark.contract("B.1/ids")
    def test_ids_come_in_order_and_after_any_point(self, store: FileStore) -> None:
        ids = sorted(uuid4() for _ in range(40))
        for file_id in reversed(ids):
            store.put(file_id, [file_id.bytes])

        assert list(store.ids()) == ids
        assert list(store.ids(after=ids[20])) == ids[21:]
        assert list(store.ids(after=ids[-1])) == []
        assert list(store.ids(after=UUID(int=0))) == ids
