"""Waiting over a WebSocket, with a real server and a real client."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from zipfile import ZipFile

import pytest
import requests
from werkzeug.serving import make_server

from meteorpi_db.testing.processes import wait_until
from tests.archive.conftest import ArchiveNode
from tests.archive.faulty_source import FaultySource
from tests.archive.faulty_source import serving as sending
from tests.archive.socket_client import SocketClient
from tests.archive.test_signed_links import made_of
from tests.archive.test_streams import service_of

pytestmark = pytest.mark.engines("sqlite")

SECONDS = 60


class Served:
    """A node with a queue of one slot, and its address."""

    def __init__(self, node: ArchiveNode, port: int) -> None:
        self.node = node
        self.url = f"ws://127.0.0.1:{port}"
        self.items: list[object] = [{"search": {}}]

    def ticket(self) -> str:
        return str(self.node.ticket(self.items)["id"])

    def wait(self, ticket_id: str) -> SocketClient:
        return SocketClient(f"{self.url}/ticket/{ticket_id}/wait")


@contextmanager
def serving(node: ArchiveNode) -> Iterator[Served]:
    node.add_files()
    server = make_server("127.0.0.1", 0, node.meteor_app.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Served(node, server.port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def served(make_archive_node: Callable[..., ArchiveNode]) -> Iterator[Served]:
    with serving(make_archive_node(no_queue=False, simultaneous_downloads_limit=1, wait_ping=1)) as found:
        yield found


@pytest.mark.contract("archive-fpx/wait", "archive-3.9/wait")
def test_ticket_whose_turn_it_is_is_told_so_and_the_socket_closed(served: Served) -> None:
    socket = served.wait(served.ticket())

    assert socket.said() == {"position": -1, "available": True}
    assert socket.end() == (1000, "available")


@pytest.mark.contract("archive-fpx/wait", "archive-3.9/wait")
def test_position_is_told_until_the_turn_has_come(served: Served) -> None:
    first, second = served.ticket(), served.ticket()
    served.node.http.get(f"/ticket/{first}/wait")
    download = served.node.http.get(f"/ticket/{first}/download", buffered=False)

    socket = served.wait(second)
    before = socket.said(), socket.said()
    download.close()

    assert before == ({"position": 0, "available": False},) * 2  # the second as a sign of life
    found = socket.said()
    while not found["available"]:
        found = socket.said()
    assert found == {"position": -1, "available": True}
    assert socket.end() == (1000, "available")
    assert served.node.http.get(f"/ticket/{second}/download").status_code == 200


@pytest.mark.contract("archive-fpx/wait", "archive-3.9/wait", "archive-defect-16")
def test_waiter_that_leaves_is_out_of_the_queue(served: Served) -> None:
    first, second = served.ticket(), served.ticket()
    served.node.http.get(f"/ticket/{first}/wait")
    socket = served.wait(second)
    socket.said()
    again = served.wait(second)

    assert again.said() == {"error": "Already waiting"}
    assert again.end()[0] == 1000
    socket.close()

    def is_out() -> bool:
        document = served.node.http.get(f"/ticket/{second}").json
        return document is not None and document["state"] == "new"

    wait_until(is_out, SECONDS, "leaving the queue")


@pytest.mark.contract("archive-3.9/wait")
def test_unknown_ticket_is_told_over_the_socket(served: Served) -> None:
    socket = served.wait("0" * 32)

    assert list(socket.said()["errors"]) == ["id"]
    assert socket.end() == (4404, "unknown ticket")


@pytest.mark.contract("archive-3.9/wait")
def test_waiting_for_too_long_ends(make_archive_node: Callable[..., ArchiveNode]) -> None:
    node = make_archive_node(no_queue=False, simultaneous_downloads_limit=1, wait_timeout=1)
    with serving(node) as served:
        node.http.get(f"/ticket/{served.ticket()}/wait")

        socket = served.wait(served.ticket())

        assert socket.end() == (4408, "waited too long")


@pytest.mark.contract("archive-fpx/companion", "archive-3.2/companion", "archive-6.4")
def test_companion_client_works_unchanged(make_archive_node: Callable[..., ArchiveNode]) -> None:
    """Its four calls, as it sends them: base64 with line breaks, its own header, a token without expiry."""
    with FaultySource({"/a.txt": sending(b"hello"), "/b.txt": sending(b"world")}) as source:
        node = make_archive_node(
            no_queue=False, simultaneous_downloads_limit=1, allowed_sources=[f"127.0.0.1:{source.port}"]
        )
        secret = node.client("portal")["authorize"]
        with serving(node) as served:
            address = served.url.replace("ws://", "http://")
            items = [source.url("/a.txt"), {"url": source.url("/b.txt"), "path": "data"}]
            body = {"type": "zip", "items": encoded(items), "options": encoded({"filename": "set.zip"})}
            made = requests.post(
                f"{address}/ticket/generate", json=body, headers={"authorize": secret}, timeout=SECONDS
            )
            ticket_id = made.json()["id"]
            socket = served.wait(ticket_id)
            assert socket.said()["available"]
            assert socket.end() == (1000, "available")
            got = requests.get(f"{address}/ticket/{ticket_id}/download", timeout=SECONDS)
            claims = json.dumps({"url": source.url("/a.txt")}).encode()
            token = made_of(b'{"typ":"JWT","alg":"HS256"}', claims, secret.encode())
            one = requests.get(f"{address}/stream/url/{token}?client=portal", timeout=SECONDS)
        service_of(node).remote.outbound.close()

    with ZipFile(io.BytesIO(got.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a.txt": b"hello",
            "data/b.txt": b"world",
        }
    assert 'filename="set.zip"' in got.headers["Content-Disposition"]
    assert (one.status_code, one.content) == (200, b"hello")


def encoded(document: object) -> str:
    return base64.encodebytes(json.dumps(document).encode()).decode()


def test_request_that_is_no_handshake_is_refused(served: Served) -> None:
    connection = HTTPConnection(served.url.removeprefix("ws://"), timeout=SECONDS)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}

    with closing(connection):
        connection.request("GET", f"/ticket/{served.ticket()}/wait", headers=headers)
        assert connection.getresponse().status == 400
