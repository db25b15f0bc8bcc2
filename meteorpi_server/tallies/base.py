"""What a tally is, and one for a process that is alone."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

_SEPARATOR: Final = "\t"
_PASSING: Final = "~"


class Tally(ABC):
    """Sums by key. Safe for threads; nothing is opened before the first sum is added to."""

    @abstractmethod
    def add(self, amounts: Iterable[tuple[str, float]]) -> None:
        """Add to sums; one that has not been is 0. Never fails: who cannot count goes on all the same.

        Args:
            amounts: keys out of :func:`key_of`, each with what is added, which may be negative.
        """

    @abstractmethod
    def totals(self) -> dict[str, float]:
        """The sums of all processes."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held open; the sums stay. It may be added to again."""


class MemoryTally(Tally):
    """Sums of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: defaultdict[str, float] = defaultdict(float)

    def add(self, amounts: Iterable[tuple[str, float]]) -> None:
        """See :meth:`Tally.add`."""
        with self._lock:
            for key, amount in amounts:
                self._sums[key] += amount

    def totals(self) -> dict[str, float]:
        """See :meth:`Tally.totals`."""
        with self._lock:
            return dict(self._sums)

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


def key_of(*parts: str, is_passing: bool = False) -> str:
    """The key of a sum.

    Args:
        parts: texts without control characters; a name, labels and the like.
        is_passing: what a process adds counts as long as it lives, as requests in flight do.
    """
    return (_PASSING if is_passing else "") + _SEPARATOR.join(parts)


def parts_of(key: str) -> list[str]:
    """The parts that a key was made of."""
    return key.removeprefix(_PASSING).split(_SEPARATOR)


def lasts(key: str) -> bool:
    """Whether the sum of a process that has ended goes on counting."""
    return not key.startswith(_PASSING)
