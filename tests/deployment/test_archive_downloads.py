"""Downloads of archives in servers that run for real: turns over WebSockets, readers that leave, the end."""

from __future__ import annotations

import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.downloads import Downloads
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.testing.processes import LOOPBACK, wait_until
from tests.archive.socket_client import SocketClient
from tests.components import started
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import GunicornNode, StandaloneNode

SCRIPT = Path(__file__).with_name("archive_script.py")
SECONDS = 60
NAME = "0123456789abcdef"
OTHER = "fedcba9876543210"
CONTENT = random.Random(7).randbytes(12_000_000)
"""More than servers and sockets hold for a reader that takes nothing."""


class Offering:
    """A node that offers one large directory."""

    def __init__(self, server: type[DeployedNode], **settings: Any) -> None:
        script = None if server is StandaloneNode else SCRIPT
        offered = {"routes": ["query", "archive"], "log_level": "INFO"} | settings
        self.node = server(offered, script=script, processes=1, threads=8)
        directory = self.node.make_directory(self.node.directory / "storage" / NAME)
        (directory / "large.bin").write_bytes(CONTENT)
        (self.node.make_directory(directory.with_name(OTHER)) / "small.bin").write_bytes(b"small")
        self.node.settings["archive_storage_path"] = str(directory.parent)
        with self.database() as db:
            self.secret = ArchiveRegister(db.transactions).add_client("portal")
        for path in (self.node.data, *self.node.data.rglob("*"), *directory.parent.rglob("*")):
            self.node.give(path)
        (self.node.directory / "prepared").touch()

    def database(self) -> MeteorDatabase:
        return MeteorDatabase(str(self.node.settings["db_path"]), str(self.node.settings["file_store"]))

    def ticket(self) -> str:
        headers = {"Authorization": self.secret}
        body = {"items": [{"dir": NAME}]}
        made = requests.post(
            f"{self.node.url}/ticket/generate", json=body, headers=headers, timeout=SECONDS
        ).json()
        return str(made["id"])

    def state(self, ticket: str) -> Any:
        return requests.get(f"{self.node.url}/ticket/{ticket}", timeout=SECONDS).json()

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(f"{self.node.url}{path}", headers=headers, timeout=SECONDS)


@pytest.fixture
def offer() -> Iterator[Callable[..., Offering]]:
    """Call it with a server and settings of archives for a running node."""
    with ExitStack() as stack:

        def make(server: type[DeployedNode], **settings: Any) -> Offering:
            found: list[Offering] = []

            def deploy() -> DeployedNode:
                found.append(Offering(server, **settings))
                return found[0].node

            started(stack, deploy)
            return found[0]

        yield make


def slow_reader(node: DeployedNode, path: str) -> socket.socket:
    """A connection that has asked for something, takes a little of it, and holds little."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    reader.settimeout(SECONDS)
    reader.connect((LOOPBACK, node.port))
    reader.sendall(f"GET /api{path} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
    assert reader.recv(100).startswith(b"HTTP/1.1 200")
    return reader


@pytest.mark.contract("archive-3.9/wait", "archive-fpx/wait", "archive-3.9/queue")
def test_turns_are_waited_for_over_sockets_of_gunicorn(offer: Callable[..., Offering]) -> None:
    """More of them than there are threads, one after the other: the server is as it was before."""
    offering = offer(
        GunicornNode, archive_no_queue=False, archive_simultaneous_downloads_limit=1, archive_wait_ping=1
    )
    first, second = offering.ticket(), offering.ticket()

    def wait(ticket: str) -> SocketClient:
        return SocketClient(f"ws://{LOOPBACK}:{offering.node.port}/api/ticket/{ticket}/wait")

    available = wait(first)
    assert (available.said(), available.end()) == ({"position": -1, "available": True}, (1000, "available"))
    with closing(slow_reader(offering.node, f"/ticket/{first}/download")):
        waiting = wait(second)
        assert waiting.said() == {"position": 0, "available": False}
        another = wait(second)
        assert (another.said(), another.end()[0]) == ({"error": "Already waiting"}, 1000)
        assert offering.get(f"/ticket/{second}/download").status_code == 403
    assert waiting.end() == (1000, "available")
    assert offering.get(f"/ticket/{second}/download").content.count(CONTENT) == 1

    third, fourth = offering.ticket(), offering.ticket()
    assert offering.get(f"/ticket/{third}/wait").json()["available"]
    with wait(fourth) as leaver:
        leaver.said()
    wait_until(lambda: offering.state(fourth)["state"] == "new", SECONDS, "leaving the queue")
    for _ in range(10):  # more than there are threads
        assert wait("0" * 32).end() == (4404, "unknown ticket")
    assert offering.get("/archive/healthz").json() == {"status": "ok"}
    assert "Traceback" not in offering.node.log.read_text()


@pytest.mark.contract("archive-P8", "archive-3.8/gone", "archive-directory/producer")
@pytest.mark.parametrize("server", [GunicornNode, StandaloneNode])
def test_reader_that_leaves_frees_everything(
    server: type[DeployedNode], offer: Callable[..., Offering]
) -> None:
    """File, slot, and what other processes know of it; no process was started for it."""
    offering = offer(server, archive_max_active=1)
    link = f"/archive/{OTHER}/"
    processes = offering.node.all_processes()

    with closing(slow_reader(offering.node, f"/archive/{NAME}/")), offering.database() as db:
        downloads = Downloads(db.transactions)
        wait_until(lambda: bool(downloads.running()), SECONDS, "telling the other processes")
        assert offering.get(link).status_code == 503
        assert offering.node.all_processes() == processes

    wait_until(lambda: offering.get(link, Range="bytes=-1").status_code == 206, SECONDS, "the free slot")
    wait_until(
        lambda: not any("large.bin" in name for name in offering.node.open_files()), SECONDS, "closing"
    )
    with offering.database() as db:
        assert Downloads(db.transactions).running() == []
    assert (
        "outcome=reader-gone" in offering.node.log.read_text()
        or "outcome=aborted" in offering.node.log.read_text()
    )


@pytest.mark.contract("archive-3.22")
def test_downloads_are_cut_when_the_server_is_told_to_end_and_go_on_afterwards(
    offer: Callable[..., Offering],
) -> None:
    """The first process of gunicorn is told, which tells the one that sends."""
    offering = offer(GunicornNode, archive_shutdown_grace=1)
    link = f"/archive/{NAME}/"
    whole = offering.get(link)
    got = b""

    with closing(slow_reader(offering.node, link)) as reader:
        process = offering.node.process
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "outcome=stopping" in offering.node.log.read_text(), SECONDS, "the cut")
        with suppress(ConnectionError):
            while data := reader.recv(1 << 16):
                got += data
        process.wait(SECONDS)
    offering.node.restart()

    assert process.returncode == 0
    body = got.partition(b"\r\n\r\n")[2]
    assert len(body) < len(whole.content)
    assert whole.content.startswith(body)
    rest = offering.get(link, **{"Range": f"bytes={len(body)}-", "If-Range": whole.headers["ETag"]})
    assert (rest.status_code, body + rest.content) == (206, whole.content)
