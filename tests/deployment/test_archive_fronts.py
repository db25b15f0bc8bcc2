"""The archive server without a node behind nginx and Apache, by the samples of ``wsgi/``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import requests

from meteorpi_db.testing.processes import wait_until
from tests.archive.own_server import NAME, names_in
from tests.components import absent, started
from tests.deployment.archive_servers import FRONTS, ArchiveFront, ArchiveServer

SECONDS = 60

pytestmark = pytest.mark.contract("archive-fpx/deployment")


class Site(NamedTuple):
    """A web server, what is behind it, and who may make tickets."""

    front: ArchiveFront
    secret: str

    def ticket(self, **options: object) -> Any:
        """A ticket for the directory, made below the path that the web server takes away."""
        body = {"items": [{"dir": NAME}], "options": options}
        headers = {"X-FPX-Authorize": self.secret}
        made = self.asked("POST", "/files/ticket/generate", json=body, headers=headers)
        assert made.status_code == 200, made.text
        return made.json()

    def withdraw(self, ticket: Any) -> None:
        """Take a ticket back."""
        headers = {"X-FPX-Authorize": self.secret}
        assert self.asked("DELETE", ticket["status_href"], headers=headers).status_code == 204

    def asked(self, method: str, path: str, **options: Any) -> requests.Response:
        """An answer; redirects are not followed."""
        return requests.request(
            method, self.front.url + path, timeout=SECONDS, allow_redirects=False, **options
        )

    def socket(self, ticket: Any) -> Any:
        """A WebSocket in which a ticket waits."""
        if find_spec("simple_websocket") is None:
            absent("simple-websocket is not installed: pip install 'meteorpi[archive]'")
        url = self.front.url.replace("http:", "ws:")
        return import_module("simple_websocket").Client.connect(f"{url}{ticket['status_href']}/wait")


@pytest.fixture(scope="module")
def behind() -> Iterator[ArchiveServer]:
    with ExitStack() as stack:
        yield started(stack, ArchiveServer)


@pytest.fixture(scope="module", params=FRONTS)
def site(request: pytest.FixtureRequest, behind: ArchiveServer) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(started(stack, lambda: FRONTS[request.param](behind.port)), behind.secret)


@pytest.mark.contract("archive-directory/front", "archive-3.22")
@pytest.mark.parametrize("path", ["/archive/", "/files/archive/"])
def test_directory_is_sent_whole_and_in_parts(site: Site, path: str) -> None:
    whole = site.asked("GET", f"{path}{NAME}/")
    part = site.asked("GET", f"{path}{NAME}/", headers={"Range": "bytes=10-19"})
    head = site.asked("HEAD", f"{path}{NAME}/")

    assert names_in(whole.content) == ["1.jpg"]
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["ETag"] == whole.headers["ETag"] == head.headers["ETag"]
    assert head.headers["Content-Length"] == str(len(whole.content))
    assert "Content-Encoding" not in whole.headers


def test_names_of_before_are_reported_by_the_script_too(behind: ArchiveServer) -> None:
    log = (behind.directory / "log").read_text()

    for name in ("STORAGE_PATH", "FPX_NO_QUEUE", "FPX_SIMULTANEOURS_DOWNLOADS_LIMIT"):
        assert log.count(f"setting taken from {name}: METEORPI_ARCHIVE_") == 1


@pytest.mark.contract("archive-3.1/attach", "archive-3.22")
@pytest.mark.parametrize(("path", "prefix"), [("/archive/", ""), ("/files/archive/", "/files")])
def test_links_lead_back_through_the_web_server_whatever_callers_say(
    site: Site, path: str, prefix: str
) -> None:
    lie = {"X-Forwarded-Prefix": "/elsewhere", "X-Forwarded-For": "192.0.2.1"}

    answer = site.asked("GET", path + NAME, headers=lie)

    assert answer.status_code == 308
    assert answer.headers["Location"].removeprefix(site.front.url) == f"{prefix}/archive/{NAME}/"


@pytest.mark.contract("archive-3.9/wait", "archive-3.22")
def test_turn_is_waited_for_in_a_socket_and_the_archive_downloaded(site: Site) -> None:
    first, second = site.ticket(), site.ticket()
    site.asked("GET", f"{first['status_href']}/wait")
    with closing(Listener(site.socket(first))) as other, closing(Listener(site.socket(second))) as listener:
        assert other.said()["available"]
        before = listener.said()
        assert (before["position"], before["available"]) == (0, False)
        assert not listener.said()["available"]  # a sign of life
        site.withdraw(first)
        assert listener.until(lambda message: bool(message["available"]))["position"] == -1
        assert listener.end() == 1000

    got = site.asked("GET", second["href"])

    assert names_in(got.content) == ["1.jpg"]
    site.withdraw(second)


def test_events_come_while_the_turn_is_waited_for(site: Site) -> None:
    first, second = site.ticket(), site.ticket()
    site.asked("GET", f"{first['status_href']}/wait")
    headers = {"Accept": "text/event-stream"}
    with site.asked("GET", f"{second['status_href']}/wait", headers=headers, stream=True) as answer:
        lines = (line for line in answer.iter_lines(1) if line.startswith(b"data:"))
        assert not json.loads(next(lines)[5:])["available"]
        site.withdraw(first)
        assert any(json.loads(line[5:])["available"] for line in lines)
    site.withdraw(second)


@pytest.mark.contract("archive-fpx/client-gone", "archive-directory/producer")
def test_reader_that_leaves_frees_the_slot_behind_the_web_server(site: Site, behind: ArchiveServer) -> None:
    with (behind.directory / "photos" / NAME / "long.bin").open("wb") as stream:
        stream.truncate(1 << 26)  # more than all buffers on the way hold
    ticket = site.ticket(compression="store")
    site.asked("GET", f"{ticket['status_href']}/wait")
    with site.asked("GET", ticket["href"], stream=True) as answer:
        assert answer.status_code == 200
        assert next(answer.iter_content(1000))
        assert site.asked("GET", ticket["status_href"]).json()["active_downloads"] == 1

    def is_free() -> bool:
        return bool(site.asked("GET", ticket["status_href"]).json()["active_downloads"] == 0)

    wait_until(is_free, SECONDS, "end of the download")
    site.withdraw(ticket)
    (behind.directory / "photos" / NAME / "long.bin").unlink()


class Listener:
    """What is said in a socket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def said(self) -> dict[str, Any]:
        """The next message."""
        text = self._socket.receive(SECONDS)
        assert text is not None
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def until(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message of a kind."""
        found = self.said()
        while not is_wanted(found):
            found = self.said()
        return found

    def end(self) -> int:
        """The code with which the other side closes."""
        try:
            while True:
                assert self._socket.receive(SECONDS) is not None
        except import_module("simple_websocket").ConnectionClosed as closed:
            return int(closed.reason)

    def close(self) -> None:
        """Leave."""
        if self._socket.connected:
            self._socket.close()
        self._socket.thread.join(SECONDS)
