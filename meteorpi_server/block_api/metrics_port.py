"""A TCP port with the metrics of blocks and nothing else.

Each process that serves the node opens one: the first free one from the base port on, so that processes need
no numbers. All show the same figures.

Source: K-172 of the storage contract.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("meteorpi.block.metrics")

MOST_PROCESSES: Final = 64


class MetricsPort:
    """The port of this process; nothing is open before :meth:`open`.

    Args:
        application: shows the metrics, and decides who may see them.
        path: where it does.
        settings: with the address, and the base port.
    """

    def __init__(self, application: WSGIApplication, path: str, settings: Settings) -> None:
        self._application = application
        self._path = path
        self._settings = dataclasses.replace(settings, threads=1)
        self._server: StandaloneServer | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open the first port that is free.

        Raises:
            ConfigurationError: there is none.
        """
        self._server = self._listening()
        logger.info("metrics host=%s port=%d", self._settings.host, self._server.port)
        self._thread = threading.Thread(target=self._server.run, name="metrics port", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close it; harmless when it is not open."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
        self._server = self._thread = None

    def _listening(self) -> StandaloneServer:
        base = self._settings.block_metrics_port
        last = min(base + MOST_PROCESSES, 1 << 16) - 1
        for port in range(base, last):
            try:
                return StandaloneServer(self._answer, self._settings, port)
            except ConfigurationError:
                continue  # another process has it
        return StandaloneServer(self._answer, self._settings, last)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") not in ("/", "/metrics"):
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        return self._application(environ | {"PATH_INFO": self._path}, start_response)
