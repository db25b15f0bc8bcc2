"""Contract of file stores: resumable writes and what the sweep takes."""

# The names of the tests say the behaviour, as everywhere.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from meteorpi_db.filestore import FileStore
from meteorpi_db.testing.filestore_samples import (
    CONTENT,
    LARGE,
    CutOffError,
    StoreUnderTest,
    cut_off,
    facts,
    outcome,
    read,
)
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    IncompleteBodyError,
)
from meteorpi_model.values import now


class PartsContract(StoreUnderTest):
    """A part of :class:`~meteorpi_db.testing.filestore_contract.FileStoreContract`."""

    @pytest.mark.contract("B.1/parts")
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

    @pytest.mark.contract("B.1/parts")
    def test_resumable_write_may_be_empty(self, store: FileStore) -> None:
        file_id = uuid4()

        store.parts(file_id).finish(0)

        assert read(store, file_id) == b""

    @pytest.mark.contract("B.1/parts")
    def test_resumable_write_goes_on_where_the_source_broke(self, store: FileStore) -> None:
        file_id = uuid4()
        with pytest.raises(CutOffError):
            store.parts(file_id).append(0, cut_off(CONTENT[:5000]))

        parts = store.parts(file_id)

        assert parts.offset == 5000
        parts.append(5000, [CONTENT[5000:]])
        parts.finish(len(CONTENT), {"md5": facts(CONTENT).md5})
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("B.1/parts")
    def test_resumable_write_survives_a_restart(self, store: FileStore) -> None:
        file_id = uuid4()
        store.parts(file_id).append(0, [CONTENT[:5000]])

        parts = self.reopen(store).parts(file_id)

        assert parts.offset == 5000
        parts.append(5000, [CONTENT[5000:]])
        parts.finish(len(CONTENT))
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("B.1/parts")
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

    @pytest.mark.contract("B.1/parts")
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

    @pytest.mark.contract("B.1/parts", "S-151")
    def test_resumable_write_of_wrong_bytes_is_discarded(self, store: FileStore) -> None:
        file_id = uuid4()
        parts = store.parts(file_id)
        parts.append(0, [CONTENT])

        with pytest.raises(DigestMismatchError):
            parts.finish(len(CONTENT), {"md5": facts(b"other").md5})

        assert store.stat(file_id) is None
        assert parts.offset == 0

    @pytest.mark.contract("B.1/parts")
    def test_finishing_again_after_a_lost_answer_gives_the_same(self, store: FileStore) -> None:
        parts = store.parts(uuid4())
        parts.append(0, [CONTENT])

        first, second = parts.finish(len(CONTENT)), parts.finish(len(CONTENT))

        assert second == first

    @pytest.mark.contract("B.1/parts", "S-104")
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

    @pytest.mark.contract("B.1/parts")
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
