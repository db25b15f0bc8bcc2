"""A clock that tests move."""

from __future__ import annotations

from datetime import datetime, timedelta


class MovingClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2016, 1, 31, 20)

    def __call__(self) -> datetime:
        """The time, naive UTC."""
        return self.time

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)
