"""Reading no faster than the owner of the line, or of the disk, wants it to be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator


class StoppedError(Exception):
    """Work was asked to end before it was done; what is done stays done."""


class Pace:
    """A number of bytes a second, shared by any number of threads.

    Bytes are paid for after they came: the one who took them waits until the time is over that they were
    worth. A pause is not saved up, so a rate is never exceeded to make up for one.

    Args:
        bytes_per_second: None does not limit.
        stop: ends every wait, and the work with it, when it is set.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        bytes_per_second: int | None = None,
        stop: threading.Event | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = bytes_per_second
        self._stop = threading.Event() if stop is None else stop
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()

    @property
    def is_stopped(self) -> bool:
        """Whether the work was asked to end."""
        return self._stop.is_set()

    def take(self, size_bytes: int) -> None:
        """Pay for bytes that came.

        Raises:
            StoppedError: the work was asked to end.
        """
        if self._stop.wait(self._seconds_to_wait(size_bytes)):
            raise StoppedError

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, at this pace."""
        for chunk in chunks:
            self.take(len(chunk))
            yield chunk

    def _seconds_to_wait(self, size_bytes: int) -> float:
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + size_bytes / self._rate
            return self._free_at - now
