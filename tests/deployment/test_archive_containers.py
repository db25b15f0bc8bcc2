"""Archive routes of a node in each of the five servers that it may run under."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from tests.archive.own_server import NAME, make_photos, names_in
from tests.components import started
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import SERVERS, GunicornNode, StandaloneNode, WerkzeugNode

SCRIPT = Path(__file__).with_name("archive_script.py")
SECONDS = 60
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip


class Offering(NamedTuple):
    """A node that offers archives, and the secret of a client."""

    node: DeployedNode
    secret: str


@pytest.fixture(params=SERVERS)
def offering(request: pytest.FixtureRequest) -> Iterator[Offering]:
    with ExitStack() as stack:
        node = made(SERVERS[request.param])
        secret = with_client(node)
        yield Offering(started(stack, lambda: node), secret)


def made(server: type[DeployedNode]) -> DeployedNode:
    """A node, not started yet, that offers archives."""
    settings: dict[str, Any] = {"archive_max_active": 2, "routes": ["query", "archive"]}
    script = None if server is StandaloneNode else SCRIPT
    node = server(settings, script=script, processes=1)
    node.settings["archive_storage_path"] = str(make_photos(node.directory / "photos"))
    return node


def with_client(node: DeployedNode) -> str:
    """Make the database of a node here, which is quicker than its tools are, with a client; its secret."""
    with MeteorDatabase(str(node.settings["db_path"]), str(node.settings["file_store"])) as db:
        secret = ArchiveRegister(db.transactions).add_client("portal")
    for path in (node.data, *node.data.rglob("*")):
        node.give(path)
    (node.directory / "prepared").touch()
    return secret


@pytest.mark.contract("archive-3.1/attach", "archive-3.22")
def test_archives_are_the_same_in_every_server(offering: Offering) -> None:
    def asked(method: str, path: str, **options: Any) -> requests.Response:
        origin = offering.node.url.removesuffix("/api")
        return requests.request(method, origin + path, timeout=SECONDS, allow_redirects=False, **options)

    link = f"/api/archive/{NAME}/"
    whole = asked("GET", link)
    assert (whole.status_code, names_in(whole.content)) == (200, ["1.jpg"])
    assert whole.headers["Content-Length"] == str(len(whole.content))
    part = asked("GET", link, headers={"Range": "bytes=-22", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, whole.content[-22:])
    head = asked("HEAD", link)
    assert (head.headers["Content-Length"], head.content) == (whole.headers["Content-Length"], b"")
    assert asked("GET", link, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    away = asked("GET", link.rstrip("/"))
    assert (away.status_code, away.headers["Location"].endswith(link)) == (308, True)
    assert asked("POST", link).status_code == 405
    assert asked("GET", f"/api/archive/{NAME}%2f..%2fshort/").status_code == 404

    headers = {"Authorization": offering.secret}
    body = {"items": [{"dir": NAME}]}
    ticket = asked("POST", "/api/ticket/generate", json=body, headers=headers).json()
    assert ticket["href"] == f"/api/ticket/{ticket['id']}/download"
    assert names_in(asked("GET", ticket["href"]).content) == ["1.jpg"]
    assert asked("GET", f"{ticket['status_href']}/wait").json()["available"]
    events = asked("GET", f"{ticket['status_href']}/wait", headers={"Accept": "text/event-stream"})
    assert b'"available": true' in events.content
    assert asked("DELETE", ticket["status_href"], headers=headers).status_code == 204
    assert asked("GET", ticket["href"]).status_code == 404

    # A socket is there where the server can; those that do not hand the header on see an ordinary request.
    can_upgrade = isinstance(offering.node, WerkzeugNode | GunicornNode)
    with asked("GET", f"/api/ticket/{'0' * 32}/wait", headers=UPGRADE, stream=True) as answer:
        assert answer.status_code in ({101} if can_upgrade else {426, 404})
