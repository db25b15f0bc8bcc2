"""Events over WebSockets and as streams, with real servers and a real client."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from sqlalchemy import update
from werkzeug.serving import make_server
from werkzeug.test import TestResponse
from wsproto import events

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import prefixes
from meteorpi_db.blocks.event_log import EventLog
from meteorpi_db.blocks.tables import block_event
from meteorpi_db.testing.processes import free_port, wait_until
from meteorpi_server import MeteorApp, block_api, websockets
from meteorpi_server.block_api import sockets
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.block_events import EventHub, HubLimits, LocalBroker
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.archive.socket_client import ClosedError, SocketClient
from tests.blocks.making import ACCOUNT, NOW, PREFIX, digest
from tests.blocks.signed_in import PASSWORD, add_users, signed_in

pytestmark = pytest.mark.engines("sqlite")

SECONDS = 60.0
QABEL = "v0.ws.block.qabel.de"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Node:
    """Block routes on a server of this process; anna has the prefix, bert has none."""

    def __init__(self, db: MeteorDatabase, **settings: Any) -> None:
        chosen: dict[str, Any] = {"port": free_port(), "host": "127.0.0.1", "threads": 16} | settings
        self.settings = Settings(**chosen)
        self.meteor_app = MeteorApp(db, self.settings)
        block_api.add_routes(meteor_app=self.meteor_app)
        self.service: BlockService = self.meteor_app.app.extensions["meteorpi_blocks"]["block"]
        add_users(db, "anna", "bert")
        self.anna, self.bert = signed_in("anna"), signed_in("bert")
        db.transactions.write(lambda c: prefixes.create_prefix(c, ACCOUNT, NOW, PREFIX))
        self.http = self.meteor_app.app.test_client()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.settings.port}/api/v0"

    def put(self, path: str, content: bytes, **headers: str) -> str:
        """Store an object; gives its tag."""
        reply = self.http.put(f"/api/v0/files/{PREFIX}/{path}", data=content, headers=self.anna)
        assert reply.status_code == 204
        return reply.headers["ETag"]

    def remove(self, path: str) -> None:
        assert self.http.delete(f"/api/v0/files/{PREFIX}/{path}", headers=self.anna).status_code == 204

    def socket(self, path: str = PREFIX, subprotocols: tuple[str, ...] = ()) -> SocketClient:
        return SocketClient(f"ws://{self.address}/websocket/{path}", self.anna, subprotocols)

    def upgrade(self, path: str, headers: dict[str, str]) -> int:
        """Status of the answer to a request for a socket."""
        url = f"http://{self.address}/websocket/{path}"
        with requests.get(url, headers=headers, timeout=SECONDS, stream=True) as reply:
            return reply.status_code

    def is_empty(self) -> bool:
        counted = self.service.events.figures.counted()
        return counted.open_sockets == counted.open_streams == 0 and not self.service.events.is_listened_to

    def wait_until_empty(self) -> None:
        wait_until(self.is_empty, SECONDS, "end of those who listen")


def standalone(node: Node, stack: ExitStack) -> None:
    server = StandaloneServer(node.meteor_app.app, node.settings)
    _run(stack, server.run, server.stop)


def werkzeug(node: Node, stack: ExitStack) -> None:
    server = make_server("127.0.0.1", node.settings.port, node.meteor_app.app, threaded=True)
    stack.callback(server.server_close)
    _run(stack, lambda: server.serve_forever(poll_interval=0.01), server.shutdown)


def _run(stack: ExitStack, run: Callable[[], None], stop: Callable[[], None]) -> None:
    thread = threading.Thread(target=run, daemon=True)
    stack.callback(thread.join, SECONDS)
    stack.callback(stop)
    thread.start()


SERVERS = {"standalone": standalone, "werkzeug": werkzeug}


@pytest.fixture(params=SERVERS)
def open_node(db: MeteorDatabase, request: pytest.FixtureRequest) -> Iterator[Callable[..., Node]]:
    """Call it once for a node that is served."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Node:
            node = Node(db, **settings)
            stack.callback(node.service.events.close)
            SERVERS[request.param](node, stack)
            return node

        yield make


