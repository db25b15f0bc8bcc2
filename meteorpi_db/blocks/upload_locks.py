"""Who is at work on an upload: one at a time, among all processes and machines of a node.

Whoever is at work says so again and again while bytes come, and while the store works. When nothing new is
heard for a while whoever did it is dead, or waits for a client that is gone, and somebody else takes over.
The clocks of two machines are never compared: whoever wants the lock looks at it for that long.

Source: K-305 of the storage contract.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from meteorpi_db.blocks import uploads
from meteorpi_db.blocks.uploads import RETRY_SECONDS, Lock, UploadRow
from meteorpi_db.connections import Transactions
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import GoneError, LockedError, MeteorError, NotFoundError
from meteorpi_model.values import Clock

logger = logging.getLogger("meteorpi.db.blocks")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long is waited for whoever is at work.

    Attributes:
        silent_seconds: after so long without a sign of life somebody else takes over.
        sign_seconds: so often a sign of life is given at most.
        look_seconds: so often it is looked for.
        pause: waits for so many seconds.
        monotonic: tells the time, in seconds from anywhere.
    """

    silent_seconds: float = 3.0
    sign_seconds: float = 1.0
    look_seconds: float = 0.25
    pause: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic


class HeldLock:
    """The right to go on with an upload.

    Attributes:
        owner: by which the row knows it.

    Args:
        transactions: the database.
        upload_id: of the upload.
        clock: tells the time.
        keep_milliseconds: how long the upload is kept after a sign of life.
        patience: how often one is given.
    """

    def __init__(
        self,
        transactions: Transactions,
        upload_id: str,
        clock: Clock,
        keep_milliseconds: int,
        patience: Patience,
    ) -> None:
        self.owner = secrets.token_hex(32)
        self._transactions = transactions
        self._upload_id = upload_id
        self._clock = clock
        self._keep = keep_milliseconds
        self._patience = patience
        self._changed = 0
        self._given_at = 0.0
        self._is_lost = False

    def take(self, seen: Lock | None) -> bool:
        """Take the lock from whoever was seen to have it; False when it is not so any more."""
        given_at, now = self._patience.monotonic(), self._next_sign()
        is_taken = self._transactions.write(
            lambda c: uploads.lock(c, self._upload_id, seen, self.owner, now, now + self._keep)
        )
        self._given_at = given_at
        return is_taken

    def keep(self) -> None:
        """Give a sign of life where one is due.

        Raises:
            LockedError: somebody else has taken over.
        """
        given_at = self._patience.monotonic()
        if given_at - self._given_at >= self._patience.sign_seconds and not self._is_lost:
            changed = self._next_sign()
            expires_at = changed + self._keep
            self._is_lost = not self._transactions.write(
                lambda c: uploads.keep_lock(c, self._upload_id, self.owner, changed, expires_at)
            )
            self._given_at = given_at
        if self._is_lost:
            raise LockedError(uploads.TAKEN, retry_after_seconds=RETRY_SECONDS)

    def kept(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, with a sign of life as they come."""
        for chunk in chunks:
            self.keep()
            yield chunk

    @contextmanager
    def working(self) -> Iterator[None]:
        """Give signs of life until the block ends, which waits for the store and for nobody else."""
        ended = threading.Event()
        thread = threading.Thread(target=self._go_on, args=(ended,), name="upload lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def end(self) -> None:
        """There is nothing left to give back: the upload is finished, or gone."""
        self._is_lost = True

    def leave(self) -> None:
        """Give the lock back; where that fails others find it silent."""
        if self._is_lost:
            return
        try:
            self._transactions.write(lambda c: uploads.unlock(c, self._upload_id, self.owner))
        except MeteorError as error:
            logger.warning("lock of an upload stays for a moment reason=%s", error)

    def _go_on(self, ended: threading.Event) -> None:
        while not ended.wait(self._patience.sign_seconds):
            try:
                self.keep()
            except MeteorError as error:
                # Whoever works learns of it when it is done; a database that is away may be back by then.
                logger.debug("no sign of life could be given reason=%s", error)

    def _next_sign(self) -> int:
        """The time; never the same as before, whatever the clock says."""
        self._changed = max(utc_datetime_to_milliseconds(self._clock()), self._changed + 1)
        return self._changed


class UploadLocks:
    """Hands out locks of uploads.

    Args:
        transactions: the database.
        clock: tells the time.
        keep_milliseconds: how long an upload is kept after a sign of life.
        patience: how long is waited for others.
    """

    def __init__(
        self, transactions: Transactions, clock: Clock, keep_milliseconds: int, patience: Patience
    ) -> None:
        self._transactions = transactions
        self._clock = clock
        self._keep = keep_milliseconds
        self._patience = patience

    @contextmanager
    def held(self, upload_id: str) -> Iterator[tuple[UploadRow, HeldLock | None]]:
        """Be the one at work on an upload while the block runs.

        Yields:
            The upload as it is then, and the lock; None instead of a lock when it is finished, so that there
            is nothing to do.

        Raises:
            NotFoundError: there is no such upload.
            GoneError: its time is over.
            LockedError: somebody else is at work, and alive.
        """
        row, mine = self._take(upload_id)
        try:
            yield row, mine
        finally:
            if mine is not None:
                mine.leave()

    def find(self, upload_id: str) -> UploadRow:
        """The upload as it is, whoever is at work on it.

        Raises:
            NotFoundError: there is none of this id.
            GoneError: its time is over.
        """
        with self._transactions.reading() as connection:
            row = uploads.find(connection, upload_id)
        if row is None:
            raise NotFoundError("there is no such upload")
        if row.expires_at <= utc_datetime_to_milliseconds(self._clock()):
            raise GoneError("the time of this upload is over")
        return row

    def _take(self, upload_id: str) -> tuple[UploadRow, HeldLock | None]:
        mine = HeldLock(self._transactions, upload_id, self._clock, self._keep, self._patience)
        row = self.find(upload_id)
        silent_since, first = self._patience.monotonic(), row.lock
        while row.sha256 is None:
            is_silent = self._patience.monotonic() - silent_since >= self._patience.silent_seconds
            if row.lock is None or is_silent:
                if mine.take(row.lock):
                    return self.find(upload_id), mine
            else:
                self._patience.pause(self._patience.look_seconds)
            row = self.find(upload_id)
            if row.lock is not None and row.lock != first:
                raise LockedError("somebody is at work on this upload", retry_after_seconds=RETRY_SECONDS)
        return row, None
