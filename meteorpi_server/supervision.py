"""Telling a service manager how a process fares: ready, alive, stopping.

Source:
    sd_notify(3) and sd_watchdog_enabled(3) of systemd: datagrams of ``NAME=value`` lines to the socket that
    ``NOTIFY_SOCKET`` names. It is so little that no library is needed.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

logger = logging.getLogger("meteorpi.server.supervision")

_BEATS: Final = 4  # in the time after which the service manager gives a silent process up
_SPARE_SECONDS: Final = 15  # to close files and connections, after the last request has been answered


class Supervisor:
    """The service manager as a process sees it; says nothing where there is none. Safe for threads.

    The heart of a process beats while all of its parts do. Each part (`expect`) calls `beat` from the loop
    that does its work, so that one that hangs makes the whole process silent, and has it started again.

    Args:
        address: path of a datagram socket, or a name that begins with ``@`` in the abstract namespace (Linux,
            unix(7)); empty for no service manager.
        watchdog_seconds: after so long a silence the service manager ends the process; 0 for never.
        monotonic: a clock in seconds that only goes forward; tests pass one they control.
    """

    def __init__(
        self,
        address: str = "",
        watchdog_seconds: float = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._pause_seconds = watchdog_seconds / _BEATS
        self._beats = bool(address) and watchdog_seconds > 0
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._parts: set[str] = set()
        self._heard: set[str] = set()
        self._beaten_at = -watchdog_seconds

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Supervisor:
        """What systemd says in the environment of the processes that it starts."""
        address = environ.get("NOTIFY_SOCKET", "")
        microseconds = environ.get("WATCHDOG_USEC", "")
        is_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        seconds = int(microseconds) / 1_000_000 if microseconds.isdigit() and is_for_us else 0
        return cls(address, seconds)

    def expect(self, part: str) -> None:
        """From now on the heart beats only while `part` is heard too."""
        with self._lock:
            self._parts.add(part)

    def ready(self, status: str) -> None:
        """Say that the process does its work; `status` is a phrase for people."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say in a phrase, for people, what the process is doing."""
        self._send(f"STATUS={status}")

    def stopping(self, seconds: float = 0) -> None:
        """Say that the process ends, and that `seconds` may pass before the last request is answered."""
        microseconds = round((seconds + _SPARE_SECONDS) * 1_000_000)
        self._send(f"STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={microseconds}")

    def beat(self, part: str) -> None:
        """Say that `part` is at work; may be called as often as one likes."""
        if not self._beats:
            return
        with self._lock:
            self._heard.add(part)
            now = self._monotonic()
            if not self._heard >= self._parts or now - self._beaten_at < self._pause_seconds:
                return
            self._heard.clear()
            self._beaten_at = now
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # A service manager that is itself stuck must not hold up the work.
                sender.setblocking(False)
                sender.sendto(text.encode(), self._address)
        except OSError as error:
            logger.warning("service manager not reached address=%r reason=%s", self._address, error)
