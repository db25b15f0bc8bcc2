"""That the process has been asked to end: what goes on by itself has to learn of it at once.

A server that is told to end first answers what it was asked, which may take half a minute. Work that begins
meanwhile, perhaps because another process has just given it up for the same reason, is begun in vain.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

_told: list[Callable[[], None]] = []


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
    did before; they have to have set their handlers when the script is loaded, as those two do. A server that
    sets them later calls :func:`process_must_end` itself.

    Args:
        ask: must be quick, and only set attributes: a signal may come at any point.
    """
    if not _told:
        _listen()
    _told.append(ask)


def process_must_end() -> None:
    """Tell everybody who wanted to know; for servers, in their handler of the signal."""
    for ask in _told:
        ask()


def _listen() -> None:
    inside = sys.modules.get("mod_wsgi")  # it has no specification that could be found
    if inside is not None:
        inside.subscribe_shutdown(lambda *_, **__: process_must_end())
    elif threading.current_thread() is threading.main_thread():
        _chain(signal.SIGTERM)


def _chain(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    if not callable(before):
        return  # the process ends at once, without anybody who could be told

    def handle(received: int, frame: FrameType | None) -> None:
        process_must_end()
        before(received, frame)

    signal.signal(number, handle)
