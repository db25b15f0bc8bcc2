"""That the process has been asked to end: what takes long has to see it, and come to its own end in time."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType


class StopRequest:
    """Whether, and when, the process was asked to end. Safe for threads, and for signal handlers.

    Attributes:
        asked_at: monotonic time in seconds; None as long as it was not asked.
    """

    def __init__(self) -> None:
        self.asked_at: float | None = None

    def ask(self) -> None:
        """Ask for it, once or more often. Only an attribute is set, for a signal may come at any point."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()


def tell_of_stop(ask: Callable[[], None]) -> None:
    """Have `ask` called when the web server that this process belongs to ends it; for WSGI scripts.

    Under Apache mod_wsgi says so. Elsewhere it is SIGTERM, which gunicorn and others go on to handle as they
    did before; they have to have set their handlers when the script is loaded, as those two do.
    """
    inside = sys.modules.get("mod_wsgi")  # it has no specification that could be found
    if inside is not None:
        inside.subscribe_shutdown(lambda *_, **__: ask())
    elif threading.current_thread() is threading.main_thread():
        _chain(signal.SIGTERM, ask)


def _chain(number: signal.Signals, ask: Callable[[], None]) -> None:
    before = signal.getsignal(number)
    if not callable(before):
        return  # the process ends at once, without anybody who could be told

    def handle(received: int, frame: FrameType | None) -> None:
        ask()
        before(received, frame)

    signal.signal(number, handle)
