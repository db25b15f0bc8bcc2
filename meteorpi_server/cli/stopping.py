"""Ending long-running commands: SIGTERM and SIGINT ask them to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Set the event when the process is asked to end; asked twice, it ends at once.

    Enter it after the database is open: the client library of Firebird takes over SIGTERM when it is loaded.
    """
    stop = threading.Event()
    asked: SimpleQueue[int] = SimpleQueue()

    def ask(number: int, frame: FrameType | None) -> None:
        # Only the queue may be touched here. Event.set needs a lock that the interrupted code may hold.
        if not asked.empty() or stop.is_set():
            raise KeyboardInterrupt
        asked.put(number)

    def pass_on() -> None:
        asked.get()
        stop.set()

    threading.Thread(target=pass_on, name="meteorpi-stop", daemon=True).start()
    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked.put(0)  # lets the thread end
