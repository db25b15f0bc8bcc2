"""The right to send one archive: of this process always, of all processes where there is a queue."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn
from uuid import UUID

from meteorpi_db.archives.downloads import DOWNLOAD_SECONDS
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import Refusal
from meteorpi_model.errors import NotAllowedError, TooManyAttemptsError, UnavailableError

_RENEWALS: Final = 4  # in the time after which a download is taken to be dead
_RETRY_SECONDS: Final = 5


class Slot:
    """One connection that bytes of an archive go over. Safe for threads.

    Args:
        end: gives back what this process counts.
        queue: of all processes, or None.
        download_id: what the queue knows it by.
    """

    def __init__(
        self, end: Callable[[], None], queue: ArchiveQueue | None = None, download_id: UUID | None = None
    ) -> None:
        self._end = end
        self._queue = queue
        self._download_id = download_id
        self._renewed_at = time.monotonic()
        self._lock = threading.Lock()
        self._is_good = True

    def is_good(self) -> bool:
        """Whether the connection may go on; to be asked before each chunk, which is a sign of life."""
        if self._queue is None or self._download_id is None:
            return True
        with self._lock:
            if time.monotonic() - self._renewed_at >= DOWNLOAD_SECONDS / _RENEWALS:
                self._is_good = self._download_id not in self._queue.renew([self._download_id])
                self._renewed_at = time.monotonic()
        return self._is_good

    def end(self) -> None:
        """Give the slot back; harmless when repeated."""
        with self._lock:
            download_id, self._download_id = self._download_id, None
        try:
            if self._queue is not None and download_id is not None:
                self._queue.end(download_id)
        finally:
            self._end()


def take_slot(queue: ArchiveQueue, ticket_id: UUID, end: Callable[[], None]) -> Slot:
    """The slot that a ticket has in the queue, for one more connection.

    Raises:
        NotAllowedError: it has none; its turn has to be waited for.
        TooManyAttemptsError: as many of its parts are being sent as may be.
        UnavailableError: all slots are in use.
        NotFoundError: the ticket was withdrawn.
    """
    try:
        found = queue.start(ticket_id, f"{socket.gethostname()}:{os.getpid()}")
        if isinstance(found, Refusal):
            _refuse(found)
    except BaseException:
        end()
        raise
    return Slot(end, queue, found)


def _refuse(refusal: Refusal) -> NoReturn:
    if refusal is Refusal.NO_SLOT:
        raise NotAllowedError("it is not the turn of this ticket yet; wait for it")
    if refusal is Refusal.TOO_PARALLEL:
        raise TooManyAttemptsError(
            "as many parts of this archive are being sent as may be", retry_after_seconds=_RETRY_SECONDS
        )
    raise UnavailableError("as many archives are being sent as may be at a time")
