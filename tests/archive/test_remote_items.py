"""URLs in tickets: checked when one is made, fetched when it is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from meteorpi_db.archives.clients import Rights
from meteorpi_server.archive_api.remote_items import is_below
from tests.archive.conftest import ArchiveNode, opened
from tests.archive.faulty_source import MISBEHAVIOURS, FaultySource, not_found, serving
from tests.db.making import add_export

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def server() -> Iterator[FaultySource]:
    with FaultySource(dict(MISBEHAVIOURS)) as found:
        yield found


@pytest.fixture
def node(server: FaultySource, make_archive_node: Callable[..., ArchiveNode]) -> ArchiveNode:
    return make_archive_node(allowed_sources=[server.url()], retries=0, total_timeout=60)


def ids_of(errors: object) -> dict[str, list[str]]:
    assert isinstance(errors, dict)
    found = errors["errors"]["json"]["items"]
    assert isinstance(found, dict)
    return found


@pytest.mark.contract("archive-fpx/content", "archive-fpx/item", "archive-3.14/prefetch")
def test_urls_become_the_entries_of_an_archive_with_a_length(server: FaultySource, node: ArchiveNode) -> None:
    server.routes |= {f"/{number}/a%20b.txt": serving(b"x" * number) for number in range(20)}
    items: list[object] = [server.url(f"/{number}/a%20b.txt") for number in range(19)]
    items.append({"url": server.url("/19/a%20b.txt"), "name": "n.txt", "path": "p/q"})

    made = node.ticket(items, node.client("catalogue", "url"))
    download = node.get(made["href"])

    contents = opened(download)
    assert (made["sized"], made["entries"], made["bytes"]) == (True, 20, len(download.data))
    assert list(contents.values()) == [b"x" * number for number in range(20)]
    assert list(contents)[:2] == ["a b.txt", "a b (2).txt"]
    assert list(contents)[-1] == "p/q/n.txt"


@pytest.mark.contract("archive-fpx/entry-name", "archive-defect-5", "archive-3.13/names")
def test_entry_is_called_as_the_source_calls_it_unless_it_is_given_a_name(
    server: FaultySource, node: ArchiveNode
) -> None:
    server.routes |= {
        "/a": serving(b"a", Content_Disposition='attachment; filename="../told.txt"'),
        "/b+c%2525.txt": serving(b"b"),
        "/": serving(b"c"),
    }
    items = [server.url("/a"), {"url": server.url("/a"), "name": "mine.txt"}, server.url("/b+c%2525.txt")]

    made = node.ticket([*items, server.url("/")], node.client("catalogue", "url"))

    assert list(opened(node.get(made["href"]))) == ["told.txt", "mine.txt", "b+c%25.txt", "127.0.0.1"]


@pytest.mark.contract(
    "archive-3.4/checks", "archive-defect-11", "archive-defect-20", "archive-3.14/addresses"
)
def test_addresses_that_are_not_allowed_are_refused_by_index(server: FaultySource, node: ArchiveNode) -> None:
    server.routes["/a"] = serving(b"a")
    bad = [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/",
        "file:///etc/passwd",
        "http://user:pass@example.org/",
        server.url("/to-private"),
        {"url": server.url("/a"), "headers": {"Host": "x"}},
        "not a url",
    ]

    answer = node.generate([server.url("/a"), *bad], headers=node.client("catalogue", "url"))

    assert answer.status_code == 422
    assert answer.json is not None
    found = ids_of(answer.json)
    assert set(found) <= {str(index) for index in range(1, 8)}
    assert set(found) >= {"1", "2", "3", "4", "6", "7"}
    only = node.generate([server.url("/to-private")], headers=node.client("other", "url"))
    assert only.status_code == 422


@pytest.mark.contract("archive-3.14/allowed")
@pytest.mark.parametrize("allow_peers", [True, False])
def test_nodes_that_are_exported_to_may_be_allowed(
    server: FaultySource, make_archive_node: Callable[..., ArchiveNode], allow_peers: bool
) -> None:
    server.routes["/files/a"] = serving(b"a")
    node = make_archive_node(allow_peers=allow_peers)
    secret = node.client("catalogue", "url")
    before = node.generate([server.url("/files/a")], headers=secret)

    add_export(node.db, target_url=server.url("/importer"))
    add_export(node.db, target_url="http://user:pass@hub.example/importer")
    after = node.generate([server.url("/files/a")], headers=secret)

    assert before.status_code == 422
    assert after.status_code == (200 if allow_peers else 422)


@pytest.mark.contract("archive-3.3/clients")
def test_client_is_held_to_its_prefixes_however_they_are_spelled(
    server: FaultySource, node: ArchiveNode
) -> None:
    server.routes["/data/a"] = serving(b"a")
    rights = Rights(selectors=frozenset({"url"}), prefixes=(server.url("/data"),))
    secret = {"authorize": node.register.add_client("held", rights)}

    allowed = node.generate([server.url("/data/a")], headers=secret)
    refused = [
        node.generate([server.url(path)], headers=secret).status_code
        for path in ("/", "/database", "/data/../a", "/data/%2e%2e/a")
    ]

    assert allowed.status_code == 200
    assert refused == [422] * 4


def test_prefix_without_a_slash_does_not_cover_a_longer_name_of_a_host() -> None:
    assert is_below("http://peer.example/x", ["http://peer.example"])
    assert not is_below("http://peer.example.evil.example/x", ["http://peer.example"])
    assert not is_below("no url", ["http://peer.example"])


@pytest.mark.contract("archive-3.3/users")
def test_accounts_may_not_have_urls_fetched(server: FaultySource, node: ArchiveNode) -> None:
    assert node.generate([server.url("/a")]).status_code == 422
    assert server.requests == []


@pytest.mark.contract("archive-3.12/before", "archive-defect-2", "archive-fpx/failing-source")
def test_source_that_is_gone_is_an_error_status_before_the_first_byte(
    server: FaultySource, node: ArchiveNode
) -> None:
    server.routes["/a"] = serving(b"a")
    made = node.ticket([server.url("/a")], node.client("catalogue", "url"))
    server.routes["/a"] = not_found

    assert node.get(made["href"]).status_code == 409


@pytest.mark.contract("archive-3.12/policies", "archive-defect-2")
@pytest.mark.parametrize("on_error", ["skip", "partial"])
def test_source_that_fails_is_left_out_and_told(
    server: FaultySource, node: ArchiveNode, on_error: str
) -> None:
    server.routes |= {"/a": serving(b"a"), "/c": serving(b"c")}
    items = [server.url(path) for path in ("/a", "/broken", "/c")]

    made = node.ticket(items, node.client("catalogue", "url"), on_error=on_error)
    contents = opened(node.get(made["href"]))

    assert made["sized"] is False
    assert list(contents) == ["a", "c", "_ERRORS.json"]
    assert b"broken" in contents["_ERRORS.json"]


@pytest.mark.contract("archive-3.8/etag", "archive-3.12/retries")
@pytest.mark.parametrize(("etag", "is_resumable"), [('"v1"', True), (None, False)])
def test_archive_of_urls_can_be_resumed_after_one_pass_if_they_promise_to_stay(
    server: FaultySource, node: ArchiveNode, etag: str | None, is_resumable: bool
) -> None:
    server.routes["/a"] = lambda exchange: exchange.file(bytes(range(256)) * 1000, etag)
    made = node.ticket([server.url("/a")], node.client("catalogue", "url"))

    whole = node.get(made["href"]).data
    part = node.get(made["href"], headers={"Range": "bytes=100000-100999"})

    assert made["resumable"] is False
    assert part.status_code == (206 if is_resumable else 200)
    assert part.data == (whole[100000:101000] if is_resumable else whole)


@pytest.mark.contract("archive-3.3/logs")
def test_headers_of_an_item_are_sent_and_told_to_nobody(
    server: FaultySource, node: ArchiveNode, caplog: pytest.LogCaptureFixture
) -> None:
    server.routes["/a"] = serving(b"a")
    item = {"url": server.url("/a"), "headers": {"Authorization": "SECRET"}}

    with caplog.at_level("INFO"):
        made = node.ticket([item], node.client("catalogue", "url"), manifest=True)
        archive = node.get(made["href"]).data

    assert {asked.headers["authorization"] for asked in server.requests} == {"SECRET"}
    assert b"SECRET" not in archive
    assert "SECRET" not in caplog.text + node.get(made["status_href"]).text
