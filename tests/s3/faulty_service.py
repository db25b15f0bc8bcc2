"""A service between a store and a real one, which fails on demand."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>on demand</Message></Error>'
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


@dataclass
class Fault:
    """What goes wrong with some requests.

    Attributes:
        method: of the requests.
        mark: a text that their targets contain.
        times: how many of them it hits.
        status, code: answer with these instead of asking the real service.
        is_lost: ask it, and close the connection instead of answering.
        cut_after: close the connection after so many bytes of the body of the answer.
        silence: an event to wait for before anything is done.
        change: of the body before it is passed on.
    """

    method: str
    mark: str = ""
    times: int = 1
    status: int | None = None
    code: str = ""
    is_lost: bool = False
    cut_after: int | None = None
    silence: threading.Event | None = None
    change: Callable[[bytes], bytes] | None = None


@dataclass
class _Script:
    target_port: int
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, method: str, path: str) -> Fault:
        with self.lock:
            self.seen.append(f"{method} {path}")
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.mark in path:
                    fault.times -= 1
                    return fault
        return Fault(method)


class FaultyService:
    """Forwards requests to a service of the loopback interface, unless a fault says otherwise.

    Args:
        target_port: of the real service.
    """

    def __init__(self, target_port: int) -> None:
        self._script = _Script(target_port)
        script = self._script

        class Handler(_Handler):
            """Knows its script."""

        Handler.script = script
        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @property
    def seen(self) -> list[str]:
        """Method and target of every request."""
        return list(self._script.seen)

    def fail(self, fault: Fault) -> None:
        """Have requests fail from now on."""
        self._script.faults.append(fault)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: _Script

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""

    def _serve(self) -> None:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.script.next_fault(self.command, self.path)
        if fault.silence is not None:
            fault.silence.wait(60)
        if fault.status is not None:
            self._answer(fault.status, {"Content-Type": "application/xml"}, ERROR.format(fault.code).encode())
            return
        if fault.change is not None:
            body = fault.change(body)
        connection = http.client.HTTPConnection(LOOPBACK, self.script.target_port)
        headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
        found = connection.getresponse()
        content = found.read()
        connection.close()
        if fault.is_lost:
            self.close_connection = True
            return
        self._answer(found.status, dict(found.getheaders()), content, fault.cut_after)

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, cut_after: int | None = None
    ) -> None:
        self.send_response_only(status)
        length = len(body) or int(headers.get("Content-Length") or 0)
        for name, text in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, text)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut_after])
        if cut_after is not None:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815
