"""Who may do what to an id at the same time, among the threads of one process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID
from weakref import WeakSet

_STRIPES = 64


class Turns:
    """Threads that decide something about the same id, one after the other."""

    def __init__(self) -> None:
        self.renew()
        _alive.add(self)

    def of(self, file_id: UUID) -> AbstractContextManager[object]:
        """Wait for the turn; other ids may share it."""
        return self._locks[file_id.int % _STRIPES]

    def renew(self) -> None:
        """Begin anew: after a fork nobody is left who could release the locks."""
        self._locks = [threading.Lock() for _ in range(_STRIPES)]


class InUse:
    """Ids that some thread is at work on."""

    def __init__(self) -> None:
        self.renew()
        _alive.add(self)

    @contextmanager
    def taken(self, file_id: UUID) -> Iterator[bool]:
        """Take an id unless somebody has it; says whether that went well."""
        with self._lock:
            is_ours = file_id not in self._ids
            if is_ours:
                self._ids.add(file_id)
        try:
            yield is_ours
        finally:
            if is_ours:
                with self._lock:
                    self._ids.discard(file_id)

    def renew(self) -> None:
        """Begin anew: after a fork nobody else is at work."""
        self._lock = threading.Lock()
        self._ids: set[UUID] = set()


_alive: WeakSet[Turns | InUse] = WeakSet()


def _renew_after_fork() -> None:
    for each in _alive:
        each.renew()


os.register_at_fork(after_in_child=_renew_after_fork)