@pytest.fixture
def node(open_node: Callable[..., Node]) -> Node:
    return open_node()


@pytest.fixture
def unserved(db: MeteorDatabase) -> Iterator[Callable[..., Node]]:
    """Call it for a node that no server serves."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Node:
            node = Node(db, **settings)
            stack.callback(node.service.events.close)
            return node

        yield make


@pytest.mark.contract("A.1/websocket", "K-150", "K-151", "A.9/messages", "A.9/channels", "C/websocket")
def test_changes_are_told_over_sockets(node: Node) -> None:
    with node.socket(subprotocols=("other", QABEL)) as prefix, node.socket(f"{PREFIX}/dir/a") as single:
        tags = [node.put("dir/a", b"12"), node.put("blocks/b", b"345")]
        node.remove("dir/a")

        told = [prefix.said() for _ in range(3)]
        assert [prefix.subprotocol, single.subprotocol] == [QABEL, None]
        assert [single.said(), single.said()] == [told[0], told[2]]
        times = [each.pop("time") for each in told]
        assert all(time.endswith("Z") for time in times)
        assert told == [
            {
                "operation": "POST",
                "prefix": PREFIX,
                "path": f"{PREFIX}/dir/a",
                "etag": tags[0],
                "size": 2,
                "seq": 1,
            },
            {
                "operation": "POST",
                "prefix": PREFIX,
                "path": f"{PREFIX}/blocks/b",
                "etag": tags[1],
                "size": 3,
                "seq": 2,
            },
            {"operation": "DELETE", "prefix": PREFIX, "path": f"{PREFIX}/dir/a", "seq": 3},
        ]
        assert tags[0] == f'"{digest(b"12")}"'
    node.wait_until_empty()
    counted = node.service.events.figures.counted()
    assert (counted.closed, counted.messages, counted.duration_buckets[-1]) == (2, 5, 2)


@pytest.mark.contract("K-151")
def test_a_socket_tells_first_what_was_missed(node: Node) -> None:
    for content in (b"1", b"2", b"3"):
        node.put("a", content)

    with node.socket(f"{PREFIX}?since=1") as late, node.socket(f"{PREFIX}?since=9") as lost:
        assert [late.said()["seq"], late.said()["seq"]] == [2, 3]
        assert lost.said() == {"operation": "RESYNC", "prefix": PREFIX, "seq": 3}
        node.put("a", b"4")
        assert [late.said()["seq"], lost.said()["seq"]] == [4, 4]
    node.wait_until_empty()


@pytest.mark.contract("K-150", "K-155", "KD-17", "A.1/websocket", "A.9/subprotocol")
def test_what_is_refused_is_refused_before_the_upgrade(node: Node) -> None:
    asked = [
        (f"{PREFIX}", UPGRADE, 403),
        (f"{PREFIX}", UPGRADE | node.bert, 403),
        ("none-of-this-name", UPGRADE | node.anna, 404),
        (f"{PREFIX}/blocks/1", UPGRADE | node.anna, 405),
        (f"{PREFIX}/a/block/1", UPGRADE, 405),
        (f"{PREFIX}/a//b", UPGRADE, 404),
        (f"{PREFIX}/a?since=x", UPGRADE, 400),
        (f"{PREFIX}/a", UPGRADE | {"Sec-WebSocket-Protocol": "chat, v9"}, 400),
        (f"{PREFIX}/a", UPGRADE | {"Sec-WebSocket-Version": "1"}, 400),
        (f"{PREFIX}/a", {key: value for key, value in UPGRADE.items() if "Key" not in key}, 400),
        (f"{PREFIX}/a", {}, 426),
    ]

    assert [node.upgrade(path, headers) for path, headers, _ in asked] == [status for *_, status in asked]
    assert node.is_empty()


@pytest.mark.contract("K-155", "KD-17")
@pytest.mark.parametrize("is_polite", [True, False])
def test_who_has_left_is_not_counted(node: Node, is_polite: bool) -> None:
    figures = node.service.events.figures
    with ExitStack() as stack:
        sockets = [stack.enter_context(node.socket(f"{PREFIX}/a")) for _ in range(3)]
        wait_until(lambda: figures.counted().open_sockets == 3, SECONDS, "sockets that are counted")

        for socket in sockets:
            if is_polite:
                socket.send(events.CloseConnection(code=1000))
            socket.close()

    node.wait_until_empty()
    node.put("a", b"nobody hears it")


@pytest.mark.contract("K-154", "K-155")
def test_no_more_than_may_listen_do(open_node: Callable[..., Node]) -> None:
    node = open_node(block_listeners=2)

    with node.socket(), node.socket(f"{PREFIX}/a"):
        assert node.upgrade(f"{PREFIX}/a", UPGRADE) == 503
    node.wait_until_empty()

    with node.socket() as socket:
        node.put("a", b"x")
        assert socket.said()["seq"] == 1


@pytest.mark.contract("K-506", "K-155")
def test_everybody_is_sent_away_with_the_process(node: Node) -> None:
    with node.socket() as socket:
        node.meteor_app.stopping.ask()

        assert socket.end()[0] == 1001
    node.wait_until_empty()


@pytest.mark.contract("K-154")
@pytest.mark.parametrize("open_node", ["standalone"], indirect=True)
def test_who_is_too_slow_is_sent_away_to_come_again(
    db: MeteorDatabase, open_node: Callable[..., Node]
) -> None:
    """The first event that waits is one too many here."""
    node = open_node()
    limits = HubLimits(in_threads=9, waiting=0)
    node.service.events = EventHub(EventLog(db.transactions, db.clock), LocalBroker(), limits)

    with node.socket() as slow:
        node.put("a", b"x")
        assert slow.end() == (1013, "too slow")
    with node.socket(f"{PREFIX}?since=0") as again:
        assert again.said()["seq"] == 1
    node.wait_until_empty()
    node.service.events.close()


@pytest.mark.contract("K-154")
@pytest.mark.parametrize("open_node", ["standalone"], indirect=True)
def test_who_does_not_answer_a_ping_is_sent_away(open_node: Callable[..., Node]) -> None:
    node = open_node(block_socket_ping_seconds=1)

    with node.socket() as silent:
        assert isinstance(silent.next(), events.Ping)
        with pytest.raises(ClosedError) as closed:
            silent.said()
        assert closed.value.code == 1008
    node.wait_until_empty()


@pytest.mark.contract("K-150", "A.9/ignored")
def test_what_clients_say_is_ignored_and_not_kept(node: Node) -> None:
    with node.socket() as socket:
        for _ in range(100):
            socket.send(events.TextMessage(data="x" * 1000))
        socket.send(events.Ping(b"still there?"))
        assert isinstance(socket.next(), events.Pong)
        node.put("a", b"x")
        assert socket.said()["seq"] == 1

        socket.send(events.TextMessage(data="x" * 100_000))
        with pytest.raises(ClosedError) as closed:
            socket.said()
        assert closed.value.code == 1009
    node.wait_until_empty()


@pytest.mark.contract("K-154")
def test_sockets_leave_the_threads_of_our_own_server_alone(
    unserved: Callable[..., Node],
) -> None:
    node = unserved(threads=1)
    with ExitStack() as stack:
        standalone(node, stack)
        sockets = [stack.enter_context(node.socket()) for _ in range(5)]

        url = f"http://{node.address}/files/{PREFIX}/a"
        assert requests.put(url, data=b"x", headers=node.anna, timeout=SECONDS).status_code == 204
        assert {socket.said()["seq"] for socket in sockets} == {1}
        node.meteor_app.stopping.ask()
        assert {socket.end() for socket in sockets} == {(1001, "this server stops")}
    node.wait_until_empty()


class _NoThread(threading.Thread):
    """As where there are too many."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


