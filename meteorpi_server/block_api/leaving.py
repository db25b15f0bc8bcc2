"""The work that is left when a prefix goes with everything below it, done by the upkeep of every process.

Source: the table of routes in part C of the storage contract.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.blocks.register import BlockRegister

LOOK_SECONDS: Final = 1.0
_OTHERS_SECONDS: Final = 60.0
"""How often somebody else's work is looked for, left by a process that was killed."""

_MOST_STEPS: Final = 20
"""In one go, so that the upkeep can end soon."""


class LeavingPrefixes:
    """Goes on with removals. Safe for threads; several processes may do it at the same time.

    Args:
        register: knows what is to be removed.
        announce: is told of the removals of each step.
    """

    def __init__(self, register: BlockRegister, announce: Callable[[Sequence[BlockEvent]], object]) -> None:
        self._register = register
        self._announce = announce
        self._has_work = threading.Event()
        self._due_at = 0.0

    def hurry(self) -> None:
        """There is work: begin with the next look."""
        self._has_work.set()

    def look(self) -> None:
        """Do some of the work, if there is any."""
        now = time.monotonic()
        if not self._has_work.is_set() and now < self._due_at:
            return
        self._has_work.clear()
        self._due_at = now + _OTHERS_SECONDS
        steps = _MOST_STEPS
        for name in self._register.leaving():
            steps -= self._remove(name, steps)
            if steps <= 0:
                self._has_work.set()
                return

    def _remove(self, name: str, most: int) -> int:
        for step in range(1, most + 1):
            removed = self._register.remove_some(name)
            self._announce(removed.events)
            if removed.is_over:
                return step
        return most
