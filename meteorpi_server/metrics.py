"""Counts and times of the requests that one process has answered, and figures worth keeping for a while."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

BUCKET_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram; the last bucket has none."""

REFUSED: Final = "refused"
"""What became of a read: the answer was 503 `corrupt`."""

ABORTED: Final = "aborted"
"""What became of a read: the damage was found on the way, and the connection broken off."""

T = TypeVar("T")

Sample: TypeAlias = tuple[Mapping[str, str], float]
"""Labels and value."""


class Family(NamedTuple):
    """One metric as Prometheus has it; see `MeteorApp.collectors`.

    Attributes:
        name: of the metric.
        kind: ``counter`` or ``gauge``.
        help_text: one sentence.
        samples: its values.
    """

    name: str
    kind: str
    help_text: str
    samples: Sequence[Sample]


class RequestFigures(NamedTuple):
    """What has been counted so far.

    Attributes:
        answered: number of answers by method and status.
        bucket_counts: number of answers not slower than each of `BUCKET_SECONDS`, and of all.
        seconds: time spent until the answers began, summed up.
        in_flight: requests begun whose answer has not.
        corrupt_reads: contents that were found damaged when somebody wanted them, by what became of the read.
    """

    answered: dict[tuple[str, int], int]
    bucket_counts: list[int]
    seconds: float
    in_flight: int
    corrupt_reads: dict[str, int]


class RequestMetrics:
    """Counts requests; safe for threads."""

    _METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"})

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(BUCKET_SECONDS) + 1)
        self._seconds = 0.0
        self._in_flight = 0
        self._corrupt_reads = {REFUSED: 0, ABORTED: 0}

    def start(self) -> float:
        """Count a request as begun; the result belongs into :meth:`finish`."""
        with self._lock:
            self._in_flight += 1
        return time.perf_counter()

    def finish(self, started: float | None, method: str, status: int) -> None:
        """Count the answer to the request that `started`; None when it ended before it was counted."""
        elapsed = 0.0 if started is None else time.perf_counter() - started
        # Any word can stand where the method is, and each would make a new series.
        known = method if method in self._METHODS else "OTHER"
        bucket = next((i for i, bound in enumerate(BUCKET_SECONDS) if elapsed <= bound), len(BUCKET_SECONDS))
        with self._lock:
            self._in_flight -= started is not None
            self._answered[known, status] += 1
            self._buckets[bucket] += 1
            self._seconds += elapsed

    def count_corrupt_read(self, outcome: str) -> None:
        """Count a content that was found damaged; `outcome` is `REFUSED` or `ABORTED`."""
        with self._lock:
            self._corrupt_reads[outcome] += 1

    def figures(self) -> RequestFigures:
        """The counts so far, bucket counts cumulated as Prometheus wants them."""
        with self._lock:
            cumulated = [sum(self._buckets[: i + 1]) for i in range(len(self._buckets))]
            return RequestFigures(
                dict(self._answered), cumulated, self._seconds, self._in_flight, dict(self._corrupt_reads)
            )


class Memo:
    """Keeps figures that are costly to get; safe for threads, which wait for one of them to get a figure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Any]] = {}

    def get(self, name: str, seconds: float, compute: Callable[[], T]) -> T:
        """What `compute` gives, or gave less than `seconds` ago."""
        with self._lock:
            expires, value = self._kept.get(name, (0.0, None))
            if time.monotonic() >= expires:
                value = compute()
                self._kept[name] = (time.monotonic() + seconds, value)
        kept: T = value
        return kept
