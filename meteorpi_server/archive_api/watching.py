"""A look at everything that is being sent, twice a second, by a thread that is there while something is.

It sees what those who send cannot: a reader that takes nothing, one that has left while a source is silent,
a ticket that was withdrawn through another process, and that the process has to end.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from meteorpi_db.archives.downloads import Download, Downloads
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_model.errors import MeteorError
from meteorpi_server.archive_api.rate_schedule import Flow, shares_of
from meteorpi_server.archive_api.rates import Rates
from meteorpi_server.archive_api.slots import Slot, process_name
from meteorpi_server.stopping import StopRequest

logger = logging.getLogger("meteorpi.archive.watch")

LOOK_SECONDS: Final = 0.5
RENEW_SECONDS: Final = 5.0
"""How often the other processes learn how far everything is, and this one what was withdrawn."""

STOPPING: Final = "stopping"
STALLED: Final = "stalled"
GONE: Final = "reader-gone"
WITHDRAWN: Final = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        send: for a reader to take something.
        stop: for downloads to end by themselves when the process has to.
    """

    send: float
    stop: float


class Watcher:
    """Looks after the connections of one application. Safe for threads.

    Args:
        downloads: the connections of all processes.
        queue: where their turns are, or None.
        rates: to be shared with other processes.
        patience: how long is waited.
        stop: whether the process has to end.
    """

    def __init__(
        self,
        downloads: Downloads,
        queue: ArchiveQueue | None,
        rates: Rates,
        patience: Patience,
        stop: StopRequest,
    ) -> None:
        self._downloads = downloads
        self._queue = queue
        self._rates = rates
        self._patience = patience
        self._stop = stop
        self._lock = threading.Lock()
        # One whose answer was never closed, and is gone, is none that anybody sends by.
        self._slots: weakref.WeakSet[Slot] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._renewed_at = 0.0

    def add(self, slot: Slot) -> None:
        """Look after one more."""
        with self._lock:
            self._slots.add(slot)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="archive-watch", daemon=True)
                self._thread.start()

    def remove(self, slot: Slot) -> None:
        """Look after one less; the others learn that it has ended."""
        with self._lock:
            self._slots.discard(slot)
            if not self._slots:
                self._wake.set()
        if slot.is_known and not slot.is_queued:
            self._downloads.end([slot.download_id])

    def slots(self) -> list[Slot]:
        """What is being sent."""
        with self._lock:
            return list(self._slots)

    def progress_of(self, ticket_id: UUID) -> list[Download]:
        """The connections that take bytes of a ticket's archive, of all processes, and how far they are."""
        here = [slot.state() for slot in self.slots() if slot.claim.ticket_id == ticket_id]
        own = process_name()
        others = (each for each in self._downloads.running() if each.process != own)
        return here + [each for each in others if each.ticket_id == ticket_id]

    def look(self, now: float) -> None:
        """Look once; `now` is monotonic, in seconds."""
        for slot in self.slots():
            if (reason := self._reason(slot, now)) is not None:
                slot.stop(reason)
        is_due = now - self._renewed_at >= RENEW_SECONDS
        new = [slot for slot in self.slots() if not slot.is_known and now - slot.began_at >= LOOK_SECONDS]
        if is_due or new:
            self._renewed_at = now
            self._renew(self.slots() if is_due else new)
        if self._rates.are_set:
            active = [(each.process, Flow(each.link, each.owner)) for each in self._downloads.running()]
            self._rates.share(shares_of(process_name(), active))

    def _reason(self, slot: Slot, now: float) -> str | None:
        """Why it has to end, or None."""
        handed_at, stop_at = slot.handed_at, self._stop.asked_at
        if stop_at is not None and now - stop_at >= self._patience.stop:
            return STOPPING
        if handed_at is not None and now - max(handed_at, _taken_at(slot, now)) >= self._patience.send:
            return STALLED
        # With everything handed over it may leave: the server is about to ask for more, and hear of the end.
        return GONE if not slot.has_sent_all and slot.claim.reader.is_gone() else None

    def _renew(self, slots: Sequence[Slot]) -> None:
        states = {slot.download_id: slot.state() for slot in slots}
        queued = [slot.download_id for slot in slots if slot.is_queued]
        over = self._downloads.renew([states[slot.download_id] for slot in slots if not slot.is_queued])
        if self._queue is not None and queued:
            over |= self._queue.renew(queued, states)
        for slot in slots:
            slot.is_known = True
            if slot.download_id in over:
                slot.stop(WITHDRAWN)
        # Those that ended meanwhile did not know yet that the others know of them.
        late = set(slots).difference(self.slots())
        self._downloads.end(slot.download_id for slot in late if not slot.is_queued)

    def _run(self) -> None:
        while self._has_work():
            try:
                self.look(time.monotonic())
            except MeteorError as error:
                logger.warning("archives not looked after detail=%s", error.detail)
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()

    def _has_work(self) -> bool:
        with self._lock:
            if not self._slots:
                self._thread = None
            return self._thread is not None


def _taken_at(slot: Slot, now: float) -> float:
    """When the reader was last seen to take something: a slow one may need long for what was handed on."""
    taken = slot.claim.reader.taken_bytes()
    if taken != slot.taken_bytes:
        slot.taken_bytes, slot.taken_at = taken, now
    return slot.taken_at
