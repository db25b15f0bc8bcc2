"""Digests in one pass, with and without threads."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_db.filestore import (
    CHUNK_BYTES,
    DigestPass,
    HashedContent,
    LocalFileStore,
    MemoryFileStore,
    facts_of,
)
from meteorpi_db.filestore.hashing import THREADS_FROM_BYTES, Expectation, gather_blocks
from meteorpi_db.testing.filestore_samples import LARGE, facts
from meteorpi_model.errors import DigestMismatchError, IncompleteBodyError, InvalidDocumentError


@pytest.mark.contract("S-152")
@given(
    size=st.integers(0, 64) | st.integers(THREADS_FROM_BYTES - 64, THREADS_FROM_BYTES + 64),
    cuts=st.lists(st.integers(0, 64), max_size=5),
)
def test_digests_do_not_depend_on_threads_or_on_where_blocks_end(size: int, cuts: list[int]) -> None:
    content = LARGE[:size]
    ends = [*sorted(cuts), None]
    blocks = [content[start:stop] for start, stop in zip([0, *ends[:-1]], ends, strict=True)]

    assert facts_of(blocks) == facts(content)


@pytest.mark.contract("S-102")
@given(st.lists(st.integers(0, 3 * CHUNK_BYTES), max_size=6))
def test_gathered_blocks_are_the_same_bytes_and_none_is_empty_or_huge(sizes: list[int]) -> None:
    chunks = [LARGE[:size] for size in sizes]

    blocks = list(gather_blocks(chunks))

    assert b"".join(blocks) == b"".join(chunks)
    assert all(0 < len(block) < 2 * CHUNK_BYTES for block in blocks)
    assert all(len(block) >= CHUNK_BYTES for block in blocks[:-1])


@pytest.mark.contract("S-102")
def test_pieces_are_copied_when_their_owner_may_change_them() -> None:
    buffer = bytearray(b"first")

    def source() -> object:
        yield memoryview(buffer)
        buffer[:] = b"other"
        yield memoryview(buffer)

    assert b"".join(gather_blocks(source())) == b"firstother"  # type: ignore[arg-type]


@pytest.mark.contract("S-107")
def test_threads_end_with_the_pass_also_when_it_is_given_up() -> None:
    with DigestPass() as digests:
        digests.update(LARGE)
        started = [thread for thread in threading.enumerate() if thread.name == "meteorpi-hashing"]

    assert len(started) == 2
    assert not any(thread.is_alive() for thread in started)


@pytest.mark.contract("B.1/put")
def test_cut_off_body_and_wrong_digest_are_told_apart() -> None:
    with pytest.raises(IncompleteBodyError) as cut_short:
        Expectation(size=5).check(facts(b"1234"))
    with pytest.raises(DigestMismatchError) as mismatch:
        Expectation(size=4, digests={"crc32": 5}).check(facts(b"1234"))

    assert cut_short.value.context == {"expected": 5, "received": 4}
    assert type(mismatch.value) is DigestMismatchError
    assert mismatch.value.context == {"expected": 5, "received": facts(b"1234").crc32}


@pytest.mark.contract("S-152")
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_content_hashed_beforehand_is_stored_with_the_same_facts(blocks: list[bytes]) -> None:
    content = HashedContent(iter(blocks))
    store = MemoryFileStore()

    stored = store.put(UUID(int=1), content, size=content.size, digests={"sha256": content.sha256})

    assert content.facts == facts_of(blocks)
    assert (stored.size, stored.md5, stored.sha256, stored.crc32) == (
        content.facts.size,
        content.facts.md5,
        content.facts.sha256,
        content.facts.crc32,
    )


@pytest.mark.contract("S-151", "S-152")
def test_content_hashed_beforehand_is_still_held_against_what_was_announced(tmp_path: Path) -> None:
    content = HashedContent([b"some ", b"bytes"])
    store = LocalFileStore(tmp_path)
    store.prepare()

    with pytest.raises(IncompleteBodyError):
        store.put(UUID(int=1), content, size=9)
    with pytest.raises(DigestMismatchError):
        store.put(UUID(int=1), content, digests={"md5": "0" * 32})
    stored = store.put(UUID(int=1), content)

    assert stored.md5 == hashlib.md5(b"some bytes").hexdigest()
    assert store.digests_of(UUID(int=1)) == content.facts
    assert [path.name for path in tmp_path.iterdir()] == [UUID(int=1).hex]


def test_only_bytes_that_cannot_change_are_hashed_beforehand() -> None:
    with pytest.raises(InvalidDocumentError):
        HashedContent([bytearray(b"may change")])  # type: ignore[list-item]  # as a careless caller would
