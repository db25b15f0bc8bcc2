"""How many archives one process sends at a time, so that threads are left for everything else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from meteorpi_model.errors import TooManyAttemptsError, UnavailableError

CONNECTIONS_OF_ONE: Final = 4
"""Parts of one archive that may be fetched at the same time."""

_RETRY_SECONDS: Final = 5


class ActiveDownloads:
    """Counts what is sent now; safe for threads.

    Args:
        most: archives at the same time.
        most_connections: connections at the same time, several parts of one archive counted each.
    """

    def __init__(self, most: int, most_connections: int) -> None:
        self._most = most
        self._most_connections = most_connections
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._owners: dict[str, str] = {}

    def begin(self, key: str, owner: str = "", most_of_owner: int | None = None) -> Callable[[], None]:
        """Count one more connection; calling the result, once or more often, gives it back.

        Args:
            key: of the archive; its connections share a slot.
            owner: who made it.
            most_of_owner: archives of that owner at the same time; None for no limit of its own.

        Raises:
            UnavailableError: there are as many as there may be.
            TooManyAttemptsError: so many parts of this archive are being sent already.
        """
        with self._lock:
            self._refuse_too_many(key, owner, most_of_owner)
            self._connections[key] += 1
            self._owners[key] = owner
        given_back = threading.Event()

        def end() -> None:
            with self._lock:
                if given_back.is_set():
                    return
                given_back.set()
                self._connections[key] -= 1
                if not self._connections[key]:
                    del self._connections[key], self._owners[key]

        return end

    def _refuse_too_many(self, key: str, owner: str, most_of_owner: int | None) -> None:
        if self._connections[key] >= CONNECTIONS_OF_ONE:
            raise TooManyAttemptsError(
                f"{CONNECTIONS_OF_ONE} parts of this archive are being sent already",
                retry_after_seconds=_RETRY_SECONDS,
            )
        is_new = not self._connections[key]
        of_owner = sum(1 for each in self._owners.values() if each == owner)
        if self._connections.total() >= self._most_connections or (
            is_new and len(self._owners) >= self._most
        ):
            raise UnavailableError("as many archives are being sent as this node sends at a time")
        if is_new and most_of_owner is not None and of_owner >= most_of_owner:
            raise UnavailableError("as many archives are being sent to you as may be at a time")
