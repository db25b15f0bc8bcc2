"""Serving a node without a web server in front, with waitress: pure Python, takes chunked bodies, and never
hands on a request whose body was cut off.

A stop is clean: the port is closed at once, requests in flight are answered, then the process may end.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import WSGITask

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.diagnostics import answering_signals
from meteorpi_server.fronting import CONNECTION, GIVE_AWAY, believing_proxy
from meteorpi_server.settings import Settings
from meteorpi_server.supervision import Supervisor

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

logger = logging.getLogger("meteorpi.server.standalone")

IDENTITY: Final = "meteorpi"
PART: Final = "serve"
"""What the service manager is told of: the loop that takes connections."""

_TICK_SECONDS: Final = 1.0
_DRAIN_TICK_SECONDS: Final = 0.05
_BACKLOG: Final = 128
_CONNECTIONS: Final = 500
_CLEANUP_SECONDS: Final = 10
_WAITING_BYTES: Final = 2 << 20
_FORWARDED_HEADERS: Final = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"}


class StandaloneServer:
    """One listening address and the threads behind it; instances are independent of each other.

    Args:
        application: the WSGI callable.
        settings: where to listen, and the limits.
        port: overrides the port of the settings; 0 takes any free one.
        supervisor: the service manager, told while the server runs and when it stops.
        on_stop: called when the server is told to stop, possibly in a signal handler; must be quick.
    """

    def __init__(
        self,
        application: WSGIApplication,
        settings: Settings,
        port: int | None = None,
        supervisor: Supervisor | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self._on_stop = on_stop or _do_nothing
        self._supervisor = supervisor or Supervisor()
        self._supervisor.expect(PART)
        self._stop_seconds = settings.stop_seconds
        self._stopping = threading.Event()
        self._is_closed = False
        # Reentrant: a signal handler runs in the thread that may just be closing.
        self._trigger_lock = threading.RLock()
        self._listener = _listen(settings.host, settings.port if port is None else port)
        self.port: int = self._listener.getsockname()[1]
        # waitress sees the sockets of one server only: its map of all sockets would be shared otherwise.
        self._sockets: dict[int, Any] = {}
        self._server: Any = create_server(
            application, map=self._sockets, sockets=[self._listener], **_adjustments(settings)
        )
        self._server.channel_class = _Channel
        # Outermost: further in, the address of the proxy has given way to that of its caller.
        self._server.application = believing_proxy(self._server.application, settings.trusted_proxy)

    def run(self) -> None:
        """Serve until :meth:`stop` is called, then answer what is in flight and close everything."""
        try:
            while not self._stopping.is_set():
                self._turn(_TICK_SECONDS)
            self._supervisor.stopping(self._stop_seconds)
            self._drain()
        finally:
            self._close()

    def stop(self) -> None:
        """Make :meth:`run` come to its end; may be called from any thread and from a signal handler."""
        self._on_stop()
        self._stopping.set()
        with self._trigger_lock:
            if not self._is_closed:
                self._server.pull_trigger()  # wakes the loop

    def _turn(self, seconds: float) -> None:
        """Wait once for the sockets, and handle what they have."""
        self._supervisor.beat(PART)
        self._server.asyncore.loop(timeout=seconds, map=self._sockets, count=1, use_poll=True)

    def _drain(self) -> None:
        """Take no new connections, and wait for the answers to the requests that have arrived."""
        self._server.accepting = False
        self._server.del_channel(self._sockets)
        self._listener.close()
        deadline = time.monotonic() + self._stop_seconds
        while self._is_busy() and time.monotonic() < deadline:
            self._turn(_DRAIN_TICK_SECONDS)
        if self._is_busy():
            logger.warning("stopped with requests in flight stop_seconds=%d", self._stop_seconds)

    def _is_busy(self) -> bool:
        """Whether a request is being received or worked on, or an answer still has to leave."""
        channels = list(self._server.active_channels.values())
        return any(
            channel.requests or channel.total_outbufs_len or (channel.request and not channel.request.empty)
            for channel in channels
        )

    def _close(self) -> None:
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=_TICK_SECONDS)
        self._listener.close()
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        with self._trigger_lock:
            self._is_closed = True
            # A thread that was stuck pulls the trigger when it comes back, and must find nothing to write to.
            self._server.pull_trigger = _do_nothing
            self._server.trigger.close()
        self._sockets.clear()


def serve(
    application: WSGIApplication,
    settings: Settings,
    on_start: Callable[[int], None] | None = None,
    supervisor: Supervisor | None = None,
    on_stop: Callable[[], None] | None = None,
) -> None:
    """Serve until the process is told to end by SIGTERM or SIGINT; to be called in the main thread.

    Args:
        application: the WSGI callable.
        settings: where to listen, and the limits.
        on_start: called with the port once it is open.
        supervisor: the service manager, told that the server is ready, alive and stopping.
        on_stop: called, in the signal handler, when it is told to end.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    supervisor = supervisor or Supervisor()
    server = StandaloneServer(application, settings, supervisor=supervisor, on_stop=on_stop)
    with answering_signals(settings), stopped_by_signals(server.stop):
        logger.info("serving host=%s port=%d threads=%d", settings.host, server.port, settings.threads)
        if on_start is not None:
            on_start(server.port)
        supervisor.ready(f"serving on port {server.port}")
        server.run()
    logger.info("stopped")


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT call `stop`; a second one ends the process at once.

    Only the main thread may decide about signals; in any other one this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    kept = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _do_nothing() -> None:
    """Stand in for what nobody wants to be told, and for the trigger of a server that has been closed."""


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """A request that hands on its connection: to see that a reader has left, or to use it otherwise.

    Nothing is read from the connection while a request is worked on.
    """

    _is_given_away = False

    def get_environment(self) -> dict[str, object]:
        environ: dict[str, object] = super().get_environment()
        environ[CONNECTION] = self.channel.socket
        environ[GIVE_AWAY] = self._give_away
        return environ

    def write(self, data: bytes) -> None:
        if not self._is_given_away:
            super().write(data)

    def _give_away(self) -> None:
        """Send no answer, and close this descriptor of the connection after the request."""
        self._is_given_away = True
        self.close_on_finish = True


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """The head of a request; one that tells in two ways how long its body is, is refused."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            # Somebody in front may have believed the other one (RFC 9112 section 6.1).
            raise ParsingError("a body in chunks has no Content-Length")


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection whose requests hand it on."""

    task_class = _Task
    parser_class = _Parser


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def _adjustments(settings: Settings) -> dict[str, object]:
    adjustments: dict[str, object] = {
        "threads": settings.threads,
        "ident": IDENTITY,
        "connection_limit": _CONNECTIONS,
        # Answers that wait for a slow caller stay in memory and are short: by default the server would write
        # up to 16 MiB of each to a temporary file, which wears out the card of a small computer.
        "outbuf_high_watermark": _WAITING_BYTES,
        "outbuf_overflow": 2 * _WAITING_BYTES,
        # The routes have their own, smaller limits; a multipart body is a little larger than the file in it.
        "max_request_body_size": max(settings.max_upload_bytes, settings.block_max_body_bytes) + (1 << 20),
        "asyncore_use_poll": True,
        # Also of connections that bring nothing because nothing is asked for.
        "channel_timeout": settings.block_upload_stall_timeout,
        "cleanup_interval": min(_CLEANUP_SECONDS, settings.block_upload_stall_timeout),
        "clear_untrusted_proxy_headers": True,
    }
    if settings.trusted_proxy:
        adjustments |= {"trusted_proxy": settings.trusted_proxy, "trusted_proxy_headers": _FORWARDED_HEADERS}
    return adjustments
