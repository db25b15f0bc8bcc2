"""An import route that answers as it is told: states, HTTP errors, garbage, silence."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMPLETE = {"state": "complete"}
CONTINUE = {"state": "continue"}


@dataclass(frozen=True)
class Received:
    """One request: path below the import route, body, and the document in it where it is JSON."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: tuple[str, int]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def kind(self) -> str:
        """``data`` for an upload, else the type of the document."""
        return "data" if self.path.startswith("/data/") else str(self.document["type"])


@dataclass(frozen=True)
class Raw:
    """An answer that is not the usual document."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Silence:
    """No answer for as long as the peer lives."""


@dataclass(frozen=True)
class HangUp:
    """The connection is closed in place of an answer."""


Answer = dict[str, str] | Raw | Silence | HangUp
Script = Callable[[Received], Answer]


class ScriptedPeer:
    """Serves one import route on a free port.

    Args:
        script: gives the answer to a request; a list of answers is used up one by one, its last one for ever.
        tls: serve over TLS.
    """

    def __init__(self, script: Script | list[Answer], tls: ssl.SSLContext | None = None) -> None:
        self._script = one_by_one(script) if isinstance(script, list) else script
        self._tls = tls
        self._closed = threading.Event()
        self.received: list[Received] = []
        self.url = ""

    @property
    def kinds(self) -> list[str]:
        """What was asked, in order."""
        return [request.kind for request in self.received]

    @contextmanager
    def serving(self) -> Iterator[ScriptedPeer]:
        """Serve inside the block; `url` is then the URL of the import route."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        if self._tls:
            server.socket = self._tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{server.server_address[1]}/import"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._closed.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body go in two pieces

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    self.close_connection = True
                    return
                path = self.path.removeprefix("/import")
                request = Received(path, dict(self.headers.items()), body, self.client_address)
                peer.received.append(request)
                self._send(peer._script(request))

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # a client that went away, or does not trust us
                    self.close_connection = True

            def _send(self, answer: Answer) -> None:
                if isinstance(answer, Silence | HangUp):
                    if isinstance(answer, Silence):
                        peer._closed.wait()
                    self.close_connection = True
                    return
                raw = answer if isinstance(answer, Raw) else Raw(body=json.dumps(answer).encode())
                self.send_response(raw.status)
                for name, value in raw.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw.body)))
                self.end_headers()
                self.wfile.write(raw.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
                """Say nothing."""

        return Handler


def one_by_one(answers: list[Answer]) -> Script:
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]
