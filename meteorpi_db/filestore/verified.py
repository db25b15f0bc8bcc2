"""Contents that are verified while they are read.

Source: S-141 of the storage contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from meteorpi_db.filestore.base import ContentReader
from meteorpi_model.errors import CorruptContentError


class VerifiedReader(Iterator[bytes]):
    """A whole content, whose last chunk is given only if all of it has the right SHA-256.

    Whoever sends it on has then not sent all that was promised, and the receiver knows.

    Args:
        chunks: from the first byte to the last.
        sha256: hexadecimal, as recorded.
        on_damage: is called before the error is raised, with whether bytes have been given already.
    """

    def __init__(self, chunks: ContentReader, sha256: str, on_damage: Callable[[bool], object]) -> None:
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self._sha256 = sha256
        self._on_damage = on_damage
        self._first: bytes | None = None
        self._held: bytes | None = None
        self._is_begun = False
        self._is_at_end = False

    def start(self) -> Self:
        """Read what comes first, so that the damage of a small content is found before anything is given.

        Raises:
            CorruptContentError: this is not the recorded content; the reader is closed.
        """
        try:
            self._first = next(self, None)
        except BaseException:
            self.close()
            raise
        self._is_begun = True
        return self

    def __next__(self) -> bytes:
        """The next chunk.

        Raises:
            CorruptContentError: in place of the last chunk: this is not the recorded content.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while not self._is_at_end:
            chunk = next(self._chunks, None)
            held, self._held = self._held, chunk
            if chunk is None:
                self._is_at_end = True
                self._check()
            else:
                self._digest.update(chunk)
            if held is not None:
                return held
        raise StopIteration

    def _check(self) -> None:
        if self._digest.hexdigest() != self._sha256:
            self._on_damage(self._is_begun)
            raise CorruptContentError("the content is not the recorded one; it was not sent to its end")

    def close(self) -> None:
        """Give back what is held open."""
        self._is_at_end, self._first, self._held = True, None, None
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
