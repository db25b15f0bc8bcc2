"""Events of blocks on the servers that nodes run under: of processes that tell each other, and that end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import requests

from tests.archive.socket_client import SocketClient
from tests.components import started
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import SERVERS, NginxNode, StandaloneNode
from tests.deployment.test_block_uploads import PREFIX, SCRIPT, with_token

SECONDS = 60.0
WITH_SOCKETS = ("standalone", "gunicorn", "nginx")


class Teller:
    """A node whose processes share their changes, and an account's token."""

    def __init__(self, node: DeployedNode, secret: str) -> None:
        self.node = node
        self.headers = {"Authorization": f"Token {secret}"}

    def url(self, route: str, path: str = "") -> str:
        return f"{self.node.url}/api/v0/{route}/{PREFIX}{path}"

    def put(self, path: str) -> None:
        stored = requests.put(self.url("files", path), data=b"x", headers=self.headers, timeout=SECONDS)
        assert stored.status_code == 204

    def socket(self) -> SocketClient:
        return SocketClient(self.url("websocket").replace("http:", "ws:"), self.headers)


@pytest.fixture(params=["standalone", "gunicorn", "apache", "lighttpd", "nginx"])
def teller(request: pytest.FixtureRequest) -> Iterator[Teller]:
    server = (SERVERS | {"nginx": NginxNode})[request.param]
    with ExitStack() as stack:
        script = None if issubclass(server, StandaloneNode) else SCRIPT
        settings: dict[str, object] = {"routes": ["query", "block"], "block_events": "database"}
        if server.name not in WITH_SOCKETS:
            settings["block_socket_ping_seconds"] = 1  # they do not tell the application of their end in time
        node = server(settings, script=script, threads=8)
        secret = with_token(node)
        yield Teller(started(stack, lambda: node), secret)


@pytest.mark.contract("K-150", "K-153", "K-506", "I-08", "A.1/websocket", "A.8/workers")
def test_changes_are_told_wherever_they_happen(teller: Teller) -> None:
    """Which of two processes takes an upload, nobody can say."""
    stream = requests.get(teller.url("events"), headers=teller.headers, timeout=SECONDS, stream=True)
    with closing(stream):
        lines = stream.iter_lines()
        assert next(lines).startswith(b":")
        if teller.node.name not in WITH_SOCKETS:
            _is_told(teller, lines)
            assert _refusal(teller) == (426, "upgrade-required")
            return

        with teller.socket() as socket:
            _is_told(teller, lines)
            assert [socket.said()["seq"] for _ in range(4)] == [1, 2, 3, 4]

            if teller.node.name == "nginx":  # which has connections cut off when it stops
                return
            ending = threading.Thread(target=teller.node.stop)
            ending.start()
            assert socket.end()[0] == 1001
        ending.join(SECONDS)
        assert list(lines)[-1] == b""
    assert teller.node.exit_status == 0


def _is_told(teller: Teller, lines: Iterator[bytes]) -> None:
    for number in range(4):
        teller.put(f"/{number}")
    ids = (line for line in lines if line.startswith(b"id"))
    assert [next(ids) for _ in range(4)] == [b"id: 1", b"id: 2", b"id: 3", b"id: 4"]


def _refusal(teller: Teller) -> tuple[int, str]:
    headers = teller.headers | {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    reply = requests.get(teller.url("websocket"), headers=headers, timeout=SECONDS)
    return reply.status_code, reply.json()["code"]
