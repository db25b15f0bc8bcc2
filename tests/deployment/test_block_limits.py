"""Block routes in processes of their own: what large and silent transfers cost there."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from meteorpi_db.testing.processes import wait_until
from tests.components import started
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import GunicornNode, NginxNode, StandaloneNode
from tests.deployment.test_block_uploads import SCRIPT, SECONDS, Keeper, with_token
from tests.deployment.test_offload import read_bytes

PIECE = bytes(range(256)) * (1 << 12)
PIECES = 192
LARGE = PIECES * len(PIECE)
MOST_GROWTH = 64 << 20


@pytest.fixture(scope="module", params=[GunicornNode, StandaloneNode], ids=lambda kind: str(kind.name))
def keeper(request: pytest.FixtureRequest) -> Iterator[Keeper]:
    settings = {"routes": ["query", "block"], "block_upload_stall_timeout": 1}
    with ExitStack() as stack:
        script = None if request.param is StandaloneNode else SCRIPT
        node = request.param(settings, script=script)
        secret = with_token(node)
        yield Keeper(started(stack, lambda: node), secret)


def peaks(node: DeployedNode) -> dict[int, int]:
    """The most memory that each process of the application has used so far, in bytes (proc(5), ``VmHWM``)."""
    return {pid: _peak(pid) for pid in node.processes()}


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def open_files(node: DeployedNode) -> set[str]:
    """What the processes of the application have open, those that were removed too."""
    found = set()
    for pid in node.processes():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(link.readlink()))
            except FileNotFoundError:  # closed meanwhile
                continue
    return found


def contents_open(node: DeployedNode) -> set[str]:
    return {name for name in open_files(node) if name.startswith(f"{node.data}/files/")}


@pytest.mark.contract("K-126", "K-135", "KD-14", "I-01")
def test_memory_does_not_grow_with_an_object(keeper: Keeper) -> None:
    before = peaks(keeper.node)

    stored = requests.post(
        keeper.url("large"), data=(PIECE for _ in range(PIECES)), headers=keeper.headers, timeout=SECONDS
    )
    with requests.get(keeper.url("large"), stream=True, timeout=SECONDS) as reply:
        received = sum(len(chunk) for chunk in reply.iter_content(1 << 20))

    assert (stored.status_code, received) == (204, LARGE)
    after = peaks(keeper.node)
    assert all(after[pid] - before[pid] <= MOST_GROWTH for pid in before if pid in after)


@pytest.mark.contract("K-126", "A.8/spool")
def test_bytes_go_straight_into_the_store(keeper: Keeper) -> None:
    """Where the server hands bodies on as they come; the other spools them, as the reference page says."""
    if isinstance(keeper.node, StandaloneNode):
        pytest.skip("this server takes bodies in before it hands them on")
    before = open_files(keeper.node)
    with socket.create_connection(("127.0.0.1", keeper.node.port), SECONDS) as connection:
        connection.sendall(keeper.head_of("half", f"Content-Length: {8 * len(PIECE)}") + 4 * PIECE)
        wait_until(lambda: bool(contents_open(keeper.node)), SECONDS, "bytes in the store")
        new = open_files(keeper.node) - before - contents_open(keeper.node)
    wait_until(lambda: not contents_open(keeper.node), SECONDS, "end of the upload")

    temporary = f"{tempfile.gettempdir()}/"
    assert not [name for name in new if name.startswith(temporary) and str(keeper.node.data) not in name]
    left = [path for path in (keeper.node.data / "files").rglob("*") if path.is_file() and "." in path.name]
    assert left == []


@pytest.mark.contract("K-135", "J-04/cut")
def test_a_reader_that_leaves_holds_nothing(keeper: Keeper) -> None:
    requests.put(keeper.url("left"), data=(PIECE for _ in range(32)), headers=keeper.headers, timeout=SECONDS)
    with requests.get(keeper.url("left"), stream=True, timeout=SECONDS) as reply:
        assert reply.raw.read(1000) == PIECE[:1000]
    wait_until(lambda: not contents_open(keeper.node), SECONDS, "end of the download")


@pytest.mark.contract("K-128", "K-500/block_upload_stall_timeout", "J-04/cut")
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_silent_upload_is_cut(keeper: Keeper, is_chunked: bool) -> None:
    path = f"silent-{is_chunked}"
    header = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 1000"
    body = b"ff\r\n" if is_chunked else b""

    with socket.create_connection(("127.0.0.1", keeper.node.port), SECONDS) as connection:
        connection.sendall(keeper.head_of(path, header) + body + bytes(100))
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))

    assert not answer.startswith(b"HTTP/1.1 2")
    assert path not in keeper.stored()
    assert requests.post(keeper.url(path), data=b"1", headers=keeper.headers, timeout=SECONDS).ok


@pytest.mark.contract("K-138", "K-500/block_offload")
def test_large_objects_are_sent_by_the_web_server() -> None:
    settings = {"routes": ["query", "block"], "block_offload": "accel", "block_offload_min": 1}
    with ExitStack() as stack:
        node = NginxNode(settings)
        secret = with_token(node)
        keeper = Keeper(started(stack, lambda: node), secret)
        stored = requests.put(keeper.url("a"), data=2 * PIECE, headers=keeper.headers, timeout=SECONDS)
        before = read_bytes(node)

        whole = requests.get(keeper.url("a"), timeout=SECONDS)
        part = requests.get(keeper.url("a"), headers={"Range": "bytes=5-9"}, timeout=SECONDS)

        assert read_bytes(node) - before < len(PIECE), "the node has read the bytes itself"
        own = requests.get(keeper.url("a"), headers={"If-Match": stored.headers["ETag"]}, timeout=SECONDS)
    names = (
        "ETag",
        "Content-Type",
        "Cache-Control",
        "Repr-Digest",
        "Content-Security-Policy",
        "Content-Length",
    )
    assert (whole.status_code, whole.content == 2 * PIECE) == (200, True)
    assert [whole.headers[name] for name in names] == [own.headers[name] for name in names]
    assert (part.status_code, part.content) == (206, PIECE[5:10])
    assert "X-Accel-Redirect" not in whole.headers
