"""The command line in processes of its own: for commands that run until they are told to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOP_SECONDS = 2.0


def command(*arguments: object) -> list[str]:
    """The command line that runs `meteorpi` with these arguments."""
    return [sys.executable, "-m", "meteorpi_server.cli", *map(str, arguments)]


@contextmanager
def running(*arguments: object, **environ: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A command that goes on until stopped, and the JSON object it printed first."""
    process = subprocess.Popen(
        command(*arguments),
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, float, str]:
    """Send a signal; gives the exit code, how long the process took to end, and its standard error."""
    begun = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, time.monotonic() - begun, err
