"""Where answers are kept for a while, in this process. Every entry expires, and there are only so many.

Source: K-204, K-420 and KD-26 of the storage contract.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from meteorpi_server.block_accounts.base import Account

MOST_ENTRIES: Final = 10_000

T = TypeVar("T")


class Kept(NamedTuple, Generic[T]):
    """A cache entry.

    Attributes:
        value: what was kept.
        seconds_left: until it expires, more than 0.
    """

    value: T
    seconds_left: float


class AccountCache(Protocol):
    """Keeps accounts under names. A cache that fails knows nothing, and says how often that happened.

    How long an entry has to live tells how old it is, so no two machines have to agree about the time.
    """

    @property
    def failures(self) -> int:
        """How often it could not be asked, or what it had could not be read."""

    def get(self, key: str) -> Kept[Account] | None:
        """What was put there, None when there is nothing or it has expired."""

    def put(self, key: str, value: Account, seconds: float) -> None:
        """Keep `value` for that many seconds."""

    def delete(self, key: str) -> None:
        """Forget what was put there."""

    def close(self) -> None:
        """Close what was opened."""


class MemoryCache(Generic[T]):
    """A cache of this process; when it is full, what was not asked for longest gives way.

    Args:
        most: entries.
        monotonic: tells the seconds that have passed.
    """

    failures: Final = 0

    def __init__(self, most: int = MOST_ENTRIES, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Kept[T] | None:
        """What was put there, None when there is nothing or it has expired."""
        with self._mutex:
            found = self._entries.get(key)
            if found is None:
                return None
            seconds_left = found[0] - self._monotonic()
            if seconds_left <= 0:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return Kept(found[1], seconds_left)

    def put(self, key: str, value: T, seconds: float) -> None:
        """Keep `value` for that many seconds."""
        with self._mutex:
            self._entries[key] = (self._monotonic() + seconds, value)
            self._entries.move_to_end(key)
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def delete(self, key: str) -> None:
        """Forget what was put there."""
        with self._mutex:
            self._entries.pop(key, None)

    def close(self) -> None:
        """Forget everything."""
        with self._mutex:
            self._entries.clear()
