"""What tests of file stores share: contents, broken sources, and ways to look at what happened."""

from __future__ import annotations

import hashlib
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import ClassVar
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import CHUNK_BYTES, ContentFacts, FileStore
from meteorpi_model.errors import MeteorError

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


class StoreUnderTest:
    """What a class of tests says about its store; there is a fixture ``store`` as well.

    Attributes:
        most_bytes: that it may hold in memory while it moves a content of any size.
    """

    most_bytes: ClassVar[int] = 16 * CHUNK_BYTES

    def reopen(self, store: FileStore) -> FileStore:
        """The same store as a process started later sees it; override where contents outlive the process."""
        pytest.skip(f"{type(store).__name__} keeps nothing beyond its process")


def writes(store: FileStore) -> bool:
    """Whether a content written to `store` can be read again."""
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
