"""Block routes on every server: what comes is whole, or it has not come."""

from __future__ import annotations

import random
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import prefixes, tokens
from meteorpi_db.testing.processes import wait_until
from tests.components import started
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import SERVERS, StandaloneNode
from tests.deployment.test_http_uploads import arrival, received, revive

SCRIPT = Path(__file__).with_name("block_script.py")
CONTENT = random.Random(5).randbytes(3 << 20)
ACCOUNT, PREFIX = "local:anna", "first"
SECONDS = 60.0


class Keeper:
    """A node that keeps blocks, and an account's token."""

    def __init__(self, node: DeployedNode, secret: str) -> None:
        self.node = node
        self.headers = {"Authorization": f"Token {secret}"}

    def url(self, path: str) -> str:
        return f"{self.node.url}/api/v0/files/{PREFIX}/{path}"

    def head_of(self, path: str, *headers: str) -> bytes:
        """The beginning of an upload, down to the empty line."""
        return self.beginning("POST", urlsplit(self.url(path)).path, *headers)

    def beginning(self, method: str, path: str, *headers: str) -> bytes:
        """The beginning of a request, down to the empty line."""
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: node",
            f"Authorization: {self.headers['Authorization']}",
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def resumable(self, path: str) -> ResumableUpload:
        """A new upload of `CONTENT` that can be gone on with."""
        texts = {"prefix": PREFIX, "path": path}
        said = ",".join(f"{key} {b64encode(text.encode()).decode()}" for key, text in texts.items())
        headers = self.headers | {"Tus-Resumable": "1.0.0"}
        size = {"Upload-Length": str(len(CONTENT)), "Upload-Metadata": said}
        url = f"{self.node.url}/api/v0/uploads/"
        made = requests.post(url, headers=headers | size, timeout=SECONDS)
        assert made.status_code == 201
        return ResumableUpload(urljoin(url, made.headers["Location"]), headers)

    def stored(self) -> list[str]:
        listing = requests.get(self.url(""), headers=self.headers, timeout=SECONDS).json()
        return [each["path"] for each in listing["objects"]]


