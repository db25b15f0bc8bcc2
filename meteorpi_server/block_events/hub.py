"""Those who listen in this process, and the one thread that reads for all of them what happened.

The thread is there only while somebody listens. Nobody who listens holds a connection to the database.

Source: K-150 to K-155 of the storage contract.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from meteorpi_db.blocks.event_log import EventLog
from meteorpi_model.errors import MeteorError, UnavailableError
from meteorpi_server.block_events.base import EventBroker
from meteorpi_server.block_events.figures import EventFigures
from meteorpi_server.block_events.listeners import (
    GOING_AWAY,
    MOST_WAITING,
    TRY_AGAIN_LATER,
    Listener,
    Resync,
)
from meteorpi_server.stopping import StopRequest

logger = logging.getLogger("meteorpi.block.events")

_TICK_SECONDS: Final = 0.5
"""So soon it is noticed that the process has to end."""

_PAGE: Final = 500
_REST_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 30


@dataclass(frozen=True, kw_only=True)
class HubLimits:
    """How many may listen in one process.

    Attributes:
        all: together.
        each: for one account, or from one address.
        in_threads: of those who occupy a thread of the web server.
        waiting: events that may wait for one who listens.
    """

    all: int = 500
    each: int = 50
    in_threads: int = 1
    waiting: int = MOST_WAITING


@dataclass(eq=False)
class _Feed:
    """A prefix that is listened to, and the number of the last event that its listeners were given."""

    position: int
    listeners: set[Listener] = field(default_factory=set)


class EventHub:
    """Gives events to listeners; safe for threads.

    Attributes:
        broker: wakes the listeners of other processes.
        figures: what is counted.

    Args:
        log: what happened.
        limits: how many may listen.
        stop: whether the process has to end; then all are sent away.
        monotonic: tells the seconds that have passed.
    """

    def __init__(
        self,
        log: EventLog,
        broker: EventBroker,
        limits: HubLimits | None = None,
        stop: StopRequest | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broker = broker
        self.figures = EventFigures()
        self._log = log
        self._limits = limits or HubLimits()
        self._stop = stop or StopRequest()
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._feeds: dict[str, _Feed] = {}
        self._places: Counter[str] = Counter()
        self._in_threads = 0
        self._woken: set[str] = set()
        self._looked_at = 0.0
        self._thread: threading.Thread | None = None

    @property
    def is_listened_to(self) -> bool:
        """Whether anybody listens."""
        return bool(self._feeds)

    def announce(self, prefix: str) -> None:
        """Let everybody know that something happened below a prefix; after it did, without failing."""
        self.figures.add(published=1)
        try:
            self.wake(prefix)
            self.broker.announce(prefix)
        except RuntimeError as error:  # no thread can be begun: there are too many, or the process ends
            logger.warning("listeners learn of it when they look reason=%s", error)

    def wake(self, prefix: str | None) -> None:
        """Let those who listen here look for what happened; None for all of them."""
        with self._changed:
            if prefix is None:
                self._woken.update(self._feeds)
            elif prefix in self._feeds:
                self._woken.add(prefix)
            if self._woken:
                self._ensure_thread()  # should it have come to an end that nobody foresaw
            self._changed.notify_all()

    def join(
        self,
        prefix: str,
        path: str | None,
        who: str,
        since: int | None = None,
        *,
        occupies_thread: bool = True,
    ) -> Listener:
        """Listen from now on; whoever does has to :meth:`leave`.

        Args:
            path: of one object, None for all below the prefix.
            who: an account or an address, whose listeners are counted together.
            since: number of the last event that is known, to be told what was missed.
            occupies_thread: whether a thread of the web server is kept.

        Raises:
            UnavailableError: there are too many, the process must end, or the database does not answer.
        """
        listener = Listener(self._log, prefix, path, who, since, self._limits.waiting)
        self._take_place(who, occupies_thread)
        try:
            self._connect(listener)
        except BaseException:
            self._give_place(who, occupies_thread)
            raise
        return listener

    def leave(self, listener: Listener, *, occupies_thread: bool = True) -> None:
        """Listen no longer."""
        with self._changed:
            feed = self._feeds[listener.prefix]
            feed.listeners.discard(listener)
            if not feed.listeners:
                del self._feeds[listener.prefix]
            self._changed.notify_all()
        self._give_place(listener.who, occupies_thread)
        if listener.has_ended is not None and listener.has_ended.code == TRY_AGAIN_LATER:
            self.figures.add(dropped=1)

    def close(self) -> None:
        """Send everybody away, and end what was begun."""
        self._send_away()
        self.broker.close()
        thread = self._thread
        if thread is not None:
            thread.join(_RETRY_SECONDS)

    def _take_place(self, who: str, occupies_thread: bool) -> None:
        with self._changed:
            if self._stop.asked_at is not None:
                raise UnavailableError("this server is about to stop", retry_after_seconds=_RETRY_SECONDS)
            is_full = self._places.total() >= self._limits.all or self._places[who] >= self._limits.each
            if is_full or (occupies_thread and self._in_threads >= self._limits.in_threads):
                raise UnavailableError("as many listen already as may", retry_after_seconds=_RETRY_SECONDS)
            self._places[who] += 1
            self._in_threads += occupies_thread

    def _give_place(self, who: str, occupies_thread: bool) -> None:
        with self._changed:
            self._places[who] -= 1
            self._places += Counter()  # without those who have none left
            self._in_threads -= occupies_thread

    def _connect(self, listener: Listener) -> None:
        number: int | None = None
        while True:
            with self._changed:
                if number is not None or listener.prefix in self._feeds:
                    self._ensure_thread()  # first: where it cannot be begun nobody is left behind
                    feed = self._feeds.setdefault(listener.prefix, _Feed(number or 0))
                    listener.join_at(feed.position)
                    feed.listeners.add(listener)
                    self._woken.add(listener.prefix)  # for what happened since the number was read
                    self._changed.notify_all()
                    return
            number = self._log.last_number(listener.prefix)

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self.broker.listen(self.wake)
            self._looked_at = self._monotonic()
            thread = threading.Thread(target=self._run, name="block events", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while (prefixes := self._next_work()) is not None:
            try:
                for prefix in prefixes or self._behind():
                    self._deliver(prefix)
            except MeteorError as error:
                logger.warning("events are told later detail=%s", error.detail)
                with self._changed:
                    self._woken.update(prefixes)
                    self._changed.wait(_REST_SECONDS)

    def _next_work(self) -> list[str] | None:
        """The prefixes below which something happened; none of them to look everywhere; None at the end."""
        while True:
            if self._has_to_end():
                self._send_away()
            with self._changed:
                if not self._feeds:
                    self.broker.rest()
                    self._thread = None
                    return None
                woken, self._woken = self._woken & self._feeds.keys(), set()
                if woken:
                    return sorted(woken)
                if self._monotonic() - self._looked_at >= self.broker.poll_seconds:
                    self._looked_at = self._monotonic()
                    return []
                self._changed.wait(_TICK_SECONDS)

    def _has_to_end(self) -> bool:
        return self._stop.asked_at is not None or not threading.main_thread().is_alive()

    def _send_away(self) -> None:
        with self._changed:
            everybody = [listener for feed in self._feeds.values() for listener in feed.listeners]
        for listener in everybody:
            listener.end(GOING_AWAY, "this server stops")

    def _behind(self) -> list[str]:
        """The prefixes below which something happened that nobody was woken for."""
        with self._changed:
            positions = {prefix: feed.position for prefix, feed in self._feeds.items()}
        found = self._log.last_numbers(sorted(positions))
        return [prefix for prefix, position in positions.items() if found.get(prefix, 0) != position]

    def _deliver(self, prefix: str) -> None:
        feed = self._feeds.get(prefix)
        while feed is not None:
            page = self._log.after(prefix, feed.position, _PAGE)
            if not page and (number := self._log.last_number(prefix)) < feed.position:
                self._begin_again(feed, Resync(prefix, number))
            with self._changed:
                for event in page:
                    for listener in feed.listeners:
                        listener.offer(event)
                    feed.position = event.number
            if len(page) < _PAGE:
                return

    def _begin_again(self, feed: _Feed, resync: Resync) -> None:
        """The prefix was removed, and there may be another of its name."""
        with self._changed:
            feed.position = resync.number
            for listener in feed.listeners:
                listener.offer(resync)
