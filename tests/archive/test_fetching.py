"""Fetching archives from a server that cuts, forgets and lies."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from werkzeug.wrappers import Request, Response

from meteorpi_client import MeteorClient, split_link
from meteorpi_client.transport import Patience
from meteorpi_model.errors import (
    CorruptContentError,
    InvalidDocumentError,
    NotAllowedError,
    NotFoundError,
    PeerUnavailableError,
    UnavailableError,
)
from tests.archive.made_archives import archive_of, contents, manifest_of
from tests.client.tiny_node import TinyNode, View, answer, cut_after, problem, ranged, serve

FILES = contents()
ARCHIVE = archive_of(FILES, manifest_of(FILES))
TAG = '"5f3a"'
TICKET = UUID("0123456789ab4def8123456789abcdef")
ZIP = "application/zip"


class ArchiveNode(TinyNode):
    """Answers HEAD from `head`, questions about the queue from `turns`, and GET with its views in turn."""

    head: Response
    turns: list[bool | None]
    bundles: list[Response]

    def offer(self, *views: View, tag: str | None = TAG, kind: str = ZIP) -> None:
        self.turns = []
        self.bundles = []
        self.head = Response(b"", 200, {"ETag": tag} if tag else {}, content_type=kind)
        self.answer_with(*views)

    def application(self, environ, start_response):  # type: ignore[no-untyped-def]
        request = Request(environ)
        if request.path.startswith("/bundle/"):
            return iter(self.bundles.pop(0)(environ, start_response))
        if request.method == "HEAD":
            return iter(self.head(environ, start_response))
        if request.path.endswith("/wait"):
            self.requests.append(request)
            is_available = self.turns.pop(0)
            if is_available is None:
                return iter(problem(409, "conflict", "Already waiting")(environ, start_response))
            return iter(answer({"position": 0, "available": is_available})(environ, start_response))
        return super().application(environ, start_response)


@pytest.fixture
def node() -> Iterator[ArchiveNode]:
    made = ArchiveNode()
    for _ in serve(made):
        yield made


@pytest.fixture
def client(node: ArchiveNode) -> Iterator[MeteorClient]:
    patience = Patience(connect_seconds=30, read_seconds=30, retries=3, sleep=lambda seconds: None)
    with MeteorClient(node.base_url, patience=patience) as client:
        yield client


def whole(data: bytes = ARCHIVE, tag: str | None = TAG) -> View:
    return ranged(data, **({"ETag": tag} if tag else {}), Content_Type=ZIP)


def cut(sent_bytes: int, data: bytes = ARCHIVE, tag: str | None = TAG) -> View:
    return cut_after(data, sent_bytes, **({"ETag": tag} if tag else {}), Content_Type=ZIP)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.contract("archive-3.20/fetch")
def test_archive_is_fetched_and_read(client: MeteorClient, node: ArchiveNode, tmp_path: Path) -> None:
    node.offer(whole())

    fetched = client.archives.download(TICKET, tmp_path / "night.zip")

    assert fetched.path.read_bytes() == ARCHIVE
    assert fetched.report is not None
    assert fetched.report.is_right
    assert fetched.report.entries == len(FILES) + 1
    assert node.paths == [f"/ticket/{TICKET}/download"]
    assert names(tmp_path) == {"night.zip"}


@pytest.mark.contract("archive-3.20/fetch")
def test_download_cut_twenty_times_equals_the_whole(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    files = contents(700_000)
    large = archive_of(files, manifest_of(files))
    noise = random.Random(20)
    # More than the HTTP library may hold back, so that each brings something.
    node.offer(*(cut(noise.randint(40_000, 90_000), large) for _ in range(20)), whole(large))

    client.archives.download(TICKET, tmp_path / "night.zip")

    assert (tmp_path / "night.zip").read_bytes() == large
    starts = [int(r.headers["Range"].removeprefix("bytes=").rstrip("-")) for r in node.requests[1:]]
    assert len(starts) == 20
    assert starts == sorted(set(starts))
    assert {r.headers["If-Range"] for r in node.requests[1:]} == {TAG}


@pytest.mark.contract("archive-3.20/fetch")
def test_download_given_up_goes_on_later_and_from_another_ticket(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    node.offer(cut(70_000), cut(0))
    with pytest.raises(PeerUnavailableError, match="again and again"):
        client.archives.download(TICKET, tmp_path / "night.zip")
    assert not (tmp_path / "night.zip").exists()
    node.requests.clear()
    node.offer(whole())

    client.archives.download(UUID(int=5), tmp_path / "night.zip")

    (request,) = node.requests
    assert int(request.headers["Range"].removeprefix("bytes=").rstrip("-")) > 0
    assert (tmp_path / "night.zip").read_bytes() == ARCHIVE
    assert names(tmp_path) == {"night.zip"}


def test_what_was_left_of_other_bytes_is_not_gone_on_from(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    node.offer(cut(70_000, b"x" * len(ARCHIVE), '"old"'), cut(0, tag='"old"'), tag='"old"')
    with pytest.raises(PeerUnavailableError):
        client.archives.download(TICKET, tmp_path / "night.zip")
    node.requests.clear()
    node.offer(whole())

    client.archives.download(TICKET, tmp_path / "night.zip")

    assert "Range" not in node.requests[0].headers
    assert (tmp_path / "night.zip").read_bytes() == ARCHIVE


def test_archive_without_tag_begins_anew_after_a_cut_and_leaves_nothing(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    node.offer(cut(70_000, tag=None), whole(tag=None), tag=None)
    client.archives.download(TICKET, tmp_path / "night.zip")
    assert (tmp_path / "night.zip").read_bytes() == ARCHIVE
    assert all("Range" not in request.headers for request in node.requests)

    node.offer(cut(0, tag=None), tag=None)
    with pytest.raises(PeerUnavailableError):
        client.archives.download(TICKET, tmp_path / "other.zip")

    assert names(tmp_path) == {"night.zip"}


def test_damaged_archive_is_fetched_again_once(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    damaged = ARCHIVE.replace(FILES["cam/20160131/a.jpg"][:20], bytes(20))
    node.offer(whole(damaged), whole())

    client.archives.download(TICKET, tmp_path / "night.zip")

    assert (tmp_path / "night.zip").read_bytes() == ARCHIVE


@pytest.mark.contract("archive-3.20/fetch")
def test_archive_that_stays_damaged_is_refused_and_nothing_is_left(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    (tmp_path / "night.zip").write_bytes(b"of before")
    node.offer(whole(ARCHIVE.replace(FILES["cam/20160131/a.jpg"][:20], bytes(20))))

    with pytest.raises(CorruptContentError, match=r"cam/20160131/a\.jpg: Bad CRC-32"):
        client.archives.download(TICKET, tmp_path / "night.zip")

    assert (tmp_path / "night.zip").read_bytes() == b"of before"
    assert names(tmp_path) == {"night.zip"}
    assert len(node.requests) == 2


def test_chunked_archive_that_was_cut_is_not_taken_for_whole(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    """Without a length, only the missing last chunk tells; where even that is lost, reading does."""

    def short(request: Request) -> Response:
        return Response(iter([ARCHIVE[:70_000]]), 200, content_type=ZIP)

    node.offer(short, whole(tag=None), tag=None)

    client.archives.download(TICKET, tmp_path / "night.zip")

    assert (tmp_path / "night.zip").read_bytes() == ARCHIVE


def test_differences_from_the_manifest_are_told_and_not_fetched_again(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    node.offer(whole(archive_of({}, manifest_of(FILES))))

    fetched = client.archives.download(TICKET, tmp_path / "night.zip")

    assert fetched.report is not None
    assert len(fetched.report.differences) == len(FILES)
    assert len(node.requests) == 1


@pytest.mark.contract("archive-3.20/fetch")
def test_ticket_without_a_slot_is_waited_for(client: MeteorClient, node: ArchiveNode, tmp_path: Path) -> None:
    node.offer(always_forbidden(), whole())
    node.turns = [False, None, True]

    client.archives.download(TICKET, tmp_path / "night.zip")

    assert [request.path for request in node.requests] == [
        f"/ticket/{TICKET}/download",
        *[f"/ticket/{TICKET}/wait"] * 3,
        f"/ticket/{TICKET}/download",
    ]
    assert (tmp_path / "night.zip").read_bytes() == ARCHIVE


def always_forbidden() -> View:
    return lambda request: problem(403, "not-allowed", "no slot")


def test_turn_that_does_not_come_ends_the_waiting(client: MeteorClient, node: ArchiveNode) -> None:
    node.offer(whole())

    with pytest.raises(UnavailableError, match="did not come"):
        client.archives.wait(TICKET, seconds=0)


def test_bundle_is_followed_once_and_its_ticket_fetched(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    """Asked for again after a cut, it might lead to another ticket: more has been recorded meanwhile."""
    node.offer(cut(70_000), whole())
    node.bundles = [Response(b"", 303, {"Location": f"/ticket/{TICKET}/download"})]

    client.archives.fetch("/bundle/files/%257B%257D", tmp_path / "night.zip")

    assert (tmp_path / "night.zip").read_bytes() == ARCHIVE
    assert {request.path for request in node.requests} == {f"/ticket/{TICKET}/download"}


def test_refusal_that_is_not_about_a_ticket_is_passed_on(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    node.offer(always_forbidden())

    with pytest.raises(NotAllowedError):
        client.archives.fetch("/stream/url/token?client=portal", tmp_path / "a.jpg")


def test_content_that_is_no_archive_is_taken_as_it_is(
    client: MeteorClient, node: ArchiveNode, tmp_path: Path
) -> None:
    node.offer(ranged(b"picture", ETag=TAG), kind="image/jpeg")

    fetched = client.archives.fetch("/stream/url/token?client=portal", tmp_path / "a.jpg")

    assert (fetched.report, fetched.path.read_bytes()) == (None, b"picture")
    assert node.paths == ["/stream/url/token?client=portal"]


def test_ticket_that_is_gone_is_not_found(client: MeteorClient, node: ArchiveNode, tmp_path: Path) -> None:
    node.offer(whole())
    node.head = Response(b"", 404)

    with pytest.raises(NotFoundError):
        client.archives.download(TICKET, tmp_path / "night.zip")

    assert names(tmp_path) == set()


def test_answer_to_a_new_ticket_is_read(client: MeteorClient, node: ArchiveNode) -> None:
    node.offer(
        lambda request: answer(
            {
                "created": "2016-01-31T12:00:00Z", "type": "zip", "id": str(TICKET), "href": "/ticket/x",
                "status_href": "/ticket/x", "expires": "2016-02-01T12:00:00Z", "entries": 3, "sized": True,
                "bytes": 512, "resumable": True, "etag": TAG, "available": False,
                "skipped": [{"index": 1, "reason": "not here yet"}],
            }
        )
    )  # fmt: skip

    ticket = client.archives.make_ticket([{"record": "ab" * 16}], {"filename": "x.zip"}, idempotency_key="k")

    assert (ticket.ticket_id, ticket.size_bytes, ticket.is_available) == (TICKET, 512, False)
    assert ticket.skipped == [(1, "not here yet")]
    (request,) = node.requests
    assert request.headers["Idempotency-Key"] == "k"
    assert request.json == {
        "type": "zip",
        "items": [{"record": "ab" * 16}],
        "options": {"filename": "x.zip"},
    }


def test_links_are_split_at_the_server() -> None:
    assert split_link("https://h.example:8443/api/ticket/x?a=b#c") == (
        "https://h.example:8443",
        "/api/ticket/x?a=b",
    )
    assert split_link("http://h") == ("http://h", "/")
    for bad in ("ticket", "ftp://h/x", "http://user:word@h/x", "http://[", "https:///x"):
        with pytest.raises(InvalidDocumentError):
            split_link(bad)