class ResumableUpload:
    """An upload, and its offset as the server tells it."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.path = urlsplit(url).path
        self._url = url
        self._headers = headers

    def offset(self) -> int:
        return int(requests.head(self._url, headers=self._headers, timeout=SECONDS).headers["Upload-Offset"])

    def is_gone_on_with(self) -> bool:
        """Send what is missing; False while the request before is not at its end."""
        offset = self.offset()
        reply = self.send(offset, CONTENT[offset:])
        assert reply.status_code in (204, 409, 423)
        return "ETag" in reply.headers

    def send(self, offset: int, content: bytes) -> requests.Response:
        headers = self._headers | patch_headers(offset)
        return requests.patch(self._url, data=content, headers=headers, timeout=SECONDS)


def patch_headers(offset: int) -> dict[str, str]:
    return {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
    }


@pytest.fixture(scope="module", params=SERVERS)
def keeper(request: pytest.FixtureRequest) -> Iterator[Keeper]:
    server = SERVERS[request.param]
    with ExitStack() as stack:
        script = None if server is StandaloneNode else SCRIPT
        node = server({"routes": ["query", "block"]}, script=script)
        secret = with_token(node)
        yield Keeper(started(stack, lambda: node), secret)


def with_token(node: DeployedNode) -> str:
    """Make the database of a node here, with a user, a prefix and a token."""
    with MeteorDatabase(str(node.settings["db_path"]), str(node.settings["file_store"])) as db:
        db.create_or_update_user("anna", "a password", ["user"])
        now = 1_763_800_000_000
        db.transactions.write(lambda c: prefixes.ensure_account(c, ACCOUNT, "local", now))
        db.transactions.write(lambda c: prefixes.create_prefix(c, ACCOUNT, now, PREFIX))
        secret = db.transactions.write(lambda c: tokens.create(c, ACCOUNT, "tests", None, now))
    for path in (node.data, *node.data.rglob("*")):
        node.give(path)
    (node.directory / "prepared").touch()
    return secret


@pytest.mark.contract("K-120", "I-08", "issue-5.5")
@pytest.mark.parametrize("is_chunked", [False, True])
def test_uploads_of_both_kinds_come_whole(keeper: Keeper, is_chunked: bool) -> None:
    pieces = (CONTENT[start : start + 70_000] for start in range(0, len(CONTENT), 70_000))
    url = keeper.url(f"whole-{is_chunked}")

    stored = requests.post(
        url, data=pieces if is_chunked else CONTENT, headers=keeper.headers, timeout=SECONDS
    )
    found = requests.get(url, timeout=SECONDS)
    part = requests.get(url, headers={"Range": "bytes=5-9"}, timeout=SECONDS)
    known = requests.get(url, headers={"If-None-Match": stored.headers["ETag"]}, timeout=SECONDS)

    assert (stored.status_code, stored.content, "Date" in stored.headers) == (204, b"", True)
    assert found.content == CONTENT
    assert found.headers["ETag"] == stored.headers["ETag"]
    assert (part.status_code, part.content, known.status_code) == (206, CONTENT[5:10], 304)


@pytest.mark.contract("K-121", "KD-18", "issue-5.5", "J-04/cut")
@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("is_closed", [False, True])
def test_an_upload_that_is_cut_off_is_never_an_object(
    keeper: Keeper, is_chunked: bool, is_closed: bool
) -> None:
    path, half = f"cut-{is_chunked}-{is_closed}", CONTENT[: len(CONTENT) // 2]
    if is_chunked:
        head = keeper.head_of(path, "Transfer-Encoding: chunked")
        body = f"{len(CONTENT):x}\r\n".encode() + half
    else:
        head, body = keeper.head_of(path, f"Content-Length: {len(CONTENT)}"), half

    with socket.create_connection(("127.0.0.1", keeper.node.port), SECONDS) as connection:
        connection.sendall(head + body)
        arrived = arrival(connection)
        if not is_closed:
            connection.shutdown(socket.SHUT_WR)
            assert not b"".join(received(connection)).startswith(b"HTTP/1.1 2")
    wait_until(lambda: not keeper.node.has_open(arrived), SECONDS, "end of the request")
    revive(keeper.node)

    assert path not in keeper.stored()
    assert requests.get(keeper.url(path), timeout=SECONDS).status_code == 404
    again = requests.post(keeper.url(path), data=CONTENT, headers=keeper.headers, timeout=SECONDS)
    assert again.status_code == 204


@pytest.mark.contract("K-121", "issue-5.5")
def test_chunks_that_end_between_two_are_not_whole(keeper: Keeper) -> None:
    """The connection breaks where nothing but the last chunk is missing."""
    path = "cut-between"
    body = f"{len(CONTENT):x}\r\n".encode() + CONTENT + b"\r\n"

    with socket.create_connection(("127.0.0.1", keeper.node.port), SECONDS) as connection:
        connection.sendall(keeper.head_of(path, "Transfer-Encoding: chunked") + body)
        arrived = arrival(connection)
        connection.shutdown(socket.SHUT_WR)
        assert not b"".join(received(connection)).startswith(b"HTTP/1.1 2")
    wait_until(lambda: not keeper.node.has_open(arrived), SECONDS, "end of the request")
    revive(keeper.node)

    assert path not in keeper.stored()


READ_AT_ONCE = 1 << 15
HANDED_ON = {"werkzeug", "gunicorn", "apache"}
"""Servers that give the application what came before a break; the others wait for the whole request."""


@pytest.mark.contract("K-305", "K-309", "I-08")
def test_an_upload_goes_on_after_its_connection_broke(keeper: Keeper) -> None:
    upload, first, half = keeper.resumable("resumed"), 500_000, len(CONTENT) // 2
    assert upload.send(0, CONTENT[:first]).headers["Upload-Offset"] == str(first)
    lines = [f"{name}: {value}" for name, value in patch_headers(first).items()]
    head = keeper.beginning("PATCH", upload.path, *lines, f"Content-Length: {len(CONTENT) - first}")

    with socket.create_connection(("127.0.0.1", keeper.node.port), SECONDS) as connection:
        connection.sendall(head + CONTENT[first:half])
        arrived = arrival(connection)
    wait_until(lambda: not keeper.node.has_open(arrived), SECONDS, "end of the request")
    revive(keeper.node)
    if keeper.node.name in HANDED_ON:
        wait_until(lambda: half - READ_AT_ONCE < upload.offset() <= half, SECONDS, "bytes before the break")
    else:
        assert upload.offset() == first
    wait_until(upload.is_gone_on_with, SECONDS, "end of the upload")

    assert requests.get(keeper.url("resumed"), timeout=SECONDS).content == CONTENT
