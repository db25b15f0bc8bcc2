"""A service manager for one release: ``python service.py ROOT PORT start|stop``.

``start`` ends with 1 when the release ends before it listens.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SECONDS = 60.0


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(root: Path, port: int) -> int:
    """Run what is linked; the exit code."""
    with (root / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [root / "deployed" / "current" / "meteorpi", "serve", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (root / "pid").write_text(str(process.pid))
    deadline = time.monotonic() + SECONDS
    while not is_open(port):
        if process.poll() is not None or time.monotonic() > deadline:
            return 1
        time.sleep(0.05)
    return 0


def stop(root: Path, port: int) -> int:
    """End it, and wait until nobody listens; the exit code."""
    with suppress(ProcessLookupError):
        os.kill(int((root / "pid").read_text()), signal.SIGTERM)
    deadline = time.monotonic() + SECONDS
    while is_open(port):
        if time.monotonic() > deadline:
            return 1
        time.sleep(0.05)
    return 0


if __name__ == "__main__":
    place, number, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.exit(start(place, number) if command == "start" else stop(place, number))
