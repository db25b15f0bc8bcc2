"""Waiting for the turn of a ticket: in one answer that comes late, or in a stream of events.

A waiter occupies a thread. Only some may: whoever asks for a late answer beyond that gets one at once, and
asks again. Nothing is known of a reader that left before something is written to it; so the place of a
waiter is kept for no longer than it was heard of, and a stream of events is written to often.

Source:
    Section 3.9 of the archive contract; the HTML standard, "Server-sent events", for the stream.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID, uuid4

from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import Standing
from meteorpi_model.errors import UnavailableError
from meteorpi_model.values import JsonObject
from meteorpi_server.stopping import StopRequest

LOOK_SECONDS: Final = 0.5
"""How often a waiter looks; a free slot is given to whoever is next within that time."""

_SIGNS: Final = 4  # of life, in the time after which a waiter that left has to be known to have left
_NOBODY: Final = ""


def waiting_threads(threads: int) -> int:
    """How many of the worker threads may be taken by those who wait."""
    return max(1, threads // 4)


class WaitingRoom:
    """Those who wait in this process.

    Args:
        queue: of the database.
        seats: how many may occupy a thread.
        ping_seconds: longest time without a sign of life of a waiter.
        timeout_seconds: after so long even a patient one is sent away.
        pause: waits for a number of seconds.
        stop: whether the process has to end; then those who wait are sent away, to wait elsewhere.
    """

    def __init__(
        self,
        queue: ArchiveQueue,
        seats: int,
        *,
        ping_seconds: float = 20.0,
        timeout_seconds: float = 3600.0,
        pause: Callable[[float], None] = time.sleep,
        stop: StopRequest | None = None,
    ) -> None:
        self._queue = queue
        self._seats = threading.BoundedSemaphore(seats)
        self._ping_seconds = ping_seconds
        self._timeout_seconds = timeout_seconds
        self._pause = pause
        self._stop = stop or StopRequest()

    @property
    def is_closing(self) -> bool:
        """Whether the process has to end."""
        return self._stop.asked_at is not None

    def poll(self, ticket_id: UUID, seconds: float) -> Standing:
        """How things are with a ticket that waits: as soon as that changes, or after `seconds`.

        The place is kept until the next call, if that comes soon. Nobody waits here for longer than
        `ping_seconds`: a caller that left would be taken to be waiting all that time.

        Raises:
            NotFoundError: there is no such ticket.
            AlreadyWaitingError: somebody else waits with it.
        """
        waiter = uuid4().hex
        first = standing = self._queue.enter(ticket_id, waiter)
        try:
            with self._seat() as has_seat:
                deadline = time.monotonic() + min(seconds, self._ping_seconds)
                while has_seat and standing == first and not (standing.is_available or self.is_closing):
                    if (left := deadline - time.monotonic()) <= 0:
                        break
                    self._pause(min(LOOK_SECONDS, left))
                    standing = self._queue.look(ticket_id, _NOBODY)  # is no sign of life of the caller
        finally:
            self._queue.pause(ticket_id, waiter)
        return standing

    def watch(self, ticket_id: UUID) -> Watch:
        """How things are with a ticket: at once, at every change, and until it is available.

        In between None is given, often enough that a reader that left is noticed in time by writing to it.
        Closing it gives up the place.

        Raises:
            NotFoundError: there is no such ticket; before anything is given.
            AlreadyWaitingError: somebody else waits with it.
            UnavailableError: so many wait already that no thread is left for this one.
        """
        if not self._seats.acquire(blocking=False):
            raise UnavailableError("as many wait already as may keep a connection; ask without it")
        try:
            waiter = uuid4().hex
            first = self._queue.enter(ticket_id, waiter)
        except BaseException:
            self._seats.release()
            raise
        return Watch(self._follow(ticket_id, waiter, first), lambda: self._leave(ticket_id, waiter))

    def _follow(self, ticket_id: UUID, waiter: str, standing: Standing) -> Iterator[Standing | None]:
        yield standing
        end, ping = time.monotonic() + self._timeout_seconds, self._ping_seconds / _SIGNS
        told_at = time.monotonic()
        while not (standing.is_available or self.is_closing) and time.monotonic() < end:
            self._pause(LOOK_SECONDS)
            found = self._queue.look(ticket_id, waiter)
            if found != standing:
                standing, told_at = found, time.monotonic()
                yield standing
            elif time.monotonic() - told_at >= ping:
                told_at = time.monotonic()
                yield None

    def _leave(self, ticket_id: UUID, waiter: str) -> None:
        try:
            self._queue.leave(ticket_id, waiter)
        finally:
            self._seats.release()

    @contextmanager
    def _seat(self) -> Iterator[bool]:
        has_seat = self._seats.acquire(blocking=False)
        try:
            yield has_seat
        finally:
            if has_seat:
                self._seats.release()


class Watch(Iterator[Standing | None]):
    """Standings, and what is to be done once when they end, even if nobody ever took one."""

    def __init__(self, standings: Iterator[Standing | None], leave: Callable[[], None]) -> None:
        self._standings = standings
        self._leave = leave
        self._is_closed = False

    def __next__(self) -> Standing | None:
        try:
            return next(self._standings)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give up place and thread; harmless when repeated."""
        if not self._is_closed:
            self._is_closed = True
            self._leave()


def standing_document(standing: Standing) -> JsonObject:
    """What a waiter is told."""
    told: JsonObject = {"position": standing.position, "available": standing.is_available}
    if standing.eta_seconds is not None:
        told["eta_seconds"] = round(standing.eta_seconds)
    return told


class Events(Iterator[bytes]):
    """A watch as a stream of events; closing it ends the watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __next__(self) -> bytes:
        standing = next(self._watch)
        return b": still waiting\n\n" if standing is None else standing_event(standing)

    def close(self) -> None:
        """End the watch; harmless when repeated."""
        self._watch.close()


def standing_event(standing: Standing) -> bytes:
    """The same as one event of a stream."""
    return f"data: {json.dumps(standing_document(standing))}\n\n".encode()
