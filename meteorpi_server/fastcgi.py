"""FastCGI through flup, for callers that come in crowds.

flup hangs up on a connection that finds no free thread, and the web server in front answers 500 to it, in the
middle of a page with a few pictures. Here a connection waits for its turn: the number of threads is how many
requests are worked on at a time, not how many may come.
"""

from __future__ import annotations

import time
from types import FrameType
from typing import Any, Final

from flup.server.fcgi import WSGIServer
from flup.server.threadpool import ThreadPool

from meteorpi_server.stopping import process_must_end

_DRAIN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.05


class PatientPool(ThreadPool):  # type: ignore[misc]  # flup has no types
    """Threads whose work may queue up, and is finished before they end."""

    def addJob(self, job: Any, allowQueuing: bool = True) -> bool:  # noqa: N802, N803 - of the base class
        """Take `job`, whether or not a thread is free; `allowQueuing` is not looked at."""
        taken: bool = super().addJob(job, allowQueuing=True)
        return taken

    def shutdown(self) -> None:
        """Let the threads take what has come, then wait for them."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        with self._lock:
            while self._workQueue and time.monotonic() < deadline:
                self._lock.wait(_LOOK_SECONDS)
        super().shutdown()


class PatientServer(WSGIServer):  # type: ignore[misc]  # flup has no types
    """A FastCGI server on the socket that the web server hands over.

    Args:
        application: the WSGI callable.
        threads: requests worked on at a time.
        bindAddress: a socket of its own, when it is started by hand: a path, or host and port.
    """

    def __init__(self, application: Any, threads: int, **options: Any) -> None:
        super().__init__(application, multithreaded=True, **options)
        self._threadPool = PatientPool(maxThreads=threads)

    def _intHandler(self, signum: int, frame: FrameType | None) -> None:  # noqa: N802 - of the base class
        process_must_end()  # flup itself looks once a second whether it has to
        super()._intHandler(signum, frame)
