"""One connection that bytes of an archive go over, from the moment that it may to the one it has ended."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn
from uuid import UUID, uuid4

from meteorpi_db.archives.downloads import Download, link_digest
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import Refusal
from meteorpi_model.errors import NotAllowedError, TooManyAttemptsError, UnavailableError
from meteorpi_server.archive_api.rate_schedule import Flow
from meteorpi_server.archive_api.readers import Reader

_RETRY_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who wants to send what.

    Attributes:
        link: what the archive is asked for by; its connections share a slot.
        owner: key of whoever made the link.
        ticket_id: of the ticket, which needs its turn where there is a queue, or None.
        most_of_owner: archives of that owner at the same time; None for no limit of its own.
        reader: who is asking.
    """

    link: str
    owner: str = ""
    ticket_id: UUID | None = None
    most_of_owner: int | None = None
    reader: Reader

    @property
    def flow(self) -> Flow:
        """What decides its rate."""
        return Flow(self.link, self.owner)


class Slot:
    """The right to send, and how far it has got. Safe for threads.

    Args:
        claim: who sends what.
        end: gives back everything that was taken for it.
        download_id: what the queue knows it by; None without a queue.

    Attributes:
        claim: the same.
        download_id: what all processes know it by.
        is_queued: whether the queue knows it.
        is_known: whether the other processes do.
        sent_bytes: handed to the server.
        total_bytes: what it will be in the end, or None.
        began_at: monotonic time in seconds.
        handed_at: since when the server has what it was handed last; None while it waits for more.
        taken_bytes, taken_at: how much the reader has taken, as far as that is seen, and since when.
        stop_reason: why it has to end, or None.
    """

    def __init__(self, claim: Claim, end: Callable[[Slot], None], download_id: UUID | None = None) -> None:
        self.claim = claim
        self.download_id = download_id or uuid4()
        self.is_queued = self.is_known = download_id is not None
        self.sent_bytes = 0
        self.total_bytes: int | None = None
        self.began_at = time.monotonic()
        self.handed_at: float | None = None
        self.taken_bytes: int | None = None
        self.taken_at = self.began_at
        self.stop_reason: str | None = None
        self._end = end
        self._cut: Callable[[], None] = _nothing
        self._lock = threading.Lock()
        self._has_ended = False

    @property
    def is_stopped(self) -> bool:
        """Whether it has to end."""
        return self.stop_reason is not None

    @property
    def has_sent_all(self) -> bool:
        """Whether the server was handed everything that was announced."""
        return self.total_bytes is not None and self.sent_bytes >= self.total_bytes

    def cut_by(self, cut: Callable[[], None]) -> None:
        """Say how whoever sends is freed when a source keeps it waiting; called by another thread."""
        self._cut = cut

    def stop(self, reason: str) -> None:
        """Have it end: whoever sends sees it before the next chunk, and what it waits for is cut off.

        The slot is given back at once, as it may take a while until it sees that.
        """
        self.stop_reason = self.stop_reason or reason
        try:
            self.end()
        finally:
            self.claim.reader.hang_up()
            self._cut()

    def end(self) -> None:
        """Give everything back; harmless when repeated."""
        with self._lock:
            has_ended, self._has_ended = self._has_ended, True
        if not has_ended:
            self._end(self)

    def state(self) -> Download:
        """What all processes may know of it."""
        return Download(
            download_id=self.download_id,
            process=process_name(),
            link=link_digest(self.claim.link),
            owner=self.claim.owner,
            ticket_id=self.claim.ticket_id,
            sent_bytes=self.sent_bytes,
            total_bytes=self.total_bytes,
        )


def process_name() -> str:
    """What this process is known by to the others."""
    return f"{socket.gethostname()}:{os.getpid()}"


def begin_in_queue(queue: ArchiveQueue, ticket_id: UUID) -> UUID:
    """Use the slot that a ticket has in the queue for one more connection; gives what it is known by.

    Raises:
        NotAllowedError: it has none; its turn has to be waited for.
        TooManyAttemptsError: as many of its parts are being sent as may be.
        UnavailableError: all slots are in use.
        NotFoundError: the ticket was withdrawn.
    """
    found = queue.start(ticket_id, process_name())
    if isinstance(found, Refusal):
        _refuse(found)
    return found


def _refuse(refusal: Refusal) -> NoReturn:
    if refusal is Refusal.NO_SLOT:
        raise NotAllowedError("it is not the turn of this ticket yet; wait for it")
    if refusal is Refusal.TOO_PARALLEL:
        raise TooManyAttemptsError(
            "as many parts of this archive are being sent as may be", retry_after_seconds=_RETRY_SECONDS
        )
    raise UnavailableError("as many archives are being sent as may be at a time")


def _nothing() -> None:
    """Cut nothing."""
