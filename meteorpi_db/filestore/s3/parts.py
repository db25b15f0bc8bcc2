"""Resumable writes of an S3 store.

The bytes of each call are objects of their own, named by their offset: ``.parts/<hex id>/<offset>``. What a
service says it holds survives, so the offset is the end of the objects that follow each other without a gap.
At the end they are read once more: their digests are proved before anything is visible, and every service
can do it.

In one process two writers are kept apart. Writers of different processes are kept apart by whoever hands
out the right to write, which is the database; should they meet nevertheless, the objects have a gap or the
digests do not fit, and nothing wrong becomes visible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

from meteorpi_db.filestore.base import PartialContent, StoredContent
from meteorpi_db.filestore.hashing import Digests, Expectation
from meteorpi_db.filestore.s3.answers import ListedObject
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.filestore.s3.reading import open_object
from meteorpi_model.errors import ConflictError, DigestMismatchError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from meteorpi_db.filestore.s3.store import S3FileStore

PARTS_DIRECTORY = ".parts"
_OWNER = re.compile(r"[0-9a-f]{32}")
_OFFSET = re.compile(r"[0-9]{16}")


class S3PartialContent(PartialContent):
    """See :class:`PartialContent`.

    Args:
        store: where the content will be.
        bucket: where its bytes wait.
        file_id: id it will have.
    """

    def __init__(self, store: S3FileStore, bucket: Bucket, file_id: UUID) -> None:
        self._store = store
        self._bucket = bucket
        self._file_id = file_id

    @property
    def offset(self) -> int:
        """See :class:`PartialContent`."""
        return sum(piece.size for piece in _following(self._found()))

    def append(self, offset: int, chunks: Iterable[bytes]) -> int:
        """See :class:`PartialContent`."""
        with self._alone():
            found = list(self._found())
            end = sum(piece.size for piece in _following(found))
            if offset != end:
                raise ConflictError(f"the next byte is number {end}", entity_id=self._file_id, offset=end)
            if not end:
                self._remove(found)  # left of a write that was finished: nothing may follow the new bytes
            with _PieceWriter(self._bucket, self._file_id, end) as writer:
                for chunk in chunks:
                    writer.write(chunk)
            return writer.end

    def finish(self, size: int, digests: Digests | None = None) -> StoredContent:
        """See :class:`PartialContent`."""
        expectation = Expectation(size, digests)
        with self._alone():
            pieces = list(_following(self._found()))
            if not pieces and (finished := self._finished_before(expectation)) is not None:
                return finished
            expectation.check_size(sum(piece.size for piece in pieces))
            try:
                stored = self._store.put(self._file_id, self._read(pieces), size=size, digests=digests)
            except DigestMismatchError:
                self._remove_all()
                raise
            # Forwards, so that nothing is left that begins, whatever happens: what is left of a complete
            # content would seem to be fewer bytes than were told of.
            self._remove(self._found())
            return stored

    def discard(self) -> None:
        """See :class:`PartialContent`."""
        with self._alone():
            self._remove_all()

    def _found(self) -> Iterator[ListedObject]:
        """All pieces, in order of their offsets."""
        return self._bucket.listing(pieces_prefix(self._bucket, self._file_id))

    def _read(self, pieces: Iterable[ListedObject]) -> Iterator[bytes]:
        for piece in pieces:
            try:
                with open_object(self._bucket, piece.key, 0, None) as chunks:
                    yield from chunks
            except NotFoundError as error:
                raise UnavailableError("bytes of a resumable write were removed meanwhile") from error

    def _remove_all(self) -> None:
        """From the last to the first: what a kill leaves is a beginning."""
        self._remove(reversed(list(self._found())))

    def _remove(self, pieces: Iterable[ListedObject]) -> None:
        for piece in list(pieces):
            self._bucket.delete(piece.key)

    def _finished_before(self, expectation: Expectation) -> StoredContent | None:
        """The content, when an earlier call finished it and its answer was lost."""
        stored = self._store.find_stored(self._file_id)
        if stored is None:
            return None
        try:
            expectation.check(stored)
        except DigestMismatchError as error:
            raise ConflictError(
                "another content is complete under this id", entity_id=self._file_id
            ) from error
        return stored

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._store.in_use.taken(self._file_id) as is_ours:
            if not is_ours:
                raise UnavailableError("somebody else is writing to this content", entity_id=self._file_id)
            yield


class _PieceWriter:
    """Bytes at the end of a resumable write, sent in pieces; leaving it sends the last, whatever happened.

    Attributes:
        end: offset after what the service holds.
    """

    def __init__(self, bucket: Bucket, file_id: UUID, end: int) -> None:
        self._bucket = bucket
        self._prefix = pieces_prefix(bucket, file_id)
        self._filling = bytearray()
        self.end = end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._filling += chunk
        if len(self._filling) >= self._bucket.options.part_size:
            self._send()

    def _send(self) -> None:
        body, self._filling = self._filling, bytearray()
        if body:
            self._bucket.put(f"{self._prefix}{self.end:016d}", body, {})
            self.end += len(body)


def pieces_prefix(bucket: Bucket, file_id: UUID) -> str:
    """Beginning of the keys of one resumable write."""
    return bucket.options.key(PARTS_DIRECTORY, file_id.hex) + "/"


def _following(pieces: Iterable[ListedObject]) -> Iterator[ListedObject]:
    """Those of some pieces that follow each other from the first byte on."""
    end = 0
    for piece in pieces:
        if offset_of(piece) == end:
            yield piece
            end += piece.size


def offset_of(piece: ListedObject) -> int:
    """Where the bytes of a piece begin, -1 of what is none."""
    name = piece.key.rpartition("/")[2]
    return int(name) if _OFFSET.fullmatch(name) else -1


def owner_of(piece: ListedObject) -> UUID | None:
    """The content that a piece is meant for, None of what is none."""
    name = piece.key.split("/")[-2]
    return UUID(name) if _OWNER.fullmatch(name) and offset_of(piece) >= 0 else None
