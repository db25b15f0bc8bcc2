"""Being woken by a server: in a thread that comes back after the server was gone.

Source: K-153 of the storage contract.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final, TypeAlias

from meteorpi_model.errors import MeteorError
from meteorpi_server.block_events.base import Wake

logger = logging.getLogger("meteorpi.block.events")

PAUSE_SECONDS: Final = 2.0
_END_SECONDS: Final = 10.0

Words: TypeAlias = Generator[str | None, None, None]
"""What a connection brings: None as soon as nothing can be missed any more; then prefixes, and None at times
when there are none. It raises `UnavailableError` when the connection breaks; is closed at the end."""


class Subscription:
    """A thread that hears what is said, until it is stopped.

    Args:
        connect: opens a connection and gives its words.
        wake: is called with each prefix, and with None after each new connection.
        pause_seconds: how long a server that does not answer is left alone.
    """

    def __init__(
        self, connect: Callable[[], Words], wake: Wake, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._connect = connect
        self._wake = wake
        self._pause_seconds = pause_seconds
        self._stopped = threading.Event()
        self._is_connected = False
        self._thread = threading.Thread(target=self._run, name="block events in", daemon=True)
        self._thread.start()

    @property
    def is_connected(self) -> bool:
        """Whether something is heard now."""
        return self._is_connected

    def stop(self) -> None:
        """Hear nothing more; the thread ends soon."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the thread of a subscription that was stopped."""
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._hear()
            except MeteorError as error:
                logger.warning("listeners are not woken for now detail=%s", error.detail)
                self._stopped.wait(self._pause_seconds)
            finally:
                self._is_connected = False

    def _hear(self) -> None:
        with closing(self._connect()) as words:
            for word in words:
                if self._stopped.is_set():
                    return
                if word is not None or not self._is_connected:
                    self._is_connected = True
                    self._wake(word)
