"""Uploads that a client sends to the object store itself.

The address that it gets is of a content of its own, which nobody ever reads: it can be written to again until
the address expires. What has come is read once, proved, and written as the content of the object.

Source: K-310 of the storage contract.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection

from meteorpi_db.blocks import uploads
from meteorpi_db.blocks.changes import Stored, Terms
from meteorpi_db.blocks.prefixes import ensure_ownerless
from meteorpi_db.blocks.resuming import REFUSALS, Progress
from meteorpi_db.blocks.upload_locks import HeldLock, Patience, UploadLocks
from meteorpi_db.blocks.uploads import Plan, UploadRow
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    MeteorError,
    NotFoundError,
    TooLargeError,
)
from meteorpi_model.values import Clock

logger = logging.getLogger("meteorpi.db.blocks")

ADDRESS: Final = timedelta(hours=1)
"""How long an address can be written to."""

PRESIGN: Final = "presign"
"""What a store has to be capable of."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Where a client may send the bytes of an upload.

    Attributes:
        upload_id: by which it says that it has.
        url: takes one PUT, or several.
        expires_at: when that ends, naive UTC.
    """

    upload_id: str
    url: str
    expires_at: datetime


class DirectUploads:
    """Uploads that pass the node by; safe for threads.

    Args:
        transactions: of the node.
        store: where bytes are.
        clock: tells the time.
        keep: how long is waited for a client to say that it is done; longer than addresses are good.
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
        keep: timedelta,
        most_bytes: int,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
        patience: Patience | None = None,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._clock = clock
        self._keep = int(keep.total_seconds() * 1000)
        self._most_bytes = most_bytes
        self._turn = turn
        self._locks = UploadLocks(transactions, clock, self._keep, patience or Patience())

    @property
    def is_possible(self) -> bool:
        """Whether the store can give addresses."""
        return PRESIGN in self._store.capabilities

    def offer(self, plan: Plan, terms: Terms) -> Offer:
        """Reserve room, and give an address for the bytes.

        Raises:
            TooLargeError: an object cannot be so large.
            NotFoundError: the store gives no addresses; or there is no such prefix.
            NotAllowedError, PreconditionFailedError, QuotaReachedError: it may not be.
        """
        assert plan.kind == "direct"
        assert plan.length is not None
        if plan.length > self._most_bytes:
            raise TooLargeError(f"an object is at most {self._most_bytes} bytes", limit=self._most_bytes)
        waiting, now = uuid4(), self._now()
        seconds = int(ADDRESS.total_seconds())
        url = self._store.url(waiting, "PUT", seconds, size=plan.length) if self.is_possible else None
        if url is None:
            raise NotFoundError("the store of this node gives no addresses to write to")

        def operation(connection: Connection) -> UploadRow:
            if terms.account_id is None:
                ensure_ownerless(connection, plan.upload.prefix, now)
            return uploads.begin(connection, plan, waiting, terms, now, now + self._keep)

        self._transactions.write(operation)
        return Offer(upload_id=plan.upload.upload_id, url=url, expires_at=self._clock() + ADDRESS)

    def complete(self, upload_id: str, terms: Terms) -> Progress:
        """Make what a client has sent the object; repeated after a lost answer it gives the same result.

        Raises:
            NotFoundError: the account has no such upload.
            GoneError: its time is over.
            LockedError: somebody else is completing it.
            ConflictError: nothing has come yet.
            IncompleteBodyError, DigestMismatchError: something else has come; it is removed.
            NotAllowedError, PreconditionFailedError, QuotaReachedError: it may not be; likewise.
        """
        found = self._locks.find(upload_id)
        if found.account_id != terms.account_id or found.plan.kind != "direct":
            raise NotFoundError("there is no such upload")
        with self._locks.held(upload_id) as (row, lock):
            assert row.plan.length is not None
            stored = None if lock is None else self._complete(row, lock, row.plan.length, terms)
            return Progress(row=self._locks.find(upload_id), offset=row.plan.length, stored=stored)

    def _complete(self, row: UploadRow, lock: HeldLock, size: int, terms: Terms) -> Stored:
        if self._store.stat(row.content_id) is None:
            raise ConflictError("nothing has come yet at the address of this upload")
        final = replace(row, content_id=uuid4())
        try:
            with lock.working(), self._turn():
                stored = self._store_proved(row, final, lock, size, terms)
        except (*REFUSALS, DigestMismatchError):
            self._remove(final)
            self._remove(row)
            self._transactions.write(lambda c: uploads.forget(c, row.plan.upload.upload_id))
            lock.end()
            raise
        lock.end()
        self._remove(row)
        if not stored.is_content_used:
            self._remove(final)
        return stored

    def _store_proved(
        self, row: UploadRow, final: UploadRow, lock: HeldLock, size: int, terms: Terms
    ) -> Stored:
        with self._store.open(row.content_id) as chunks:
            facts = self._store.put(final.content_id, chunks, size=size, digests=row.plan.digests)
        return self._transactions.write(
            lambda c: uploads.finish(c, final, lock.owner, facts, terms, self._now())
        )

    def _remove(self, row: UploadRow) -> None:
        """Remove a content; what cannot be removed now is found by whoever looks for orphans."""
        try:
            self._store.delete(row.content_id)
        except MeteorError as error:
            logger.warning("content stays for now content_id=%s reason=%s", row.content_id.hex, error)

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())