@pytest.mark.contract("K-155")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("failure", ["thread", "telling"])
def test_a_socket_that_cannot_be_served_is_cut(
    unserved: Callable[..., Node], monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    if failure == "thread":
        monkeypatch.setattr(sockets, "threading", SimpleNamespace(Thread=_NoThread))
    else:
        monkeypatch.setattr(sockets, "_tell", fail)
    node = unserved()
    with ExitStack() as stack:
        standalone(node, stack)
        with node.socket() as socket, pytest.raises(ClosedError):
            socket.said()
        node.wait_until_empty()


@pytest.mark.contract("I-07")
def test_without_the_library_the_cure_is_named(
    unserved: Callable[..., Node], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(websockets, "find_spec", lambda name: None)
    with caplog.at_level("INFO"), ExitStack() as stack:
        node = unserved()
        standalone(node, stack)

        assert node.upgrade(f"{PREFIX}/a", UPGRADE) == 426
    assert "pip install 'meteorpi[websocket]'" in caplog.text


@pytest.mark.contract("K-150", "K-112")
def test_pages_of_other_sites_do_not_use_what_a_browser_remembers(unserved: Callable[..., Node]) -> None:
    node = unserved(cors_origins=("https://friend.example",))
    password = base64.b64encode(f"anna:{PASSWORD}".encode()).decode()
    foreign, friend = ({"Origin": f"https://{name}.example"} for name in ("foreign", "friend"))
    basic = {"Authorization": f"Basic {password}"}

    def asked(headers: dict[str, str]) -> list[int]:
        socket = node.http.get(f"/api/v0/websocket/{PREFIX}", headers=UPGRADE | headers)
        made = node.http.post("/api/v0/prefix/", headers=headers)
        return [socket.status_code, made.status_code]

    assert asked(basic | foreign) == [403, 403]
    assert asked(basic | friend) == asked(basic) == asked(node.anna | foreign) == [426, 201]


def _parts(reply: TestResponse) -> Iterator[bytes]:
    """What a stream sends, as it sends it."""
    return cast("Iterator[bytes]", iter(reply.response))


def _told(stream: Iterator[bytes]) -> dict[str, Any]:
    """The next event of a stream, with its id."""
    text = next(each for each in stream if not each.startswith(b":")).decode()
    number, data = (line.partition(": ")[2] for line in text.strip().splitlines())
    found = json.loads(data)
    assert found["seq"] == int(number)
    assert isinstance(found, dict)
    return found


@pytest.mark.contract("K-151", "K-155", "C/events")
def test_changes_are_told_in_streams(unserved: Callable[..., Node]) -> None:
    node = unserved()
    node.put("a", b"1")
    url = f"/api/v0/events/{PREFIX}"
    with ExitStack() as stack:
        replies = [
            stack.enter_context(closing(node.http.get(address, headers=headers)))
            for address, headers in (
                (url, node.anna),
                (f"{url}/a", {"Last-Event-ID": "0"}),
                (f"{url}?since=5", node.anna),
                (f"{url}/a?since=0", {"Last-Event-ID": "1"}),
            )
        ]
        whole, single, lost, again = (_parts(reply) for reply in replies)
        assert next(whole).startswith(b":")
        node.put("b", b"2")
        node.put("a", b"3")

        assert [_told(whole)["seq"] for _ in range(2)] == [2, 3]
        assert [_told(single)["seq"] for _ in range(2)] == [1, 3]
        assert _told(lost)["operation"] == "RESYNC"
        assert _told(again)["seq"] == 3
        assert {reply.headers["Content-Type"] for reply in replies} == {"text/event-stream"}
        assert node.service.events.figures.counted().open_streams == 4
    assert node.is_empty()


@pytest.mark.contract("K-151")
def test_the_upkeep_forgets_what_nobody_asks_for(db: MeteorDatabase, unserved: Callable[..., Node]) -> None:
    node = unserved()
    node.put("a", b"1")
    db.transactions.write(lambda c: c.execute(update(block_event).values(occurred_at=0)))
    node.put("a", b"2")

    node.service.keep_up()

    with closing(node.http.get(f"/api/v0/events/{PREFIX}/a?since=0")) as late:
        assert _told(_parts(late)) == {"operation": "RESYNC", "prefix": PREFIX, "seq": 2}
    with closing(node.http.get(f"/api/v0/events/{PREFIX}/a?since=1")) as early:
        assert _told(_parts(early))["seq"] == 2


@pytest.mark.contract("K-155", "K-154")
def test_streams_end_and_are_refused_without_a_trace(unserved: Callable[..., Node]) -> None:
    node = unserved(threads=8)
    url = f"/api/v0/events/{PREFIX}/a"
    node.http.head(url).close()
    with closing(node.http.get(url)), closing(node.http.get(url)) as second:
        third = node.http.get(url)
        assert third.status_code == 503
        assert "Retry-After" in third.headers
        node.meteor_app.stopping.ask()
        assert all(each.startswith(b":") for each in _parts(second))

    for address, headers, status in [
        (f"/api/v0/events/{PREFIX}", {}, 403),
        (f"/api/v0/events/{PREFIX}", node.bert, 403),
        (f"/api/v0/events/{PREFIX}/blocks/1", {}, 405),
        (f"/api/v0/events/{PREFIX}/a?since=-1", {}, 400),
        (url, {}, 503),
    ]:
        refused = node.http.get(address, headers=headers)
        assert refused.status_code == status
        assert ("Allow" in refused.headers) == (status == 405)
    assert node.is_empty()


@pytest.mark.contract("K-150", "K-207")
@pytest.mark.parametrize(("policy", "statuses"), [
    ("public", [200, 200, 200]), ("account", [403, 200, 200]), ("owner", [403, 404, 200]),
    ("link", [403, 404, 200]),
])  # fmt: skip
def test_who_may_not_read_may_not_listen(
    unserved: Callable[..., Node], policy: str, statuses: list[int]
) -> None:
    node = unserved(block_read_policy=policy)

    found = []
    for headers in ({}, node.bert, node.anna):
        with closing(node.http.get(f"/api/v0/events/{PREFIX}/a", headers=headers)) as reply:
            found.append(reply.status_code)

    assert found == statuses
    assert node.is_empty()


@pytest.mark.contract("A.5/ownerless", "K-150")
def test_dummy_accounts_listen_to_what_is_yet_to_come(unserved: Callable[..., Node]) -> None:
    node = unserved(block_accounts="dummy", block_dummy_token="MAGIC", block_insecure=True)
    dummy = {"Authorization": "Token MAGIC"}

    with closing(node.http.get("/api/v0/events/new", headers=dummy)) as reply:
        stream = _parts(reply)
        assert node.http.put("/api/v0/files/new/a", data=b"x", headers=dummy).status_code == 204

        assert _told(stream)["path"] == "new/a"
        refused = node.http.get(f"/api/v0/events/{PREFIX}", headers=dummy)
        assert refused.status_code == 403


@pytest.mark.contract("K-152", "KD-16", "K-170")
def test_an_upload_needs_no_broker(unserved: Callable[..., Node]) -> None:
    node = unserved(block_events=f"redis://127.0.0.1:{free_port()}/0")

    with closing(node.http.get(f"/api/v0/events/{PREFIX}/a")) as reply:
        node.put("a", b"x")

        assert _told(_parts(reply))["seq"] == 1
    ready = node.http.get("/api/v0/ready")
    assert ready.status_code == 200
    assert ready.json is not None
    assert ready.json["checks"]["events"]["state"] == "unavailable"
