"""Can a store be used, what can it do, and does its clock agree with ours?

Source: `check` in B.6 of the storage contract.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from meteorpi_db.filestore.base import FileStore
from meteorpi_model.errors import MeteorError
from meteorpi_model.values import Clock
from meteorpi_model.values import now as current_time

MOST_SKEW_SECONDS = 60.0
"""S3 services refuse requests that are a quarter of an hour off; what is left over is told apart by age."""

Result = TypeVar("Result")

_PROBE = b"meteorpi store probe"


@dataclass(kw_only=True)
class Examination:
    """What came out.

    Attributes:
        location: of the store, without secrets.
        trouble: what is wrong, a sentence each.
        capabilities: see :class:`FileStore`.
        free_bytes: None where the store cannot tell.
        milliseconds: how long each step took.
        skew_seconds: by how much the clock where contents are kept is ahead of ours; None when nobody knows.
    """

    location: str
    trouble: list[str] = field(default_factory=list)
    capabilities: frozenset[str] = frozenset()
    free_bytes: int | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    skew_seconds: float | None = None

    @property
    def is_clean(self) -> bool:
        """Whether the store can be used as it is."""
        return not self.trouble

    def as_dict(self) -> dict[str, object]:
        """For people and scripts."""
        return {
            "location": self.location,
            "clean": self.is_clean,
            "trouble": self.trouble,
            "capabilities": sorted(self.capabilities),
            "free_bytes": self.free_bytes,
            "milliseconds": self.milliseconds,
            "skew_seconds": self.skew_seconds,
        }


def examine_store(store: FileStore, *, clock: Clock = current_time) -> Examination:
    """Reach `store`; write, read and delete a small content; look at its clock. Nothing is created.

    Args:
        clock: ours.
    """
    found = Examination(location=store.location)
    try:
        _timed(found, "reach", store.check)
        _probe(store, found, clock)
        found.capabilities = store.capabilities
        found.free_bytes = store.free_bytes()
    except MeteorError as error:
        found.trouble.append(error.detail)
    if found.skew_seconds is not None and abs(found.skew_seconds) > MOST_SKEW_SECONDS:
        found.trouble.append(f"the clock of the store is {found.skew_seconds:+.0f} s off")
    return found


def _probe(store: FileStore, found: Examination, clock: Clock) -> None:
    probe_id, begun = uuid4(), clock()
    stored = _timed(found, "write", lambda: store.put(probe_id, [_PROBE]))
    try:
        there = store.remote_time() or stored.stored_at
        middle = begun + (clock() - begun) / 2
        found.skew_seconds = round((there - middle).total_seconds(), 3)
        if _timed(found, "read", lambda: store.read(probe_id, len(_PROBE) + 1)) != _PROBE:
            found.trouble.append("the store gives other bytes than it took")
    finally:
        _timed(found, "delete", lambda: store.delete(probe_id))
    if store.stat(probe_id) is not None:
        found.trouble.append("the store still has what was deleted")


def _timed(found: Examination, step: str, work: Callable[[], Result]) -> Result:
    begun = time.perf_counter()
    try:
        return work()
    finally:
        found.milliseconds[step] = round((time.perf_counter() - begun) * 1000, 1)
