"""Telling other processes in the background: whoever changes something waits for nobody.

Source: K-152 of the storage contract.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from meteorpi_model.errors import MeteorError

logger = logging.getLogger("meteorpi.block.events")

MOST_WAITING: Final = 10_000
"""More prefixes do not wait to be told of; whoever listens to the others finds out when it looks."""

PAUSE_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 10.0


class Publisher:
    """Tells which prefixes have changed, each once however often it has; safe for threads.

    Args:
        send: tells of some; raises a `MeteorError` when it cannot, and is called again later.
        pause_seconds: how much later.
    """

    def __init__(self, send: Callable[[Sequence[str]], None], pause_seconds: float = PAUSE_SECONDS) -> None:
        self._send = send
        self._pause_seconds = pause_seconds
        self._changed = threading.Condition()
        self._waiting: dict[str, None] = {}
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def add(self, prefix: str) -> None:
        """Have `prefix` told of soon."""
        with self._changed:
            if len(self._waiting) < MOST_WAITING:
                self._waiting[prefix] = None
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="block events out", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify_all()

    def close(self) -> None:
        """Forget what is waiting and end the thread."""
        with self._changed:
            self._waiting.clear()
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_IDLE_SECONDS)
        self._is_closing = False

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._send(batch)
            except MeteorError as error:
                logger.warning("listeners elsewhere are told later detail=%s", error.detail)
                self._put_back(batch)

    def _next_batch(self) -> list[str]:
        """What is to be told of; nothing after a while without any, and the thread ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing, timeout=_IDLE_SECONDS)
            batch = [] if self._is_closing else list(self._waiting)
            self._waiting.clear()
            if not batch:
                self._thread = None
            return batch

    def _put_back(self, batch: Sequence[str]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, timeout=self._pause_seconds)
            self._waiting = dict.fromkeys([*batch, *self._waiting])
