"""Contents of files on every server: ranges, conditions, 200 MB in flat memory, callers who hang up."""

from __future__ import annotations

import email
import hashlib
import random
from contextlib import closing
from typing import NamedTuple

import pytest

from meteorpi_db.testing.processes import wait_until
from meteorpi_model import FileRecord
from tests.deployment.caller import Caller, Reply, Sizable, content_path
from tests.deployment.deployed import DeployedNode, far_end

MEBIBYTE = 1 << 20
LARGE = Sizable(random.Random(200).randbytes(MEBIBYTE), blocks=200)
# What servers and runtimes may take for buffers, all processes of a server together.
BUFFERS_BYTES = 48 * MEBIBYTE
BYTES = bytes(range(256)) * 4
SECONDS = 60.0


class Growth(NamedTuple):
    """A large file at a node, and the memory it took on its way there."""

    record: FileRecord
    upload_bytes: int


@pytest.fixture
def caller(node: DeployedNode) -> Caller:
    return Caller(node)


@pytest.fixture(scope="session")
def record(node: DeployedNode) -> FileRecord:
    return Caller(node).import_file(Sizable(BYTES), mime_type="image/png")


@pytest.fixture(scope="session")
def large(node: DeployedNode) -> Growth:
    caller = Caller(node)
    caller.import_file(Sizable(b"so that everything is loaded"))
    node.forget_peaks()
    before = node.memory_bytes()
    record = caller.import_file(LARGE, "large.bin")
    return Growth(record, node.peak_memory_bytes() - before)


# --- ranges and conditions


@pytest.mark.contract("issue-3.2/ranges")
@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("0-9", 0, 9), ("1000-", 1000, 1023), ("-24", 1000, 1023), ("1000-9999", 1000, 1023), ("0-", 0, 1023)],
)
def test_one_range_is_partial_content(
    caller: Caller, record: FileRecord, header: str, first: int, last: int
) -> None:
    reply = caller.get(content_path(record), {"Range": f"bytes={header}"})

    assert (reply.status, reply.body) == (206, BYTES[first : last + 1])
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/1024"
    assert reply.headers["Content-Type"] == "image/png"
    assert reply.headers["ETag"] == f'"{record.md5}"'
    assert reply.headers["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.contract("issue-3.2/ranges")
def test_several_ranges_come_in_parts(caller: Caller, record: FileRecord) -> None:
    reply = caller.get(content_path(record), {"Range": "bytes=0-9,1000-,-4"})

    assert reply.status == 206
    parts = parts_of(reply)
    assert [part.get_payload(decode=True) for part in parts] == [BYTES[:10], BYTES[1000:], BYTES[-4:]]
    assert [part["Content-Range"] for part in parts] == [
        "bytes 0-9/1024",
        "bytes 1000-1023/1024",
        "bytes 1020-1023/1024",
    ]


@pytest.mark.contract("issue-3.2/ranges")
@pytest.mark.parametrize("header", ["bytes=1024-", "bytes=-0"])
def test_range_without_a_byte_is_not_satisfiable(caller: Caller, record: FileRecord, header: str) -> None:
    reply = caller.get(content_path(record), {"Range": header})

    assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */1024")
    assert (reply.headers["Content-Type"], reply.json["code"]) == (
        "application/problem+json",
        "range-not-satisfiable",
    )


@pytest.mark.contract("issue-3.2/ranges")
@pytest.mark.parametrize(
    "header",
    ["bytes=9-0", "bytes=x", "lines=0-9", "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 80, 2))],
    ids=["backwards", "letters", "lines", "too-many"],
)
def test_range_that_is_none_is_ignored(caller: Caller, record: FileRecord, header: str) -> None:
    reply = caller.get(content_path(record), {"Range": header})

    assert (reply.status, reply.body) == (200, BYTES)


@pytest.mark.contract("issue-3.2/ranges")
def test_rest_is_sent_of_the_same_content_only(caller: Caller, record: FileRecord) -> None:
    same = caller.get(content_path(record), {"Range": "bytes=1000-", "If-Range": f'"{record.md5}"'})
    other = caller.get(content_path(record), {"Range": "bytes=1000-", "If-Range": '"another"'})

    assert (same.status, same.body) == (206, BYTES[1000:])
    assert (other.status, other.body) == (200, BYTES)


@pytest.mark.contract("issue-3.2/ranges")
def test_content_that_the_caller_has_is_not_sent_again(caller: Caller, record: FileRecord) -> None:
    path = content_path(record)

    unchanged = caller.get(path, {"If-None-Match": f'"{record.md5}"'})
    changed = caller.get(path, {"If-None-Match": '"another"'})
    gone = caller.get(path, {"If-Match": '"another"'})

    assert (unchanged.status, unchanged.body, unchanged.headers["ETag"]) == (304, b"", f'"{record.md5}"')
    assert (changed.status, changed.body) == (200, BYTES)
    assert (gone.status, gone.json["code"]) == (412, "precondition-failed")


@pytest.mark.contract("issue-3.2/ranges")
def test_empty_content_is_sent(caller: Caller) -> None:
    record = caller.import_file(Sizable(b""))

    for headers in ({}, {"Range": "bytes=0-"}):
        reply = caller.get(content_path(record), headers)
        assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "0")


# --- large files


@pytest.mark.contract("issue-3.2/large")
def test_large_file_goes_up_in_flat_memory(large: Growth) -> None:
    assert large.record.md5 == LARGE.digest("md5").hexdigest()
    assert large.upload_bytes < BUFFERS_BYTES


@pytest.mark.contract("issue-3.2/large")
def test_large_file_comes_down_in_flat_memory(node: DeployedNode, caller: Caller, large: Growth) -> None:
    node.forget_peaks()
    before = node.memory_bytes()

    with closing(caller.connection()) as connection:
        connection.request("GET", f"/api{content_path(large.record)}")
        reply = connection.getresponse()
        md5 = hashlib.md5()
        while chunk := reply.read(MEBIBYTE):
            md5.update(chunk)

    assert md5.hexdigest() == large.record.md5
    assert node.peak_memory_bytes() - before < BUFFERS_BYTES


@pytest.mark.contract("issue-3.2/client-gone")
def test_callers_who_hang_up_in_the_middle_leave_nothing_behind(
    node: DeployedNode, caller: Caller, large: Growth
) -> None:
    """Neither an open file nor a socket nor memory, for more callers than there are threads."""
    memory = node.memory_bytes()
    request = f"GET /api{content_path(large.record)} HTTP/1.1\r\nHost: node\r\n\r\n".encode()
    ends = []

    for _ in range(20):
        with caller.socket() as connection:
            connection.sendall(request)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            ends.append(str(far_end(connection)))

    for end in ends:
        wait_until(lambda end=end: not node.has_open(end), SECONDS, "end of what the callers left")  # type: ignore[misc]
    assert node.memory_bytes() - memory < BUFFERS_BYTES
    assert caller.get(content_path(large.record), {"Range": "bytes=-1"}).body == LARGE.block[-1:]


def parts_of(reply: Reply) -> list[email.message.Message]:
    """The parts of an answer with several ranges."""
    head = f"Content-Type: {reply.headers['Content-Type']}\r\n\r\n".encode()
    parts = email.message_from_bytes(head + reply.body).get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, email.message.Message)]
