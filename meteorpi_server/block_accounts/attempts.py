"""Slowing down who tries credentials that nobody has, by address; counted in this process.

A client whose token has ended repeats it, perhaps fifty times at once, and shares its address with others. So
the same wrong credentials count once in a while, and whoever is known already is not asked to wait.

Source: K-208 of the storage contract.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from meteorpi_model.errors import TooManyAttemptsError
from meteorpi_server.block_accounts.caches import MemoryCache

FREE_FAILURES: Final = 10
LONGEST_PAUSE_SECONDS: Final = 64.0
FORGOTTEN_AFTER_SECONDS: Final = 900.0


class Attempts:
    """Failed attempts of addresses. Each beyond the free ones doubles the time until the next is looked at.

    Args:
        monotonic: tells the seconds that have passed.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._failures: MemoryCache[tuple[int, float]] = MemoryCache(monotonic=monotonic)

    def check(self, address: str | None) -> None:
        """Return when an attempt from `address` may be looked at; one from nowhere always may.

        Raises:
            TooManyAttemptsError: not yet; says for how many seconds.
        """
        kept = None if address is None else self._failures.get(address)
        if kept is None:
            return
        failures, last = kept.value
        wait = last + _pause_seconds(failures) - self._monotonic()
        if wait > 0:
            raise TooManyAttemptsError(
                "too many unknown credentials: try later", retry_after_seconds=math.ceil(wait)
            )

    def record_failure(self, address: str | None) -> None:
        """Count an attempt that failed."""
        if address is None:
            return
        with self._mutex:
            kept = self._failures.get(address)
            failures = 1 if kept is None else kept.value[0] + 1
            self._failures.put(address, (failures, self._monotonic()), FORGOTTEN_AFTER_SECONDS)


def _pause_seconds(failures: int) -> float:
    if failures < FREE_FAILURES:
        return 0.0
    return min(2.0 ** min(failures - FREE_FAILURES, 16), LONGEST_PAUSE_SECONDS)
