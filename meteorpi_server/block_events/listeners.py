"""One who listens: what it missed, then what happens, in a queue that has an end.

Source: K-151 and K-154 of the storage contract.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from meteorpi_db.blocks.event_log import EventLog
from meteorpi_db.blocks.events import BlockEvent

MOST_WAITING: Final = 1000
GOING_AWAY: Final = 1001
TRY_AGAIN_LATER: Final = 1013

_PAGE: Final = 500


@dataclass(frozen=True)
class Resync:
    """What was missed cannot be told any more.

    Attributes:
        prefix: that is listened to.
        number: of the last event that is not told.
    """

    prefix: str
    number: int


@dataclass(frozen=True)
class End:
    """Why nothing more is told: a code of RFC 6455 section 7.4, and a reason."""

    code: int
    reason: str


Told: TypeAlias = BlockEvent | Resync


class Listener:
    """Somebody who wants to know what happens below a prefix, or to one object; safe for threads.

    Attributes:
        prefix: below which.
        path: of the object; None for all of them.
        who: whom it counts for.

    Args:
        log: tells what was missed.
        since: number of the last event that is known; None to be told only what happens from now on.
        most_waiting: with more than so many events waiting it is too slow.
    """

    def __init__(
        self,
        log: EventLog,
        prefix: str,
        path: str | None,
        who: str,
        since: int | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.prefix = prefix
        self.path = path
        self.who = who
        self._log = log
        self._known = since
        self._floor = since or 0
        self._joined_at = 0
        self._missed: deque[Told] = deque()
        self._most_waiting = most_waiting
        self._waiting: deque[Told] = deque()
        self._changed = threading.Condition()
        self._is_poked = False
        self._end: End | None = None

    @property
    def has_ended(self) -> End | None:
        """Why nothing more is told, None as long as something may be."""
        return self._end

    def join_at(self, number: int) -> None:
        """Begin with the event after `number`; what was missed before that is read as it is taken."""
        self._joined_at = number

    def offer(self, told: Told) -> None:
        """Put something into the queue, if it is about what is listened to; a full queue ends it."""
        if not self._is_wanted(told):
            return
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                self._end = self._end or End(TRY_AGAIN_LATER, "too slow")
            else:
                self._waiting.append(told)
            self._changed.notify_all()

    def end(self, code: int, reason: str) -> None:
        """Tell nothing more."""
        with self._changed:
            self._end = self._end or End(code, reason)
            self._changed.notify_all()

    def poke(self) -> None:
        """Let :meth:`take` come back, so that whoever takes looks around."""
        with self._changed:
            self._is_poked = True
            self._changed.notify_all()

    def take(self, seconds: float) -> Told | None:
        """The next event; None after `seconds`, when it has ended, or was poked.

        Raises:
            UnavailableError: what was missed cannot be read now.
        """
        if not self._missed and self._known is not None:
            self._catch_up()
        if self._missed:
            return self._missed.popleft()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_poked or self._end, timeout=seconds)
            self._is_poked = False
            return self._waiting.popleft() if self._waiting and self._end is None else None

    def _catch_up(self) -> None:
        """Read a page of what was missed, or more, until there is something to tell or nothing left."""
        while self._known is not None and not self._missed:
            if not self._log.is_kept_since(self.prefix, self._known):
                self._missed.append(Resync(self.prefix, self._joined_at))
                self._known, self._floor = None, 0
                return
            page = self._log.after(self.prefix, self._known, _PAGE)
            past = [event for event in page if event.number <= self._joined_at]
            self._missed.extend(event for event in past if self._is_wanted(event))
            self._known = past[-1].number if len(past) == _PAGE else None

    def _is_wanted(self, told: Told) -> bool:
        if isinstance(told, Resync):
            self._floor = 0
            return True
        return told.number > self._floor and (self.path is None or told.path == self.path)
