"""A command at a pseudo-terminal, talked to as a person would."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ANSWER_SECONDS = 60.0
# Makes the terminal the one that questions for passwords go to, then runs the command line.
_PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from meteorpi_server.cli import main
main(sys.argv[1:])
"""


class Terminal:
    """Both directions of a terminal; `seen` is everything that was written to it."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self._process = process
        self._read_up_to = 0
        self.seen = ""

    def answer(self, question: str, answer: str) -> None:
        """Wait for `question` among what has not been answered yet, and type `answer` and Enter."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while question not in self.seen[self._read_up_to :]:
            assert self._read(deadline), f"no question {question!r} in:\n{self.seen}"
        self._read_up_to = self.seen.index(question, self._read_up_to) + len(question)
        os.write(self._descriptor, answer.encode() + b"\n")

    def finish(self) -> int:
        """Wait for the end of the command; gives its exit code."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._read(deadline):
            pass
        assert time.monotonic() < deadline, f"it waits for something:\n{self.seen}"
        return self._process.wait(ANSWER_SECONDS)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        with suppress(OSError):  # EIO: nobody has the other side open any more
            if data := os.read(self._descriptor, 65536):
                self.seen += data.decode(errors="replace")
                return True
        return False


@contextmanager
def at_terminal(arguments: list[str], folder: Path, environ: Mapping[str, str]) -> Iterator[Terminal]:
    """Run `meteorpi` with `arguments` at a terminal of its own."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=dict(environ),
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
