"""Bytes of a resumable upload on their way from the network to the store.

They are handed to the store in groups: while somebody waits for a client nothing of the store is held, and
what has come is durable after a few seconds.

Source: K-303, K-304 and K-305 of the storage contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final
from uuid import uuid4

from meteorpi_db.filestore import FileStore
from meteorpi_model.errors import ChecksumMismatchError, InvalidDocumentError, UnavailableError

GROUP_BYTES: Final = 8 << 20
"""Memory that one upload needs at most, twice for a moment; a piece of an S3 store."""

GROUP_SECONDS: Final = 5.0
"""After so long a group is handed on however small it is."""

FIRST_BYTES: Final = 1 << 20
FIRST_SECONDS: Final = 1.0
"""The same for the first group of a request."""

ALGORITHMS: Final = ("sha256", "sha1", "md5")


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """What the bytes of one request are said to have.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        digest: its result.
    """

    algorithm: str
    digest: bytes

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise InvalidDocumentError(f"a checksum is one of {', '.join(ALGORITHMS)}")


def gathered(
    chunks: Iterable[bytes], monotonic: Callable[[], float], most: int = GROUP_BYTES
) -> Iterator[bytes]:
    """The same bytes in fewer, larger pieces; when `chunks` raises what came before is given first.

    A client may fall silent at any point, and what is gathered then is lost with whoever waits for it. So
    pieces are small at first: beyond the first of them more than half of what came has been given.

    Args:
        monotonic: tells the time, in seconds.
        most: a piece of so many bytes is not filled further.
    """
    filling, since, given, begun = bytearray(), 0.0, 0, monotonic()
    source = iter(chunks)
    while True:
        try:
            chunk = next(source, None)
        except BaseException:
            if filling:
                yield bytes(filling)
            raise
        if chunk is None:
            break
        since = since if filling else monotonic()
        filling += chunk
        size, seconds = max(FIRST_BYTES, given), max(FIRST_SECONDS, since - begun)
        if len(filling) >= min(size, most) or monotonic() - since >= min(seconds, GROUP_SECONDS):
            group, filling = bytes(filling), bytearray()
            given += len(group)
            yield group
    if filling:
        yield bytes(filling)


def proved(
    chunks: Iterable[bytes], checksum: Checksum, store: FileStore, most: int = GROUP_BYTES
) -> Iterator[bytes]:
    """The same bytes, none before all of them have come and have the checksum.

    What does not fit into memory waits in the store, under an id that nobody knows.

    Raises:
        ChecksumMismatchError: they do not have it; nothing was given.
    """
    function = hashlib.new(checksum.algorithm, usedforsecurity=False)
    source = _hashed(chunks, function.update)
    beginning = bytearray()
    for chunk in source:
        beginning += chunk
        if len(beginning) >= most:
            break
    else:
        _require(function.digest(), checksum)
        yield bytes(beginning)
        return
    waiting = uuid4()
    store.put(waiting, chain([bytes(beginning)], source))
    beginning.clear()
    try:
        _require(function.digest(), checksum)
        with store.open(waiting) as found:
            yield from found
    finally:
        with suppress(UnavailableError):  # left over then, and swept as such
            store.delete(waiting)


def _hashed(chunks: Iterable[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk


def _require(digest: bytes, checksum: Checksum) -> None:
    if digest != checksum.digest:
        raise ChecksumMismatchError(f"the bytes do not have the announced {checksum.algorithm}")
