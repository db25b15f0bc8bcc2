"""Short requests before long downloads: archives pause while another request of the process is worked on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

SHORT_SECONDS: Final = 0.25
"""How long a request has right of way; one that takes longer waits for something, or has much to do."""

NEXT_SECONDS: Final = 0.005
"""How long it lasts after the answer, for requests come in rows: a page, then its pictures."""

LONGEST_PAUSE_SECONDS: Final = 0.05
"""However many requests come, an archive sends one chunk after as long as this."""


class RightOfWay:
    """Who has it at present. Safe for threads, one of which works on one request.

    Downloads that take all they can would keep the processors and the interpreter to themselves, and a page
    that takes 5 milliseconds alone would take 50 beside them.

    Args:
        clock: seconds, which never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[int, float] = {}
        self._over_at = 0.0
        self._changed = threading.Condition()

    def take(self) -> None:
        """A request is worked on from now on, in this thread."""
        with self._changed:
            self._begun[threading.get_ident()] = self._clock()

    def give_back(self) -> None:
        """The request of this thread has its answer; harmless when repeated."""
        with self._changed:
            if self._begun.pop(threading.get_ident(), None) is not None and not self._begun:
                self._over_at = self._clock() + NEXT_SECONDS
                self._changed.notify_all()

    def pause(self) -> None:
        """Come back when no request has right of way any more, or after the longest pause."""
        with self._changed:
            now = self._clock()
            end = now + LONGEST_PAUSE_SECONDS
            while (until := min(self._until(), end)) > now:
                self._changed.wait(until - now)
                now = self._clock()

    def _until(self) -> float:
        """When the last right of way ends that anybody has now."""
        return max(self._begun.values()) + SHORT_SECONDS if self._begun else self._over_at
