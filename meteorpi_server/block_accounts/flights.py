"""One piece of work for each name at a time: whoever wants the same meanwhile waits for that one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Work that is under way in this process.

    Args:
        wait_seconds: how long anybody waits for the work of somebody else.
    """

    def __init__(self, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._mutex = threading.Lock()
        self._flying: dict[str, Future[T]] = {}

    def run(self, key: str, work: Callable[[], T]) -> T:
        """What `work` gives, or gives to whoever began with `key` before; its error is everybody's, too.

        Raises:
            TimeoutError: whoever began before takes too long.
        """
        with self._mutex:
            flying = self._flying.get(key)
            mine = self._flying[key] = flying or Future()
        if flying is not None:
            return flying.result(self._wait_seconds)
        try:
            result = work()
        except BaseException as error:
            self._land(key)
            mine.set_exception(error)
            raise
        self._land(key)
        mine.set_result(result)
        return result

    def _land(self, key: str) -> None:
        with self._mutex:
            del self._flying[key]
