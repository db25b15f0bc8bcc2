"""All digests of a content in the one pass that moves it.

Measured on two small cores: MD5 1.3 ms, SHA-256 0.6 ms (with the processor's instructions) and CRC-32
0.2 ms per MB (0.05 with isal), together more than writing the same bytes to a fast disk. The three functions
let go of the interpreter lock, so content beyond :data:`THREADS_FROM_BYTES` is hashed by two threads while
the caller writes and, what gains most, while it waits for the disk to flush: 146 instead of 94 durable files
of 3.7 MB a second. Blocks of 1 MiB gain a fifth over blocks of 256 KiB, for each costs a hand-over.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from queue import Queue
from types import TracebackType
from typing import Self

from meteorpi_db.filestore.crc import crc32
from meteorpi_model.errors import DigestMismatchError, IncompleteBodyError, InvalidDocumentError

CHUNK_BYTES = 1 << 20
"""Largest piece of content handed over at once: 1 MiB."""

BLOCK_BYTES = CHUNK_BYTES
"""Smaller pieces are gathered to this size before they are hashed and written."""

THREADS_FROM_BYTES = 1 << 19
"""Content that grows beyond this is hashed by threads: 512 KiB."""

_BLOCKS_WAITING = 4
"""Blocks a hashing thread may lag behind, so that memory does not grow with the content."""

_HEX_DIGITS = {"md5": 32, "sha256": 64}

Digests = Mapping[str, str | int]
"""Announced digests: ``md5`` and ``sha256`` in hexadecimal, ``crc32`` as an unsigned number."""


@dataclass(frozen=True, kw_only=True)
class ContentFacts:
    """What the bytes of a content are, whoever holds them.

    Args:
        size: number of bytes.
        md5: hexadecimal MD5, lower case.
        sha256: hexadecimal SHA-256, lower case.
        crc32: CRC-32 as in ZIP, 0 to 2**32 - 1.
    """

    size: int
    md5: str
    sha256: str
    crc32: int


class Expectation:
    """What a caller announced about a content before its bytes came.

    Args:
        size: number of bytes, or None when not announced.
        digests: see :data:`Digests`; None or empty when not announced.

    Raises:
        InvalidDocumentError: a negative size, an unknown digest or one that is not written as it should be.
    """

    def __init__(self, size: int | None = None, digests: Digests | None = None) -> None:
        if size is not None and size < 0:
            raise InvalidDocumentError(f"a size of {size} bytes cannot be")
        self.size = size
        self._digests = {name: _read_digest(name, value) for name, value in (digests or {}).items()}

    def refuse_excess(self, size: int) -> None:
        """Raise as soon as more bytes came than were announced.

        Raises:
            IncompleteBodyError: `size` is beyond the announced one.
        """
        if self.size is not None and size > self.size:
            raise IncompleteBodyError(f"more than the announced {self.size} bytes came", expected=self.size)

    def check_size(self, size: int) -> None:
        """Compare the number of bytes that came with the announced one.

        Raises:
            IncompleteBodyError: they differ.
        """
        self.refuse_excess(size)
        if self.size is not None and size != self.size:
            raise IncompleteBodyError(
                f"{size} bytes came of the announced {self.size}", expected=self.size, received=size
            )

    def check(self, facts: ContentFacts) -> None:
        """Compare everything that was announced with what came.

        Raises:
            IncompleteBodyError: the size differs.
            DigestMismatchError: a digest differs.
        """
        self.check_size(facts.size)
        for name, expected in self._digests.items():
            received = getattr(facts, name)
            if received != expected:
                raise DigestMismatchError(
                    f"the bytes do not have the announced {name}", expected=expected, received=received
                )


def _read_digest(name: str, value: str | int) -> str | int:
    if name == "crc32" and isinstance(value, int) and 0 <= value < 1 << 32:
        return value
    digits = _HEX_DIGITS.get(name)
    if isinstance(value, str) and len(value) == digits and set(value.lower()) <= set("0123456789abcdef"):
        return value.lower()
    raise InvalidDocumentError(f"{value!r} is not a {name} digest")


class _HashingThread(threading.Thread):
    """Feeds blocks to one hash function, a few blocks behind whoever hands them over."""

    def __init__(self, update: Callable[[bytes], None]) -> None:
        super().__init__(name="meteorpi-hashing", daemon=True)
        self._update = update
        self.blocks: Queue[bytes | None] = Queue(_BLOCKS_WAITING)

    def run(self) -> None:
        while (block := self.blocks.get()) is not None:
            self._update(block)


class DigestPass:
    """MD5, SHA-256 and CRC-32 of blocks given one after the other.

    Use as a context manager: leaving it ends its threads, whatever happened. The blocks must not change
    after they were given, which is why they are ``bytes``.
    """

    def __init__(self) -> None:
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self._threads: list[_HashingThread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_threads()

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        self.size += len(block)
        if not self._threads and self.size > THREADS_FROM_BYTES:
            self._start_threads()
        if not self._threads:
            self._md5.update(block)
            self._update_others(block)
        for thread in self._threads:
            thread.blocks.put(block)

    def facts(self) -> ContentFacts:
        """Wait for the threads and give the result; nothing can be added afterwards."""
        self._end_threads()
        return ContentFacts(
            size=self.size,
            md5=self._md5.hexdigest(),
            sha256=self._sha256.hexdigest(),
            crc32=self._crc32,
        )

    def _update_others(self, block: bytes) -> None:
        self._sha256.update(block)
        self._crc32 = crc32(block, self._crc32)

    def _start_threads(self) -> None:
        # MD5 alone costs more than the other two together, so this splits the work about evenly.
        self._threads = [_HashingThread(self._md5.update), _HashingThread(self._update_others)]
        for thread in self._threads:
            thread.start()

    def _end_threads(self) -> None:
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.blocks.put(None)
        for thread in threads:
            thread.join()


class HashedContent(Iterable[bytes]):
    """Bytes in memory that were, or will be, hashed once, however many ask.

    Whoever has to know the SHA-256 of a content before it is stored gives this to the store, which then
    need not hash it again. That is safe since nobody but this class says what the digests are, and
    ``bytes`` do not change. The caller's own thread does the work: it pays where several contents are stored
    at the same time, which keeps every core busy without further threads.

    Args:
        blocks: all bytes in order; best in pieces of CHUNK_BYTES.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = tuple(blocks)
        if not all(type(block) is bytes for block in self._blocks):
            raise InvalidDocumentError("content that is hashed before it is stored must be made of bytes")
        self.size = sum(map(len, self._blocks))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256."""
        digest = hashlib.sha256()
        for block in self._blocks:
            digest.update(block)
        return digest.hexdigest()

    @cached_property
    def facts(self) -> ContentFacts:
        """Size and all digests."""
        md5, crc = hashlib.md5(usedforsecurity=False), 0
        for block in self._blocks:
            md5.update(block)
            crc = crc32(block, crc)
        return ContentFacts(size=self.size, md5=md5.hexdigest(), sha256=self.sha256, crc32=crc)


def facts_of(chunks: Iterable[bytes]) -> ContentFacts:
    """Size and digests of all `chunks` together."""
    with DigestPass() as digests:
        for block in gather_blocks(chunks):
            digests.update(block)
        return digests.facts()


def gather_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks worth a system call each: none empty, none of twice CHUNK_BYTES.

    Servers hand bodies on in pieces of a few kilobytes; another caller gives everything at once.
    """
    gathered: list[bytes] = []
    size = 0
    for chunk in chunks:
        for start in range(0, len(chunk), CHUNK_BYTES):
            gathered.append(bytes(chunk[start : start + CHUNK_BYTES]))
            size += len(gathered[-1])
            if size >= BLOCK_BYTES:
                yield b"".join(gathered)
                gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
