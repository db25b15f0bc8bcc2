"""Metrics whose values are sums that all processes of a node add to; see :mod:`meteorpi_server.tallies`."""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from meteorpi_server.exposition import heading, sample
from meteorpi_server.metrics import BUCKET_SECONDS
from meteorpi_server.tallies import Tally, key_of, parts_of

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
SUMMARY: Final = "summary"

_VALUE: Final = ""
_SUM: Final = "sum"
_COUNT: Final = "count"


@dataclass(frozen=True)
class Metric:
    """What is counted.

    Attributes:
        name: as it is published.
        kind: `COUNTER`, `GAUGE`, `HISTOGRAM` or `SUMMARY` (a number of values, and their sum).
        help_text: one sentence.
        labels: their names; none has values without bound.
        bounds: upper bounds of the buckets of a histogram; the last bucket has none.
    """

    name: str
    kind: str
    help_text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = BUCKET_SECONDS


class Reading(NamedTuple):
    """What somebody else has counted so far of one metric, in this process.

    Attributes:
        metric: a counter, gauge or histogram.
        value: of it; the sum of a histogram.
        cumulated: how many values of a histogram were not above each of its bounds, and all.
        labels: values of its labels.
    """

    metric: Metric
    value: float
    cumulated: Sequence[int] = ()
    labels: tuple[str, ...] = ()


class Figures:
    """Counts. Safe for threads.

    Args:
        metrics: in the order in which they are shown.
        tally: where sums are.
    """

    def __init__(self, metrics: Iterable[Metric], tally: Tally) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._tally = tally
        self._sources: list[Callable[[], Iterable[Reading]]] = []
        self._lock = threading.Lock()
        self._passed_on: dict[str, float] = {}

    def count(self, metric: Metric, amount: float = 1.0, labels: Sequence[str] = ()) -> None:
        """Add to a counter or a gauge."""
        self._tally.add([(_key(metric, _VALUE, labels), amount)])

    def observe(self, metric: Metric, value: float, labels: Sequence[str] = ()) -> None:
        """Take a value into a histogram or a summary."""
        part = str(bisect_left(metric.bounds, value)) if metric.kind == HISTOGRAM else _COUNT
        self._tally.add([(_key(metric, part, labels), 1), (_key(metric, _SUM, labels), value)])

    def follow(self, source: Callable[[], Iterable[Reading]]) -> None:
        """Take what `source` has counted into account, whenever :meth:`refresh` is called."""
        self._sources.append(source)

    def refresh(self) -> None:
        """Pass on what has changed in the sources; to be called every second or so, for other processes."""
        with self._lock:
            now = dict(itertools.chain.from_iterable(map(_sums_of, self._readings())))
            # What is new is passed on even if it is 0, so that every label is shown from the beginning.
            changed = [
                (key, value - self._passed_on.get(key, 0.0))
                for key, value in now.items()
                if value != self._passed_on.get(key)
            ]
            self._passed_on = now
        if changed:
            self._tally.add(changed)

    def lines(self) -> Iterator[str]:
        """Every metric with its total, as Prometheus reads it."""
        self.refresh()
        found: dict[str, dict[tuple[str, ...], dict[str, float]]] = {}
        for key, total in sorted(self._tally.totals().items()):
            name, part, *labels = parts_of(key)
            found.setdefault(name, {}).setdefault(tuple(labels), {})[part] = total
        for name, metric in self._metrics.items():
            yield from heading(name, metric.kind, metric.help_text)
            nothing = {} if metric.labels else {(): dict[str, float]()}
            for values, parts in found.get(name, nothing).items():
                yield from _samples(metric, dict(zip(metric.labels, values, strict=True)), parts)

    def _readings(self) -> Iterator[Reading]:
        for source in self._sources:
            yield from source()


def _key(metric: Metric, part: str, labels: Sequence[str]) -> str:
    return key_of(metric.name, part, *labels, is_passing=metric.kind == GAUGE)


def _sums_of(reading: Reading) -> Iterator[tuple[str, float]]:
    metric, value, cumulated, labels = reading
    if metric.kind != HISTOGRAM:
        yield _key(metric, _VALUE, labels), value
        return
    yield _key(metric, _SUM, labels), value
    for bucket, (below, upto) in enumerate(itertools.pairwise([0, *cumulated])):
        yield _key(metric, str(bucket), labels), upto - below


def _samples(metric: Metric, labels: Mapping[str, str], parts: Mapping[str, float]) -> Iterator[str]:
    if metric.kind in (COUNTER, GAUGE):
        yield sample(metric.name, labels, parts.get(_VALUE, 0.0))
        return
    count = parts.get(_COUNT, 0.0)
    if metric.kind == HISTOGRAM:
        for bucket, bound in enumerate([*map(str, metric.bounds), "+Inf"]):
            count += parts.get(str(bucket), 0.0)
            yield sample(f"{metric.name}_bucket", {**labels, "le": bound}, count)
    yield sample(f"{metric.name}_sum", labels, parts.get(_SUM, 0.0))
    yield sample(f"{metric.name}_count", labels, count)
