"""Metrics that are sums."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from meteorpi_server.figures import COUNTER, GAUGE, HISTOGRAM, SUMMARY, Figures, Metric, Reading
from meteorpi_server.tallies import MemoryTally, SharedTally

SENT = Metric("sent_bytes", COUNTER, "Bytes sent.")
DENIED = Metric("denied", COUNTER, "Refusals.", ("reason",))
OPEN = Metric("open", GAUGE, "Connections.")
TIME = Metric("seconds", HISTOGRAM, "Times.", ("kind",), (0.1, 1.0))
SIZE = Metric("size", SUMMARY, "Sizes.")
METRICS = (SENT, DENIED, OPEN, TIME, SIZE)


def samples(figures: Figures) -> dict[str, float]:
    lines = [line for line in figures.lines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.contract("K-171")
def test_every_kind_is_written_as_prometheus_reads_it() -> None:
    figures = Figures(METRICS, MemoryTally())
    at_first = samples(figures)

    figures.count(SENT, 2.5)
    figures.count(DENIED, labels=['a"b'])
    figures.count(OPEN)
    figures.count(OPEN, -1)
    for seconds in (0.1, 0.5, 2):
        figures.observe(TIME, seconds, ["x"])
    figures.observe(SIZE, 10)

    assert at_first == {"sent_bytes": 0, "open": 0, "size_sum": 0, "size_count": 0}
    assert samples(figures) == {
        "sent_bytes": 2.5,
        r'denied{reason="a\"b"}': 1,
        "open": 0,
        'seconds_bucket{kind="x",le="0.1"}': 1,
        'seconds_bucket{kind="x",le="1.0"}': 2,
        'seconds_bucket{kind="x",le="+Inf"}': 3,
        'seconds_sum{kind="x"}': 2.6,
        'seconds_count{kind="x"}': 3,
        "size_sum": 10,
        "size_count": 1,
    }
    assert "# TYPE seconds histogram" in list(figures.lines())


@pytest.mark.contract("K-172")
def test_what_others_count_is_added_up_over_processes(tmp_path: Path) -> None:
    here, there = (Figures(METRICS, SharedTally(tmp_path)) for _ in range(2))
    counted = [3, 1]
    here.follow(lambda: [Reading(SENT, counted[0]), Reading(OPEN, counted[1])])
    there.follow(lambda: [Reading(TIME, 1.5, (1, 2, 2), ("x",)), Reading(OPEN, 4)])

    there.refresh()
    first = samples(here)
    counted[:] = [5, 0]
    second = samples(here)

    assert (first["sent_bytes"], first["open"]) == (3, 5)
    assert (second["sent_bytes"], second["open"]) == (5, 4)
    assert second == samples(there)
    buckets = [second[f'seconds_bucket{{kind="x",le="{bound}"}}'] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [1, 2, 2]
    assert math.isclose(second['seconds_sum{kind="x"}'], 1.5)
