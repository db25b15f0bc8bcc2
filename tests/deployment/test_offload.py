"""Contents sent by the web server itself: the same answers as ever, and no trace of how they came about."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from meteorpi_model import FileRecord
from tests.components import started
from tests.deployment.caller import Caller, Reply, Sizable, content_path
from tests.deployment.conftest import with_account
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import ApacheNode, LighttpdNode, NginxNode, StandaloneNode

CONTENT = Sizable(random.Random(5).randbytes(1 << 20), blocks=8)
BYTES = b"".join(CONTENT)
HEADERS = {"apache": "x-sendfile", "lighttpd": "x-sendfile", "nginx": "x-accel-redirect"}
TRACES = ("x-sendfile", "x-accel-redirect", "x-accel-buffering", "x-lighttpd-send-file")
# What is the server's business, or differs with each request.
OWN = {"date", "server", "connection", "keep-alive", "x-request-id", "last-modified", "via"}


class Offloading(NamedTuple):
    """A node that leaves its contents to the web server, and a file there."""

    node: DeployedNode
    caller: Caller
    record: FileRecord


@pytest.fixture(
    scope="session", params=[ApacheNode, LighttpdNode, NginxNode], ids=lambda kind: str(kind.name)
)
def offloading(request: pytest.FixtureRequest) -> Iterator[Offloading]:
    with ExitStack() as stack:
        offload = {"file_offload": HEADERS[request.param.name]}
        node = started(stack, lambda: with_account(request.param(offload)))
        caller = Caller(node)
        yield Offloading(node, caller, caller.import_file(CONTENT, "Bild №1.png", mime_type="image/png"))


@contextmanager
def own_server(node: DeployedNode) -> Iterator[Caller]:
    """The node's own server on the same data, with nobody in front."""
    own = StandaloneNode({**node.settings, "trusted_proxy": ""})
    try:
        own.start()
        yield Caller(own)
    finally:
        own.close()


def read_bytes(node: DeployedNode) -> int:
    """What the application's processes have read so far, from files and otherwise (proc(5), ``rchar``)."""
    texts = (Path(f"/proc/{pid}/io").read_text() for pid in node.processes())
    return sum(int(text.split()[1]) for text in texts)


def headers_of(reply: Reply) -> dict[str, str]:
    return {name.lower(): value for name, value in reply.headers.items() if name.lower() not in OWN}


def assert_nothing_leaks(node: DeployedNode, *replies: Reply) -> None:
    for reply in replies:
        assert not {name.lower() for name in reply.headers} & set(TRACES)
        assert str(node.data) not in reply.headers.as_string()
        assert "_meteorpi_files" not in reply.headers.as_string()


@pytest.mark.contract("issue-3.1/offload")
def test_web_server_sends_what_the_application_would(offloading: Offloading) -> None:
    node, caller, record = offloading
    origin = {"Origin": "https://elsewhere.example"}
    before = read_bytes(node)

    reply = caller.get(content_path(record), origin)

    assert read_bytes(node) - before < len(BYTES) // 2, "the application has read the content itself"
    with own_server(node) as own:
        expected = own.get(content_path(record), origin)
    assert (reply.status, reply.body == BYTES) == (200, True)
    assert headers_of(reply) == headers_of(expected)
    assert reply.headers["X-Request-ID"]
    assert_nothing_leaks(node, reply)


@pytest.mark.contract("issue-3.1/offload")
@pytest.mark.parametrize(
    ("wanted", "status", "start", "stop"),
    [
        ({"Range": "bytes=100-199"}, 206, 100, 200),
        ({"Range": "bytes=-10"}, 206, len(BYTES) - 10, len(BYTES)),
        ({"Range": "bytes=1000000-"}, 206, 1_000_000, len(BYTES)),
        ({"Range": "bytes=0-9", "If-Range": "{etag}"}, 206, 0, 10),
        ({"Range": "bytes=0-9", "If-Range": '"another"'}, 200, 0, len(BYTES)),
        ({"Range": "bytes=9-0"}, 200, 0, len(BYTES)),
        ({"If-None-Match": '"another"'}, 200, 0, len(BYTES)),
        ({"If-Match": "{etag}"}, 200, 0, len(BYTES)),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200, 0, len(BYTES)),
    ],
)
def test_parts_and_conditions(
    offloading: Offloading, wanted: dict[str, str], status: int, start: int, stop: int
) -> None:
    node, caller, record = offloading
    etag = f'"{record.md5}"'

    reply = caller.get(content_path(record), {name: text.format(etag=etag) for name, text in wanted.items()})

    assert (reply.status, reply.body == BYTES[start:stop]) == (status, True)
    assert (reply.headers["ETag"], reply.headers["Content-Type"]) == (etag, "image/png")
    assert reply.headers["Content-Length"] == str(stop - start)
    if status == 206:
        assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(BYTES)}"
    assert_nothing_leaks(node, reply)


@pytest.mark.contract("issue-3.1/offload")
def test_answers_that_need_no_content_are_the_application_s_own(offloading: Offloading) -> None:
    node, caller, record = offloading
    path = content_path(record)
    empty = caller.import_file(Sizable(b""))

    head = caller.call("HEAD", path)
    unchanged = caller.get(path, {"If-None-Match": f'"{record.md5}"'})
    beyond = caller.get(path, {"Range": f"bytes={len(BYTES)}-"})
    several = caller.get(path, {"Range": "bytes=0-9,20-29"})
    nothing = caller.get(content_path(empty))

    assert (head.status, head.headers["Content-Length"]) == (200, str(len(BYTES)))
    assert unchanged.status == 304
    assert (beyond.status, beyond.json["code"]) == (416, "range-not-satisfiable")
    assert (several.status, several.headers.get_content_type()) == (206, "multipart/byteranges")
    assert (nothing.status, nothing.body) == (200, b"")
    assert_nothing_leaks(node, head, unchanged, beyond, several, nothing)


@pytest.mark.contract("issue-3.1/offload")
def test_content_that_is_gone_is_not_found_as_ever(offloading: Offloading) -> None:
    node, caller, _ = offloading
    record = caller.import_file(Sizable(b"soon gone"))
    assert record.file_id is not None
    (node.data / "files" / record.file_id.hex).unlink()

    reply = caller.get(content_path(record))

    assert (reply.status, reply.json["code"]) == (404, "not-found")
    assert_nothing_leaks(node, reply)


@pytest.mark.contract("issue-3.1/offload")
def test_callers_cannot_reach_the_store_or_offer_to_send(offloading: Offloading) -> None:
    node, caller, record = offloading
    assert record.file_id is not None
    inside = quote(f"/_meteorpi_files{node.data}/files/{record.file_id.hex}")

    for target in (inside, f"/api/..{inside}", quote(f"{node.data}/files/{record.file_id.hex}")):
        reply = caller.exchange(f"GET {target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
        assert b" 40" in reply.splitlines()[0], target
        assert BYTES[:100] not in reply
    offer = {"X-Meteorpi-Offload": "x-sendfile", "METEORPI_OFFLOAD": "x-sendfile"}
    assert caller.get(content_path(record), offer).body == BYTES
    with own_server(node) as own:
        offer["X-Meteorpi-Offload"] = HEADERS[node.name]
        refused = own.get(content_path(record), offer)
    assert refused.body == BYTES
    assert_nothing_leaks(node, refused)
