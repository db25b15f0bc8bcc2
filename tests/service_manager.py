"""The end of the line to which services report: a real datagram socket, as systemd has one."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meteorpi_model.errors import UnavailableError

WAIT_SECONDS = 30.0


class ServiceManager:
    """Hears what services say.

    Args:
        address: path of the socket, or a name that begins with ``@`` in the abstract namespace.

    Attributes:
        heard: everything that was received so far, line by line.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def environment(self, watchdog_seconds: float = 1) -> dict[str, str]:
        """What a service is started with."""
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(round(watchdog_seconds * 1_000_000))}

    def hear(self, seconds: float) -> list[str] | None:
        """The lines of the next message; None when there is none within `seconds`."""
        self._socket.settimeout(seconds)
        try:
            lines = self._socket.recv(4096).decode().split("\n")
        except (TimeoutError, BlockingIOError):
            return None
        self.heard += lines
        return lines

    def wait_for(self, line: str, times: int = 1) -> None:
        """Listen until `line` was said so often from now on."""
        deadline = time.monotonic() + WAIT_SECONDS
        while times:
            lines = self.hear(max(deadline - time.monotonic(), 0.01))
            if lines is None:
                raise UnavailableError(f"{line} was not said within {WAIT_SECONDS:g} s; heard {self.heard}")
            times -= line in lines

    def wait_for_silence(self, seconds: float) -> None:
        """Listen until nothing was said for so long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.hear(seconds) is not None:
            if time.monotonic() > deadline:
                raise UnavailableError(f"there was no silence of {seconds:g} s; heard {self.heard[-5:]}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextmanager
def service_manager(directory: Path) -> Iterator[ServiceManager]:
    """One that listens in `directory` as long as the block lasts."""
    listener = ServiceManager(str(directory / "notify"))
    try:
        yield listener
    finally:
        listener.close()
