"""What only the memory store does: its limit."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import pytest

from meteorpi_db.filestore import MemoryFileStore
from meteorpi_db.testing.filestore_samples import CutOffError, cut_off
from meteorpi_model.errors import ConflictError, DigestMismatchError, InvalidDocumentError, StoreFullError


@pytest.fixture
def store() -> MemoryFileStore:
    return MemoryFileStore(limit_bytes=100)


@pytest.mark.contract("B.5")
def test_limit_is_inclusive(store: MemoryFileStore) -> None:
    store.put(uuid4(), [bytes(60)])
    store.put(uuid4(), [bytes(40)])

    with pytest.raises(StoreFullError):
        store.put(uuid4(), [b"x"])

    assert store.free_bytes() == 0


@pytest.mark.contract("B.5")
def test_announced_size_is_refused_before_a_byte_is_taken(store: MemoryFileStore) -> None:
    with pytest.raises(StoreFullError):
        store.put(uuid4(), cut_off(b""), size=101)


@pytest.mark.contract("B.5")
def test_every_failure_gives_its_room_back(store: MemoryFileStore) -> None:
    file_id = uuid4()
    store.put(file_id, [bytes(10)])

    with pytest.raises(CutOffError):
        store.put(uuid4(), cut_off(bytes(50)), size=80)
    with pytest.raises(DigestMismatchError):
        store.put(uuid4(), [bytes(50)], digests={"crc32": 0})
    with pytest.raises(ConflictError):
        store.put(file_id, [bytes(50)])
    with pytest.raises(StoreFullError):
        store.put(uuid4(), [bytes(200)])
    store.put(file_id, [bytes(10)])

    assert store.free_bytes() == 90


@pytest.mark.contract("B.5")
def test_resumable_writes_count_and_keep_what_had_room(store: MemoryFileStore) -> None:
    parts = store.parts(uuid4())

    with pytest.raises(StoreFullError):
        parts.append(0, [bytes(60), bytes(60)])

    assert (parts.offset, store.free_bytes()) == (60, 40)
    parts.finish(60)
    assert store.free_bytes() == 40


@pytest.mark.contract("B.5")
def test_contents_belong_to_one_store_object(store: MemoryFileStore) -> None:
    file_id = uuid4()

    store.put(file_id, [b"x"])

    assert MemoryFileStore().stat(file_id) is None


@pytest.mark.contract("B.5")
def test_time_of_storing_is_asked_of_the_clock() -> None:
    moment = datetime(2015, 6, 12, 23, 0, 0)

    stored = MemoryFileStore(clock=lambda: moment).put(uuid4(), [b"x"])

    assert stored.stored_at == moment


def test_negative_limit_is_refused() -> None:
    with pytest.raises(InvalidDocumentError):
        MemoryFileStore(limit_bytes=-1)
