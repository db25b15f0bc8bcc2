"""A FastCGI client as small as it can be: one request over a Unix socket, as a web server sends it.

Source: FastCGI specification 1.0, sections 3.3 (records), 3.4 (name-value pairs) and 6.2 (responder).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import NamedTuple

BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
RESPONDER = 1
HEADER = struct.Struct(">BBHHBx")
LARGEST_RECORD = 65_535


class Reply(NamedTuple):
    """What the application answered."""

    status: int
    headers: Message
    body: bytes


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, to be handed to a FastCGI program as its standard input (section 2.2)."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def get(path: Path, url_path: str, timeout_seconds: float = 30) -> Reply:
    """GET `url_path` from the program that serves the socket at `path`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        connection.sendall(b"".join(_request(url_path)))
        return _reply(b"".join(_output(connection)))


def _request(url_path: str) -> Iterator[bytes]:
    address, _, query = url_path.partition("?")
    variables = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": address,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    yield _record(BEGIN_REQUEST, struct.pack(">HB5x", RESPONDER, 0))
    yield _record(PARAMS, b"".join(_pairs(variables)))
    yield _record(PARAMS, b"")
    yield _record(STDIN, b"")


def _record(kind: int, content: bytes) -> bytes:
    assert len(content) <= LARGEST_RECORD
    return HEADER.pack(1, kind, 1, len(content), 0) + content


def _pairs(variables: Mapping[str, str]) -> Iterator[bytes]:
    for name, value in variables.items():
        assert len(name) < 128
        assert len(value) < 128  # longer ones need four bytes
        yield bytes([len(name), len(value)]) + name.encode() + value.encode()


def _output(connection: socket.socket) -> Iterator[bytes]:
    with connection.makefile("rb") as stream:
        while True:
            header = stream.read(HEADER.size)
            if len(header) < HEADER.size:
                raise ConnectionError("the program hung up in the middle of its answer")
            _version, kind, _request_id, length, padding = HEADER.unpack(header)
            content = stream.read(length + padding)[:length]
            if kind == STDOUT:
                yield content
            elif kind == END_REQUEST:
                return


def _reply(output: bytes) -> Reply:
    head, _, body = output.partition(b"\r\n\r\n")
    headers = BytesHeaderParser().parsebytes(head)
    return Reply(int(headers.get("Status", "200").split()[0]), headers, body)
