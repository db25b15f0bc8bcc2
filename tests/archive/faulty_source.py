"""A server of sources that misbehave: what is asked decides how. Plain sockets, for HTTP libraries behave."""

from __future__ import annotations

import contextlib
import gzip
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Behaviour = Callable[["Exchange"], None]

LIMIT_SECONDS = 30.0


@dataclass
class Exchange:
    """One request, and the connection it came over."""

    server: FaultySource
    connection: socket.socket
    method: str
    target: str
    headers: dict[str, str]
    is_kept: bool = False

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: object = "200 OK", **fields: object) -> None:
        lines = [f"HTTP/1.1 {status}"] + [
            f"{name.replace('_', '-')}: {value}" for name, value in fields.items()
        ]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def whole(self, body: bytes, status: object = "200 OK", **fields: object) -> None:
        """An answer as it should be; the connection is kept."""
        self.head(status, Content_Length=len(body), **fields)
        if self.method != "HEAD":
            self.send(body)
        self.is_kept = True

    def file(self, body: bytes, etag: str | None = '"v1"') -> None:
        """A file whose parts may be asked for."""
        fields: dict[str, object] = {} if etag is None else {"ETag": etag}
        span = self.headers.get("range")
        if span is None or self.headers.get("if-range", etag) != etag:
            return self.whole(body, **fields)
        first, last = span.removeprefix("bytes=").split("-")
        start, stop = int(first), int(last or len(body) - 1) + 1
        fields["Content_Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        return self.whole(body[start:stop], "206 Partial Content", **fields)

    def reset(self) -> None:
        """Cut the connection as a crash does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def linger(self) -> None:
        """Say nothing until the other side has gone or the server ends."""
        with contextlib.suppress(OSError):
            self.connection.settimeout(LIMIT_SECONDS)
            self.connection.recv(1)

    def drip(self, data: bytes) -> None:
        """Send `data` a byte at a time."""
        for value in data:
            if self.server.ended.wait(0.05):
                return
            self.send(bytes([value]))


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        owner = self.server.owner
        with contextlib.suppress(OSError, ValueError, ssl.SSLError):
            connection = owner.wrapped(self.request)
            with connection, connection.makefile("rb") as reader:
                while not owner.ended.is_set() and (line := reader.readline()):
                    method, target, _ = line.decode("latin-1").split(" ", 2)
                    fields: dict[str, str] = {}
                    while (text := reader.readline().decode("latin-1").strip()) != "":
                        name, _, value = text.partition(":")
                        fields[name.strip().lower()] = value.strip()
                    exchange = Exchange(owner, connection, method, target, fields)
                    owner.note(exchange)
                    owner.behaviour(target)(exchange)
                    if not exchange.is_kept:
                        return


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 64
    owner: FaultySource

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], address: object) -> None:
        assert isinstance(request, socket.socket)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.owner.connections.append(request)
        super().process_request(request, address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        request.close()  # at once: shutting down first would undo a reset


@dataclass
class FaultySource:
    """The server; a context manager. `routes` are behaviours by path."""

    routes: dict[str, Behaviour] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    requests: list[Exchange] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/") -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}{path}"

    def note(self, exchange: Exchange) -> None:
        self.requests.append(exchange)

    def asked(self, path: str) -> list[Exchange]:
        return [exchange for exchange in self.requests if exchange.target.partition("?")[0] == path]

    def behaviour(self, target: str) -> Behaviour:
        return self.routes.get(target.partition("?")[0], not_found)

    def wrapped(self, connection: socket.socket) -> socket.socket:
        if self.context is None:
            return connection
        secure = self.context.wrap_socket(connection, server_side=True)
        self.connections.append(secure)
        return secure


def not_found(exchange: Exchange) -> None:
    exchange.whole(b"not here", "404 Not Found")


def serving(body: bytes, **fields: object) -> Behaviour:
    return lambda exchange: exchange.whole(body, **fields)


def redirecting(target: str, status: str = "302 Found") -> Behaviour:
    return lambda exchange: exchange.whole(b"elsewhere", status, Location=target)


def short(body: bytes, announced: int) -> Behaviour:
    """Announce more than comes."""

    def behave(exchange: Exchange) -> None:
        exchange.head(Content_Length=announced)
        exchange.send(body)

    return behave


def cut_chunks(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    exchange.send(b"5\r\nhello\r\n")


def reset_midway(exchange: Exchange) -> None:
    exchange.head(Content_Length=1_000_000)
    exchange.send(b"x" * 1000)
    exchange.reset()


def refuse_with_reset(exchange: Exchange) -> None:
    exchange.reset()


def silent(exchange: Exchange) -> None:
    exchange.linger()


def silent_midway(exchange: Exchange) -> None:
    exchange.head(Content_Length=10)
    exchange.send(b"hello")
    exchange.linger()


def dripping_head(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 500)


def dripping_body(exchange: Exchange) -> None:
    exchange.head(Content_Length=500)
    exchange.drip(b"x" * 500)


def dripping_trailers(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    exchange.send(b"5\r\nhello\r\n0\r\n")
    exchange.drip(b"a: b\r\n" * 100)


def gzipped(body: bytes) -> Behaviour:
    return serving(gzip.compress(body), Content_Encoding="gzip", ETag='"coded"')


def wrong_part(exchange: Exchange) -> None:
    exchange.whole(b"hello", "206 Partial Content", Content_Range="bytes 3-7/1000", ETag='"v1"')


MISBEHAVIOURS: dict[str, Behaviour] = {
    "/short": short(b"hello", 10),
    "/cut-chunks": cut_chunks,
    "/reset": reset_midway,
    "/refuses": refuse_with_reset,
    "/silent": silent,
    "/silent-midway": silent_midway,
    "/dripping-head": dripping_head,
    "/dripping-body": dripping_body,
    "/bomb": gzipped(bytes(50_000_000)),
    "/tiny-members": serving(gzip.compress(b"") * 5000, Content_Encoding="gzip"),
    "/no-gzip": serving(b"plain text", Content_Encoding="gzip"),
    "/half-gzip": serving(gzip.compress(b"hello" * 1000)[:-9], Content_Encoding="gzip"),
    "/brotli": serving(b"?", Content_Encoding="br"),
    "/two-codings": serving(b"?", Content_Encoding="gzip, gzip"),
    "/unknown-framing": serving(b"hello", Transfer_Encoding="gzip"),
    "/part-unasked": wrong_part,
    "/gone": lambda exchange: exchange.whole(b"", "410 Gone"),
    "/forbidden": lambda exchange: exchange.whole(b"", "403 Forbidden"),
    "/empty-success": lambda exchange: exchange.whole(b"", "204 No Content"),
    "/broken": lambda exchange: exchange.whole(b"", "503 Service Unavailable"),
    "/no-location": lambda exchange: exchange.whole(b"", "302 Found"),
    "/loop": redirecting("/loop"),
    "/to-private": redirecting("http://10.0.0.1/"),
    "/to-metadata": redirecting("http://169.254.169.254/latest/meta-data/"),
    "/to-file": redirecting("file:///etc/passwd"),
    "/garbage": lambda exchange: exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "/endless-continue": lambda exchange: exchange.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 20),
}
