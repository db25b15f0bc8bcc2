"""One file of another server through the node: signed links."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from meteorpi_db.archives.clients import Limits, Rights
from tests.archive.conftest import ArchiveNode
from tests.archive.faulty_source import (
    Exchange,
    FaultySource,
    cut_chunks,
    redirecting,
    refuse_with_reset,
    reset_midway,
    serving,
    short,
    silent,
)
from tests.archive.test_signed_links import made_of

pytestmark = pytest.mark.engines("sqlite")

CONTENT = bytes(range(256)) * 2000
NAME = "portal"


@pytest.fixture
def source() -> Iterator[FaultySource]:
    with FaultySource({"/a.jpg": serving(CONTENT, Content_Type="image/jpeg")}) as server:
        yield server


class Portal:
    """A client that signs links, and the node that follows them."""

    def __init__(self, node: ArchiveNode, source: FaultySource, **rights: Any) -> None:
        self.node = node
        self.source = source
        self.secret = node.register.add_client(NAME, Rights(**rights), Limits())

    def token(self, url: str, **claims: Any) -> str:
        payload = json.dumps({"url": url} | claims).encode()
        return made_of(b'{"alg":"HS256","typ":"JWT"}', payload, self.secret.encode())

    def get(self, path: str = "/a.jpg", headers: dict[str, str] | None = None, **claims: Any) -> TestResponse:
        token = self.token(self.source.url(path), **claims)
        return self.node.http.get(f"/stream/url/{token}?client={NAME}", headers=headers)


@pytest.fixture
def portal(make_archive_node: Callable[..., ArchiveNode], source: FaultySource) -> Iterator[Portal]:
    node = make_archive_node(allowed_sources=[f"127.0.0.1:{source.port}"])
    yield Portal(node, source)
    service_of(node).remote.outbound.close()


def service_of(node: ArchiveNode) -> Any:
    (service,) = node.meteor_app.app.extensions["meteorpi_archive"].values()
    return service


def error(answer: TestResponse) -> tuple[int, list[str]]:
    assert answer.json is not None
    assert answer.json["status"] == answer.status_code
    return answer.status_code, list(answer.json["errors"])


@pytest.mark.contract("archive-fpx/signed", "archive-3.10/stream", "archive-defect-19")
def test_signed_link_leads_to_the_file_with_one_request(portal: Portal) -> None:
    portal.source.routes["/a.jpg"] = serving(
        CONTENT,
        Content_Type="image/jpeg",
        ETag='"v1"',
        Last_Modified="Sun, 13 Dec 2015 09:46:40 GMT",
        Accept_Ranges="bytes",
        Set_Cookie="a=b",
    )

    answer = portal.get()

    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert len(portal.source.requests) == 1
    passed = {
        "Content-Type": "image/jpeg",
        "Content-Length": str(len(CONTENT)),
        "ETag": '"v1"',
        "Last-Modified": "Sun, 13 Dec 2015 09:46:40 GMT",
        "Accept-Ranges": "bytes",
        "Content-Disposition": "inline; filename=\"a.jpg\"; filename*=UTF-8''a.jpg",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-transform",
    }
    assert {name: answer.headers.get(name) for name in passed} == passed
    assert "Set-Cookie" not in answer.headers


@pytest.mark.contract("archive-3.10/stream")
def test_ranges_are_passed_on_to_the_source(portal: Portal) -> None:
    portal.source.routes["/a.jpg"] = lambda exchange: exchange.file(CONTENT)

    middle = portal.get(headers={"Range": "bytes=1000-1999", "If-Range": '"v1"'})
    rest = portal.get(headers={"Range": "bytes=511000-"})
    changed = portal.get(headers={"Range": "bytes=5-9", "If-Range": '"v0"'})
    several = portal.get(headers={"Range": "bytes=0-1,5-9"})

    assert (middle.status_code, middle.data) == (206, CONTENT[1000:2000])
    assert middle.headers["Content-Range"] == f"bytes 1000-1999/{len(CONTENT)}"
    assert middle.headers["Content-Length"] == "1000"
    assert (rest.status_code, rest.data) == (206, CONTENT[511000:])
    assert (changed.status_code, changed.data) == (200, CONTENT)
    assert (several.status_code, several.data) == (200, CONTENT)


@pytest.mark.contract("archive-3.10/stream")
def test_head_fetches_no_content(portal: Portal) -> None:
    token = portal.token(portal.source.url("/a.jpg"))

    answer = portal.node.http.head(f"/stream/url/{token}?client={NAME}")

    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert [exchange.method for exchange in portal.source.requests] == ["HEAD"]


@pytest.mark.contract("archive-3.10/stream")
def test_coding_is_taken_off_and_the_length_with_it(portal: Portal) -> None:
    portal.source.routes["/a.jpg"] = serving(gzip.compress(CONTENT), Content_Encoding="gzip", ETag='"v1"')

    answer = portal.get()

    assert answer.data == CONTENT
    assert "Content-Encoding" not in answer.headers
    assert "Content-Length" not in answer.headers
    assert "ETag" not in answer.headers


def gone(exchange: Exchange) -> None:
    exchange.whole(b"gone", "410 Gone")


def unsatisfiable(exchange: Exchange) -> None:
    exchange.whole(b"", "416 Range Not Satisfiable")


@pytest.mark.contract("archive-3.10/stream", "archive-defect-3")
@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (gone, 502),
        (unsatisfiable, 416),
        (refuse_with_reset, 502),
        (short(b"", 10), 502),
        (redirecting("http://192.168.0.1/"), 422),
        (redirecting("/a.jpg"), 502),
    ],
)
def test_source_that_fails_is_an_error(
    portal: Portal, behaviour: Callable[[Exchange], None], status: int
) -> None:
    portal.source.routes["/a.jpg"] = behaviour

    assert error(portal.get()) == (status, ["url"])
    assert service_of(portal.node).watcher.slots() == []
    assert portal.get("/b.jpg").status_code == 502


@pytest.mark.contract("archive-3.10/stream", "archive-defect-21")
def test_silent_source_is_given_up(
    make_archive_node: Callable[..., ArchiveNode], source: FaultySource
) -> None:
    node = make_archive_node(allowed_sources=[f"127.0.0.1:{source.port}"], first_byte_timeout=1)
    source.routes["/a.jpg"] = silent

    assert error(Portal(node, source).get()) == (504, ["url"])


@pytest.mark.contract("archive-3.10/stream", "archive-defect-3")
@pytest.mark.parametrize("behaviour", [short(CONTENT, len(CONTENT) + 1), reset_midway, cut_chunks])
def test_source_that_breaks_off_breaks_the_answer(
    portal: Portal, behaviour: Callable[[Exchange], None]
) -> None:
    """The error reaches the server, which then cuts the connection; it never ends well."""
    portal.source.routes["/a.jpg"] = behaviour

    with pytest.raises(Exception, match=r"broke off|ends early|did not answer"):
        portal.get().data  # noqa: B018


@pytest.mark.contract("archive-3.10/signed")
def test_token_says_what_the_file_is_called_and_what_it_is(portal: Portal) -> None:
    wanted = {
        "Content-Disposition": 'attachment; filename="näme.png"',
        "Cache-Control": "max-age=60",
        "Content-Type": "text/plain",
        "Set-Cookie": "a=b",
    }
    claims: dict[str, Any] = {"content-type": "image/png", "response_headers": wanted}

    answer = portal.get(**claims)

    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Cache-Control"] == "max-age=60"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="n_me.png"; filename*=')
    assert "Set-Cookie" not in answer.headers


@pytest.mark.contract("archive-3.10/signed", "archive-6.7")
@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/xml",
        " text/html",
    ],
)
@pytest.mark.parametrize("by_token", [False, True])
def test_what_a_browser_would_run_is_an_attachment(portal: Portal, kind: str, by_token: bool) -> None:
    claims: dict[str, Any] = {"response_headers": {"content-disposition": "inline"}}
    if by_token:
        claims["content-type"] = kind
    else:
        portal.source.routes["/a.jpg"] = serving(b"<svg/>", Content_Type=kind)

    answer = portal.get(**claims)

    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.contract("archive-3.10/signed", "archive-defect-13")
def test_expired_link_is_forbidden(portal: Portal) -> None:
    assert error(portal.get(exp=time.time() - 1)) == (403, ["access"])
    assert portal.get(exp=time.time() + 3600).status_code == 200
    assert len(portal.source.requests) == 1


@pytest.mark.contract("archive-3.10/signed")
def test_expiry_is_demanded_where_that_is_set(
    make_archive_node: Callable[..., ArchiveNode], source: FaultySource
) -> None:
    portal = Portal(make_archive_node(stream_require_exp=True), source)

    assert error(portal.get()) == (403, ["access"])


@pytest.mark.contract("archive-3.10/signed")
def test_expiry_can_be_demanded_of_one_client(
    make_archive_node: Callable[..., ArchiveNode], source: FaultySource
) -> None:
    node = make_archive_node(allowed_sources=[f"127.0.0.1:{source.port}"])
    portal = Portal(node, source, requires_expiry=True)

    assert error(portal.get()) == (403, ["access"])
    assert portal.get(exp=time.time() + 600).data == CONTENT
    service_of(node).remote.outbound.close()


@pytest.mark.contract("archive-fpx/signed", "archive-3.10/signed")
def test_wrong_links_are_refused_as_fpx_did(portal: Portal) -> None:
    http, good = portal.node.http, portal.token(portal.source.url("/a.jpg"))

    assert error(http.get(f"/stream/url/{good}")) == (422, ["query"])
    assert error(http.get(f"/stream/url/{good}?client=nobody")) == (404, ["client"])
    assert error(http.get(f"/stream/url/{good[:-2]}?client={NAME}")) == (422, ["url"])
    portal.node.register.set_client_enabled(NAME, False)
    assert error(http.get(f"/stream/url/{good}?client={NAME}")) == (404, ["client"])
    portal.node.register.set_client_enabled(NAME, True)
    portal.node.register.regenerate_client(NAME)
    assert error(http.get(f"/stream/url/{good}?client={NAME}")) == (422, ["url"])
    assert portal.source.requests == []


@pytest.mark.contract("archive-3.3/clients")
@pytest.mark.parametrize(
    ("selectors", "prefix"),
    [
        ({"url"}, "http://elsewhere.example/"),
        ({"url"}, "http://127.0.0"),  # the beginning of the text, and of another name
        ({"url"}, "http://127.0.0.1"),  # another port
        ({"record"}, "http://"),
    ],
)
def test_link_outside_the_rights_of_its_client_is_forbidden(
    make_archive_node: Callable[..., ArchiveNode], source: FaultySource, selectors: set[str], prefix: str
) -> None:
    node = make_archive_node(allowed_sources=[f"127.0.0.1:{source.port}"])
    portal = Portal(node, source, selectors=frozenset(selectors), prefixes=(prefix,))

    assert error(portal.get()) == (403, ["access"])
    assert source.requests == []


@pytest.mark.contract("archive-defect-11", "archive-3.14/addresses")
def test_addresses_are_checked_for_signed_links_too(
    make_archive_node: Callable[..., ArchiveNode], source: FaultySource
) -> None:
    portal = Portal(make_archive_node(), source)

    assert error(portal.get()) == (422, ["url"])
    assert source.requests == []


@pytest.mark.contract("archive-3.3/logs")
def test_no_token_is_in_the_log(portal: Portal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    portal.source.routes["/b.jpg"] = refuse_with_reset

    for path in ("/a.jpg", "/b.jpg", "/c.jpg"):
        portal.get(path)
    portal.get(exp=1)

    assert "/stream/url/" not in caplog.text
    assert portal.secret not in caplog.text


# --- tickets of type stream ----------------------------------------------------------------------------


@pytest.mark.contract("archive-fpx/stream", "archive-fpx/type", "archive-3.10/stream")
def test_ticket_for_one_address_leads_to_its_file(portal: Portal) -> None:
    item = {"url": portal.source.url("/a.jpg"), "name": "x.jpg", "headers": {"X-Key": "secret"}}
    portal.source.routes["/a.jpg"] = lambda exchange: exchange.file(CONTENT)
    ticket = portal.node.ticket([item], {"authorize": portal.secret}, filename="ignored.zip")
    made = portal.node.generate([item], headers={"authorize": portal.secret}, type="stream").json
    assert made is not None
    asked = len(portal.source.requests)

    whole = portal.node.http.get(made["href"])
    part = portal.node.http.get(made["href"], headers={"Range": "bytes=5-9"})

    assert (whole.status_code, whole.data) == (200, CONTENT)
    assert (part.status_code, part.data) == (206, CONTENT[5:10])
    assert whole.headers["Content-Disposition"] == "attachment; filename=\"x.jpg\"; filename*=UTF-8''x.jpg"
    assert len(portal.source.requests) == asked + 2
    assert portal.source.requests[-1].headers["x-key"] == "secret"
    assert (made["type"], ticket["type"]) == ("stream", "zip")
    assert made["bytes"] == len(CONTENT)


@pytest.mark.contract("archive-defect-3")
def test_ticket_for_an_address_that_fails_is_an_error(portal: Portal) -> None:
    portal.source.routes["/a.jpg"] = serving(CONTENT)
    item = {"url": portal.source.url("/a.jpg")}
    made = portal.node.generate([item], headers={"authorize": portal.secret}, type="stream").json
    assert made is not None
    portal.source.routes["/a.jpg"] = gone

    assert error(portal.node.http.get(made["href"])) == (502, ["url"])


@pytest.mark.contract("archive-fpx/stream", "archive-3.10/stream")
def test_ticket_for_one_record_leads_to_its_content(archive_node: ArchiveNode) -> None:
    record, *_ = archive_node.add_files()
    assert record.file_id is not None
    made = archive_node.generate([{"record": record.file_id.hex}], type="stream").json
    assert made is not None

    whole = archive_node.http.get(made["href"])
    part = archive_node.http.get(
        made["href"], headers={"Range": "bytes=-5", "If-Range": whole.headers["ETag"]}
    )
    known = archive_node.http.get(made["href"], headers={"If-None-Match": whole.headers["ETag"]})

    assert (whole.status_code, whole.data) == (200, b"A" * 2000)
    assert (part.status_code, part.data) == (206, b"A" * 5)
    assert known.status_code == 304
    assert (made["entries"], made["bytes"], made["resumable"]) == (1, 2000, True)
    assert whole.headers["ETag"] == f'"{made["etag"]}"'


@pytest.mark.contract("archive-fpx/type")
def test_stream_takes_one_file(archive_node: ArchiveNode) -> None:
    records = archive_node.add_files()
    everything: list[object] = [{"search": {}}]
    one = [{"record": records[0].file_id.hex if records[0].file_id else ""}]

    several = archive_node.generate(everything, type="stream")
    counted = archive_node.generate(one, {"once": True}, type="stream")

    assert (several.status_code, counted.status_code) == (422, 422)
    assert several.json is not None
    assert list(several.json["errors"]["json"]) == ["type"]
