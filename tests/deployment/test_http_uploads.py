"""Uploads on every server: chunked ones, ones that are cut off, ones that are too large."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from meteorpi_db.testing.processes import wait_until
from meteorpi_model import FileRecord
from tests.deployment.caller import (
    BOUNDARY,
    PART_HEAD,
    PART_TAIL,
    Caller,
    Sizable,
    basic,
    content_path,
    upload_path,
)
from tests.deployment.deployed import DeployedNode, far_end

CONTENT = Sizable(random.Random(3).randbytes(1 << 20), blocks=4)
SECONDS = 60.0


@pytest.fixture
def caller(node: DeployedNode) -> Caller:
    return Caller(node)


def head_of(path: str, *headers: str) -> bytes:
    """The beginning of an upload, down to the empty line."""
    lines = [
        f"POST /api{path} HTTP/1.1",
        "Host: node",
        "Authorization: " + basic()["Authorization"],
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def body_of(content: Sizable) -> bytes:
    return PART_HEAD + b"".join(content) + PART_TAIL


def chunked(body: bytes) -> bytes:
    """`body` as one chunk and the last one (RFC 9112 section 7.1)."""
    return f"{len(body):X}\r\n".encode() + body + b"\r\n0\r\n\r\n"


@pytest.mark.contract("issue-3.1/uploads")
def test_upload_of_unknown_length_is_taken(caller: Caller) -> None:
    record = caller.import_file(CONTENT, chunked=True)

    assert caller.get(content_path(record)).body == b"".join(CONTENT)


@pytest.mark.contract("issue-3.1/uploads")
def test_caller_who_waits_for_it_is_told_to_go_on(caller: Caller) -> None:
    content = Sizable(b"worth waiting for")
    record = caller.announce(content)
    body = body_of(content)
    lines = (f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close")
    head = head_of(upload_path(record), *lines)

    with caller.socket() as connection:
        connection.sendall(head)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert b"\nHTTP/1.1 200 " in b"\n" + b"".join(received(connection))
    assert caller.state(record) == "complete"


class Cut:
    """An upload that ends in the middle: how its length was told, and what became of the connection."""

    def __init__(self, *, is_chunked: bool, is_closed: bool) -> None:
        self.is_chunked = is_chunked
        self.is_closed = is_closed

    def __str__(self) -> str:
        return f"{'chunked' if self.is_chunked else 'length'}-{'closed' if self.is_closed else 'half-closed'}"

    def bytes_of(self, record: FileRecord, content: Sizable) -> bytes:
        """What is sent of the upload: 60 per cent of the body."""
        body = body_of(content)
        if self.is_chunked:
            head, body = head_of(upload_path(record), "Transfer-Encoding: chunked"), chunked(body)
        else:
            head = head_of(upload_path(record), f"Content-Length: {len(body)}")
        return head + body[: len(body) * 6 // 10]


CUTS = [Cut(is_chunked=chunks, is_closed=closed) for chunks in (False, True) for closed in (False, True)]


@pytest.mark.contract("issue-3.2/cut-upload", "issue-3.1/uploads")
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_upload_that_is_cut_off_is_complete_nowhere(caller: Caller, node: DeployedNode, cut: Cut) -> None:
    record = caller.announce(CONTENT)

    with caller.socket() as connection:
        connection.sendall(cut.bytes_of(record, CONTENT))
        arrived = arrival(connection)
        if not cut.is_closed:
            connection.shutdown(socket.SHUT_WR)
            assert not re.match(rb"HTTP/1.1 2", b"".join(received(connection)))
    # However the server learns of it: afterwards nobody waits for the rest.
    wait_until(lambda: not node.has_open(arrived), SECONDS, "end of the request")
    revive(node)

    assert caller.state(record) == "need_file_data"
    assert caller.get(content_path(record)).status == 404
    assert caller.get(f"/files?semantic_type=timelapse:frame&camera_ids={record.camera_id}").status == 200
    assert caller.upload(record, CONTENT).json == {"state": "continue"}
    assert caller.state(record) == "complete"
    assert caller.get(content_path(record)).body == b"".join(CONTENT)


def arrival(connection: socket.socket) -> str:
    """Wait until the server has taken a connection; what its end of it is called."""
    wait_until(lambda: far_end(connection) is not None, SECONDS, "arrival of the request")
    return str(far_end(connection))


def is_alive(node: DeployedNode) -> bool:
    return node.process.poll() is None


def revive(node: DeployedNode) -> None:
    """Start werkzeug again, whose way of reading chunks crashes the interpreter when they end too early."""
    wait_until(lambda: not is_alive(node) or node.answers(), SECONDS, "sign of life, or death")
    if not is_alive(node):
        assert node.name == "werkzeug", "only a server that is for development may crash"
        node.restart()


def received(connection: socket.socket) -> Iterator[bytes]:
    """What comes until the other side closes, or breaks off."""
    try:
        while data := connection.recv(65_536):
            yield data
    except ConnectionError:
        return


@pytest.mark.contract("issue-3.1/uploads")
def test_upload_with_another_content_than_announced_is_discarded(caller: Caller) -> None:
    record = caller.announce(Sizable(b"what was announced"))

    reply = caller.upload(record, Sizable(b"what is sent here."))

    assert (reply.status, reply.json["state"]) == (200, "continue")
    assert caller.state(record) == "need_file_data"


@pytest.mark.contract("issue-3.1/uploads")
def test_body_that_is_announced_too_large_is_refused_before_it_is_sent(caller: Caller) -> None:
    record = caller.announce(Sizable(b"small"))

    with caller.socket() as connection:
        connection.sendall(head_of(upload_path(record), "Content-Length: 2000000000000"))
        reply = connection.recv(65_536)

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert caller.state(record) == "need_file_data"


@pytest.mark.contract("issue-3.1/uploads")
def test_document_that_turns_out_too_large_is_refused(caller: Caller, node: DeployedNode) -> None:
    """Its length is told nowhere, so the node finds out while it reads."""
    text = b'{"type": "' + b"x" * (9 << 20) + b'"}'
    lines = ("POST /api/import/ HTTP/1.1", "Host: node", "Authorization: " + basic()["Authorization"])
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()

    with caller.socket() as connection:
        with suppress(OSError):  # a server may hang up on who goes on sending; then there is nothing to shut
            connection.sendall(head + chunked(text))
            connection.shutdown(socket.SHUT_WR)
        reply = b"".join(received(connection))

    assert reply.startswith(b"HTTP/1.1 413 ") or reply == b""
    assert caller.get("/cameras").status == 200
