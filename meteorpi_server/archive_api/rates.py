"""Waiting until bytes may be sent: the schedule of rates, for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from meteorpi_server.archive_api.rate_schedule import Flow, RateLimits, RateSchedule, Shares
from meteorpi_server.archive_api.right_of_way import RightOfWay
from meteorpi_server.settings import Settings

_LONGEST_WAIT_SECONDS: Final = 0.25  # whoever waits has to see that there is no need to any more


class Rates:
    """The rates of one process. Safe for threads, which wait here.

    Args:
        limits: of all processes together.

    Attributes:
        are_set: whether there are limits.
        way: lets other requests of this process pass, whatever the limits are.
    """

    def __init__(self, limits: RateLimits) -> None:
        self.way = RightOfWay()
        self.are_set = limits.are_set
        self._schedule = RateSchedule(limits)
        self._changed = threading.Condition()

    def share(self, shares: Shares) -> None:
        """Leave to other processes what is for them."""
        with self._changed:
            self._schedule.shares = shares
            self._changed.notify_all()

    def enter(self, flow: Flow) -> None:
        """Count one more connection."""
        with self._changed:
            self._schedule.enter(flow)

    def leave(self, flow: Flow) -> None:
        """Count one connection less."""
        with self._changed:
            self._schedule.leave(flow, time.monotonic())
            self._changed.notify_all()

    def piece_bytes(self, flow: Flow) -> int | None:
        """The most that should be asked for at once; None for any amount."""
        with self._changed:
            return self._schedule.piece_bytes(flow)

    def take(self, flow: Flow, count: int, is_over: Callable[[], bool]) -> None:
        """Come back when `count` bytes may be sent, or soon after `is_over` says that there is no need to."""
        with self._changed:
            asked = self._schedule.ask(flow, count)
            while not is_over():
                now = time.monotonic()
                first, seconds = self._schedule.next(now)
                if first is asked:
                    self._schedule.grant(asked, now)
                    break
                # The one that is first waits as well, and tells the others when it has what it wants.
                self._changed.wait(min(seconds, _LONGEST_WAIT_SECONDS) if first is None else None)
            else:
                self._schedule.withdraw(asked)
            self._changed.notify_all()


def limits_of(settings: Settings) -> RateLimits:
    """The rates that `settings` ask for; a pause behind each chunk is a rate for each archive."""
    delay = settings.archive_delay
    rates = [settings.archive_rate_download, settings.archive_chunk_size / delay if delay else 0]
    return RateLimits(
        download=min(filter(None, rates), default=0),
        client=settings.archive_rate_client,
        total=settings.archive_rate_total,
    )
