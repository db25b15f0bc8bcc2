"""Uploads that are gone on with after a break, whoever served them before.

The order is that of every upload: bytes become durable in the store, and one transaction makes them the
object. An upload whose bytes are all there and that is no object, since a process died in between, is
finished by the next request for it; a client is never told that everything has come before it is an object.

Source: part E of the storage contract.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection

from meteorpi_db.blocks import contents, uploads
from meteorpi_db.blocks.changes import Stored, Terms
from meteorpi_db.blocks.gathering import Checksum, gathered, proved
from meteorpi_db.blocks.prefixes import ensure_ownerless
from meteorpi_db.blocks.upload_locks import HeldLock, Patience, UploadLocks
from meteorpi_db.blocks.uploads import RETRY_SECONDS, Plan, UploadRow
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore, StoredContent
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    IncompleteBodyError,
    InvalidDocumentError,
    LockedError,
    MeteorError,
    NotAllowedError,
    NotFoundError,
    PreconditionFailedError,
    QuotaReachedError,
    TooLargeError,
)
from meteorpi_model.values import Clock

logger = logging.getLogger("meteorpi.db.blocks")

KEEP_HOURS: Final = 24
MOST_BYTES: Final = 2 << 30
REFUSALS: Final = (NotFoundError, NotAllowedError, PreconditionFailedError, QuotaReachedError)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an upload has come.

    Attributes:
        row: the upload.
        offset: bytes that have come and will stay.
        stored: what it led to, when it was finished by this very call.
    """

    row: UploadRow
    offset: int
    stored: Stored | None = None


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one request brings.

    Attributes:
        offset: where its bytes go.
        chunks: the bytes; raises when they are cut off.
        size: how many they are said to be, None when that is not known.
        length: of the whole upload, when it says that now.
        checksum: of its bytes, None for none.
    """

    offset: int
    chunks: Iterable[bytes]
    size: int | None = None
    length: int | None = None
    checksum: Checksum | None = None


class ResumableUploads:
    """Uploads of several requests, in the node's database and a store; safe for threads.

    Args:
        transactions: of the node.
        store: where bytes are.
        clock: tells the time.
        keep_hours: how long an upload is kept after its last byte.
        most_bytes: of an object.
        turn: is entered while something is written to the store.
        patience: how long is waited for others at the same upload.
    """

    def __init__(
        self,
        transactions: Transactions,
        store: FileStore,
        clock: Clock,
        *,
        keep_hours: int = KEEP_HOURS,
        most_bytes: int = MOST_BYTES,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
        patience: Patience | None = None,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._clock = clock
        self._keep = keep_hours * 3600 * 1000
        self._most_bytes = most_bytes
        self._turn = turn
        self._patience = patience or Patience()
        self._locks = UploadLocks(transactions, clock, self._keep, self._patience)

    def begin(self, plan: Plan, terms: Terms) -> Progress:
        """Begin an upload; one without any byte is finished at once.

        Raises:
            TooLargeError: it is announced to be larger than an object may be.
            NotFoundError, NotAllowedError, PreconditionFailedError, QuotaReachedError: it may not be.
        """
        self._require_size(plan.length or 0)
        content_id, now = uuid4(), self._now()

        def operation(connection: Connection) -> UploadRow:
            if terms.account_id is None:
                ensure_ownerless(connection, plan.upload.prefix, now)
            return uploads.begin(connection, plan, content_id, terms, now, now + self._keep)

        row = self._transactions.write(operation)
        return Progress(row=row, offset=0) if plan.length != 0 else self.look(plan.upload.upload_id, terms)

    def look(self, upload_id: str, terms: Terms) -> Progress:
        """How far an upload has come; when all its bytes are there it is an object afterwards.

        Raises:
            NotFoundError: the account has no such upload.
            GoneError: its time is over.
            LockedError: somebody else is finishing it.
            DigestMismatchError, PreconditionFailedError, ...: it cannot become the object, and is discarded.
        """
        row = self._find(upload_id, terms)
        offset = self._offset(row)
        if row.sha256 is not None or offset != row.plan.length:
            return Progress(row=row, offset=offset)
        with self._locks.held(upload_id) as (row, lock):
            return self._finish_if_complete(row, lock, self._offset(row), terms)

    def receive(self, upload_id: str, piece: Piece, terms: Terms) -> Progress:
        """Take bytes in; what came before a failure stays, unless they were to have a checksum.

        Raises:
            NotFoundError: the account has no such upload.
            GoneError: its time is over.
            LockedError: somebody else is at work on it, or has gone on with it meanwhile.
            ConflictError: the next byte is another one.
            TooLargeError: it would be larger than announced, or than an object may be.
            ChecksumMismatchError: the bytes are wrong; they are discarded.
            DigestMismatchError, PreconditionFailedError, ...: it cannot become the object, and is discarded.
            StoreFullError, UnavailableError: the node cannot.
        """
        self._find(upload_id, terms)
        with self._locks.held(upload_id) as (row, lock):
            offset = self._offset(row)
            if piece.offset != offset:
                raise ConflictError(f"the next byte is number {offset}", offset=offset)
            self._require_size(offset + (piece.size or 0), row)
            if lock is not None:
                row = self._with_length(row, piece.length, offset, terms)
                offset = self._append(row, lock, offset, piece, terms)
            return self._finish_if_complete(row, lock, offset, terms)

    def discard(self, upload_id: str, terms: Terms) -> None:
        """Forget an upload and its bytes; an object that it has become stays.

        Raises:
            NotFoundError: the account has no such upload.
            GoneError: its time is over.
            LockedError: somebody is at work on it.
        """
        self._find(upload_id, terms)
        with self._locks.held(upload_id) as (row, lock):
            if lock is None:
                self._transactions.write(lambda c: uploads.forget(c, upload_id))
            else:
                self._discard(row, lock)

    def _find(self, upload_id: str, terms: Terms) -> UploadRow:
        row = self._locks.find(upload_id)
        if row.account_id != terms.account_id or row.plan.kind != "resumable":
            raise NotFoundError("there is no such upload")
        return row

    def _offset(self, row: UploadRow) -> int:
        if row.sha256 is not None:
            assert row.plan.length is not None
            return row.plan.length
        offset = self._store.parts(row.content_id).offset
        if offset == 0:  # or complete, by a process that died before it could say so
            found = self._store.stat(row.content_id)
            return 0 if found is None else found.size
        return offset

    def _with_length(self, row: UploadRow, length: int | None, offset: int, terms: Terms) -> UploadRow:
        """The upload with the length that a request announces."""
        if length is None or length == row.plan.length:
            return row
        if row.plan.length is not None or length < offset:
            raise InvalidDocumentError("the length of an upload is said once, and counts what has come")
        self._require_size(length)
        return self._transactions.write(lambda c: uploads.set_length(c, row, length, terms, self._now()))

    def _append(self, row: UploadRow, lock: HeldLock, offset: int, piece: Piece, terms: Terms) -> int:
        chunks: Iterable[bytes] = lock.kept(piece.chunks)
        if piece.checksum is not None:
            chunks = proved(chunks, piece.checksum, self._store)
        for group in gathered(chunks, self._patience.monotonic):
            end = offset + len(group)
            self._require_size(end, row)
            if row.plan.length is None:
                self._transactions.write(lambda c, size=end: uploads.resize(c, row, size, terms, self._now()))  # type: ignore[misc]
            lock.keep()
            with lock.working(), self._turn():
                offset = self._store.parts(row.content_id).append(offset, [group])
        return offset

    def _finish_if_complete(
        self, row: UploadRow, lock: HeldLock | None, offset: int, terms: Terms
    ) -> Progress:
        if lock is None or offset != row.plan.length:
            return Progress(row=row, offset=offset)
        try:
            stored = self._finish(row, lock, offset, terms)
        except IncompleteBodyError:
            raise  # bytes went missing in the store; what is left can be gone on with
        except (*REFUSALS, DigestMismatchError):
            self._discard(row, lock)
            raise
        lock.end()
        if not stored.is_content_used:
            self._remove_spare(row)
        return Progress(row=self._locks.find(row.plan.upload.upload_id), offset=offset, stored=stored)

    def _finish(self, row: UploadRow, lock: HeldLock, size: int, terms: Terms) -> Stored:
        with lock.working(), self._turn():
            facts: StoredContent = self._store.parts(row.content_id).finish(size, row.plan.digests)
        lock.keep()
        return self._transactions.write(
            lambda c: uploads.finish(c, row, lock.owner, facts, terms, self._now())
        )

    def _discard(self, row: UploadRow, lock: HeldLock) -> None:
        """Remove bytes and row, the bytes first; what cannot be removed now is swept.

        Raises:
            LockedError: somebody else has gone on with it, whose bytes they are now.
        """
        upload_id = row.plan.upload.upload_id
        if not self._transactions.write(lambda c: uploads.abandon(c, upload_id, lock.owner)):
            with self._transactions.reading() as connection:
                if contents.held_ids(connection, [row.content_id]):
                    raise LockedError(uploads.TAKEN, retry_after_seconds=RETRY_SECONDS)
        lock.end()
        try:
            self._store.parts(row.content_id).discard()
            self._store.delete(row.content_id)
        except MeteorError as error:
            logger.warning("an upload is removed later content_id=%s reason=%s", row.content_id.hex, error)
            return
        self._transactions.write(lambda c: uploads.forget(c, upload_id))

    def _remove_spare(self, row: UploadRow) -> None:
        """The same bytes were there; what cannot be removed now is found by whoever looks for orphans."""
        try:
            self._store.delete(row.content_id)
        except MeteorError as error:
            logger.warning("spare content stays for now content_id=%s reason=%s", row.content_id.hex, error)

    def _require_size(self, size: int, row: UploadRow | None = None) -> None:
        if row is not None and row.plan.length is not None and size > row.plan.length:
            raise TooLargeError(f"the upload is said to have {row.plan.length} bytes", limit=row.plan.length)
        if size > self._most_bytes:
            raise TooLargeError(f"an object is at most {self._most_bytes} bytes", limit=self._most_bytes)

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())
