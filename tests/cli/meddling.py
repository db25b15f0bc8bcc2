"""A web server in front of a node that does to requests and answers what badly configured ones do."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SECONDS = 60.0
HTML = (
    b"HTTP/1.1 %d Refused\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 4\r\n"
    b"Connection: close\r\n\r\noops"
)


def same(head: bytes) -> bytes:
    """Hand on as it is."""
    return head


def without(name: str) -> Callable[[bytes], bytes]:
    """Remove a header."""
    pattern = re.compile(rb"(?im)^" + name.encode() + rb":.*\r\n")
    return lambda head: pattern.sub(b"", head)


def having(line: str) -> Callable[[bytes], bytes]:
    """Add a header."""
    return lambda head: head.replace(b"\r\n", b"\r\n" + line.encode() + b"\r\n", 1)


def refusing(status: int, pattern: bytes) -> Callable[[bytes], bytes]:
    """Answer at once where `pattern` is found in the head of a request."""
    return lambda head: HTML % status if re.search(pattern, head) else head


@dataclass(frozen=True)
class Meddler:
    """What is done on the way.

    Attributes:
        request: makes another head of a request out of it; one that begins with ``HTTP/`` is the answer.
        answer: the same for the head of an answer.
        body: the same for its body.
    """

    request: Callable[[bytes], bytes] = same
    answer: Callable[[bytes], bytes] = same
    body: Callable[[bytes], bytes] = same


@contextmanager
def in_front_of(port: int, meddler: Meddler, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Listen on a free port for whoever wants to talk to `port`; gives the free one."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_accept, args=(listener, port, meddler, context))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(SECONDS)
        listener.close()


def _accept(listener: socket.socket, port: int, meddler: Meddler, context: ssl.SSLContext | None) -> None:
    """Serve one connection after the other; the doctor has no more than one at a time."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.settimeout(SECONDS)
        with contextlib.suppress(OSError), client:
            if context is None:
                _exchange(client, port, meddler)
            else:
                with context.wrap_socket(client, server_side=True) as encrypted:
                    _exchange(encrypted, port, meddler)


def _exchange(client: socket.socket, port: int, meddler: Meddler) -> None:
    head, rest = _read_head(client)
    if not head:
        return
    changed = meddler.request(having("Connection: close")(head))
    if changed.startswith(b"HTTP/"):
        client.sendall(changed)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):  # closing on what has not been read would take the answer back
            pass
        return
    with socket.create_connection(("127.0.0.1", port), SECONDS) as server:
        server.sendall(changed + rest)
        if b"100-continue" in head:
            return  # the body never comes
        if b"chunked" in head.lower():
            while not rest.endswith(b"0\r\n\r\n"):
                rest = client.recv(65536)
                server.sendall(rest)
        answer, body = _read_head(server)
        while block := server.recv(65536):
            body += block
    client.sendall(meddler.answer(answer) + meddler.body(body))


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of a message with the empty line that ends it, and what came behind."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        block = connection.recv(65536)
        if not block:
            return b"", b""
        seen += block
    head, _, rest = seen.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest
