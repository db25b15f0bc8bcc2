"""What is counted of accounts that somebody else knows; for the metrics of a node.

Source: A.12 and K-204 of the storage contract.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from meteorpi_server.metrics import BUCKET_SECONDS


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Numbers since the process was started.

    Attributes:
        hits: questions that the cache could answer.
        sets: answers that were put there.
        stale: questions answered with what is older than it should be, since nobody else answered.
        calls: requests to the accounting server.
        call_seconds: how long they took, all together.
        call_buckets: how many of them took no longer than each of `BUCKET_SECONDS`, and all.
        failures: requests that were not answered as they should be.
        cache_failures: times that the cache did not work.
    """

    hits: int = 0
    sets: int = 0
    stale: int = 0
    calls: int = 0
    call_seconds: float = 0.0
    call_buckets: Sequence[int] = field(default=(0,) * (len(BUCKET_SECONDS) + 1))
    failures: int = 0
    cache_failures: int = 0


class AccountFigures:
    """Counts; safe for threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._counted = Counted()

    def counted(self) -> Counted:
        """The numbers so far."""
        return self._counted

    def hit(self) -> None:
        """Count a question that the cache could answer."""
        with self._mutex:
            self._counted = replace(self._counted, hits=self._counted.hits + 1)

    def kept(self) -> None:
        """Count an answer that was put into the cache."""
        with self._mutex:
            self._counted = replace(self._counted, sets=self._counted.sets + 1)

    def helped_out(self) -> None:
        """Count a question that was answered with something old."""
        with self._mutex:
            self._counted = replace(self._counted, stale=self._counted.stale + 1)

    def called(self, seconds: float, *, is_failure: bool) -> None:
        """Count a request to the accounting server."""
        slow = [*(seconds <= bound for bound in BUCKET_SECONDS), True]
        with self._mutex:
            before = self._counted
            self._counted = replace(
                before,
                calls=before.calls + 1,
                call_seconds=before.call_seconds + seconds,
                call_buckets=[count + more for count, more in zip(before.call_buckets, slow, strict=True)],
                failures=before.failures + is_failure,
            )
