"""Resumable and direct uploads as clients of the protocol see them."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tusclient.client import TusClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.prefixes import create_prefix
from meteorpi_db.filestore import FileStore, MemoryFileStore
from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.block_api import uploads
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.blocks.making import PREFIX, digest
from tests.blocks.signed_in import add_users, signed_in
from tests.db.making import stored_ids

pytestmark = pytest.mark.engines("sqlite")

CONTENT = random.Random(11).randbytes(200_000)
TAG = f'"{digest(CONTENT)}"'
UPLOADS = "/api/v0/uploads/"
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}


def said(**texts: str) -> str:
    """The header Upload-Metadata."""
    return ",".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in texts.items())


class Node:
    """The block routes of one process, and those who call them."""

    def __init__(self, db: MeteorDatabase, store: FileStore, **chosen: Any) -> None:
        self.db = db
        self.store = store
        self.meteor_app = MeteorApp(db, Settings(**chosen))
        block_api.add_routes(meteor_app=self.meteor_app, store=store)
        self.client: FlaskClient = self.meteor_app.app.test_client()

    def ask(self, method: str, url: str, user: str = "anna", **headers: str) -> TestResponse:
        """A request with these headers; `data` is its body."""
        data = headers.pop("data", b"")
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.open(
            url, method=method, data=data, headers=TUS | signed_in(user) | named, buffered=True
        )

    def begin(self, path: str = "a", length: int | None = len(CONTENT), **texts: str) -> str:
        """A new upload; gives its address."""
        size = {"Upload_Defer_Length": "1"} if length is None else {"Upload_Length": str(length)}
        made = self.ask("POST", UPLOADS, Upload_Metadata=said(prefix=PREFIX, path=path, **texts), **size)
        assert (made.status_code, made.headers["Upload-Offset"]) == (201, "0")
        return made.headers["Location"]

    def send(self, url: str, offset: int, data: bytes, **headers: Any) -> TestResponse:
        named: dict[str, Any] = {"Upload_Offset": str(offset), "data": data, **headers}
        return self.ask("PATCH", url, **{"Content_Type": BYTES["Content-Type"]} | named)

    def get(self, path: str) -> TestResponse:
        return self.client.get(f"/api/v0/files/{PREFIX}/{path}", buffered=True)


OpenNode = Callable[..., Node]


@pytest.fixture
def open_node(db: MeteorDatabase) -> OpenNode:
    """Call it for a further process of one node; anna has a prefix."""
    add_users(db, "anna", "bert")
    db.transactions.write(lambda c: create_prefix(c, "local:anna", 0, PREFIX))
    return lambda store=db.store, **chosen: Node(db, store, **chosen)


@pytest.fixture
def node(open_node: OpenNode) -> Node:
    return open_node()


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, db: MeteorDatabase) -> FileStore:
    if request.param == "memory":
        return MemoryFileStore()
    if request.param == "s3":
        server = request.getfixturevalue("moto_server")
        return S3FileStore(server.options(server.make_bucket(), part_size=5 << 20))
    return db.store


@contextmanager
def serving(node: Node) -> Iterator[str]:
    """The address of the uploads of a real server."""
    server = StandaloneServer(node.meteor_app.app, node.meteor_app.settings, port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}{UPLOADS}"
    finally:
        server.stop()
        thread.join(60)


@pytest.mark.contract("K-303", "K-306", "K-309", "C/uploads", "K-301", "issue-5.2")
@pytest.mark.parametrize("has_checksums", [False, True])
def test_a_client_of_the_protocol_uploads(node: Node, has_checksums: bool) -> None:
    with serving(node) as url:
        client = TusClient(url, headers=signed_in("anna"))
        uploader = client.uploader(
            file_stream=io.BytesIO(CONTENT),
            chunk_size=64 << 10,
            metadata={"prefix": PREFIX, "path": "a", "filetype": "image/png", "sha256": digest(CONTENT)},
            upload_checksum=has_checksums,
        )
        uploader.upload(stop_at=100_000)
        again = client.uploader(file_stream=io.BytesIO(CONTENT), url=uploader.url, chunk_size=64 << 10)
        assert again.offset == uploader.offset
        again.upload()

    found = node.get("a")
    assert (found.data, found.headers["ETag"], found.mimetype) == (CONTENT, TAG, "image/png")


@pytest.mark.contract("K-301")
@pytest.mark.parametrize("url", [UPLOADS, UPLOADS.rstrip("/")])
def test_what_can_be_done_is_told_to_everybody(open_node: OpenNode, url: str) -> None:
    told = open_node(block_max_body_bytes=12345).client.options(url)

    assert told.status_code == 204
    assert told.headers["Tus-Version"] == told.headers["Tus-Resumable"] == "1.0.0"
    assert told.headers["Tus-Max-Size"] == "12345"
    assert told.headers["Tus-Checksum-Algorithm"] == "sha256,sha1,md5"
    assert set(told.headers["Tus-Extension"].split(",")) == {
        *("creation", "creation-with-upload", "creation-defer-length"),
        *("expiration", "checksum", "termination"),
    }


@pytest.mark.contract("K-301")
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("version", [None, "0.2.2"])
def test_another_version_is_refused(node: Node, method: str, version: str | None) -> None:
    url = UPLOADS if method == "POST" else node.begin()
    headers = signed_in("anna") | BYTES | ({} if version is None else {"Tus-Resumable": version})

    refused = node.client.open(url, method=method, headers=headers)

    assert (refused.status_code, refused.headers["Tus-Version"]) == (412, "1.0.0")
    assert refused.headers["Tus-Resumable"] == "1.0.0"


@pytest.mark.contract("K-303", "K-305", "K-309", "C/uploads", "F.1/block_upload")
def test_an_upload_goes_on_with_another_process_on_every_store(open_node: OpenNode, store: FileStore) -> None:
    one, other = open_node(store), open_node(store)
    url = one.begin(sha256=digest(CONTENT))

    first = one.send(url, 0, CONTENT[:70_000])
    asked = other.ask("HEAD", url)
    last = other.send(url, 70_000, CONTENT[70_000:])
    after = one.ask("HEAD", url)

    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "70000")
    assert "Upload-Expires" in first.headers
    assert (asked.status_code, asked.headers["Upload-Offset"]) == (200, "70000")
    assert (asked.headers["Upload-Length"], asked.headers["Cache-Control"]) == ("200000", "no-store")
    assert asked.headers["Upload-Metadata"].startswith("prefix ")
    assert (last.status_code, last.headers["Upload-Offset"], last.headers["ETag"]) == (204, "200000", TAG)
    assert "Date" in last.headers
    assert (after.headers["Upload-Offset"], after.headers["ETag"]) == ("200000", TAG)
    assert one.get("a").data == CONTENT


@pytest.mark.contract("K-302")
def test_an_upload_may_bring_its_first_bytes(node: Node) -> None:
    headers = {"Upload_Metadata": said(prefix=PREFIX, path="a"), "Upload_Length": str(len(CONTENT))}
    kind = BYTES["Content-Type"]

    part = node.ask("POST", UPLOADS, Content_Type=kind, data=CONTENT[:5], **headers)  # type: ignore[arg-type]
    whole = node.ask("POST", UPLOADS, Content_Type=kind, data=CONTENT, **headers)  # type: ignore[arg-type]

    assert (part.status_code, part.headers["Upload-Offset"]) == (201, "5")
    assert (whole.status_code, whole.headers["ETag"]) == (201, TAG)
    assert node.send(part.headers["Location"], 5, CONTENT[5:]).status_code == 204


@pytest.mark.contract("K-302")
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (400, {}),
        (400, {"Upload-Length": "1"}),
        (400, {"Upload-Length": "1", "Upload-Metadata": said(prefix=PREFIX)}),
        (400, {"Upload-Length": "1", "Upload-Metadata": "prefix %"}),
        (400, {"Upload-Length": "1", "Upload-Metadata": "prefix /w=="}),
        (400, {"Upload-Length": "1", "Upload-Metadata": said(prefix=PREFIX, path="a") + ",path YQ=="}),
        (400, {"Upload-Length": "1", "Upload-Metadata": said(prefix=PREFIX, path="a", sha256="1")}),
        (400, {"Upload-Length": "1", "Upload-Metadata": "x" * 20_000}),
        (400, {"Upload-Metadata": said(prefix=PREFIX, path="a")}),
        (400, {"Upload-Length": "-1", "Upload-Metadata": said(prefix=PREFIX, path="a")}),
        (400, {"Upload-Length": "9" * 19, "Upload-Metadata": said(prefix=PREFIX, path="a")}),
        (400, {"Upload-Defer-Length": "2", "Upload-Metadata": said(prefix=PREFIX, path="a")}),
        (400, {"Upload-Length": "1", "Upload-Concat": "partial"}),
        (402, {"Upload-Length": "1001", "Upload-Metadata": said(prefix=PREFIX, path="a")}),
        (403, {"Upload-Length": "1", "Upload-Metadata": said(prefix=PREFIX, path="a"), "user": "bert"}),
        (404, {"Upload-Length": "1", "Upload-Metadata": said(prefix="other", path="a")}),
        (404, {"Upload-Length": "1", "Upload-Metadata": said(prefix=PREFIX, path="../a")}),
        (412, {"Upload-Length": "1", "Upload-Metadata": said(prefix=PREFIX, path="a", if_match="*")}),
        (413, {"Upload-Length": "2001", "Upload-Metadata": said(prefix=PREFIX, path="a")}),
    ],
)
def test_what_can_be_no_upload_is_refused_at_once(
    open_node: OpenNode, status: int, headers: dict[str, str]
) -> None:
    node = open_node(block_quota_default=1000, block_max_body_bytes=2000)

    assert node.ask("POST", UPLOADS, **headers).status_code == status


@pytest.mark.contract("K-303")
def test_requests_that_do_not_fit_are_refused(node: Node) -> None:
    url = node.begin()
    node.send(url, 0, CONTENT[:10])
    wrong = base64.b64encode(hashlib.sha1(b"other", usedforsecurity=False).digest()).decode()

    assert node.send(url, 10, b"1", Content_Type="text/plain").status_code == 415
    assert node.send(url, 0, b"1").status_code == 409
    assert node.send(url, 10, CONTENT).status_code == 413
    assert node.send(url, 10, b"1", Upload_Offset="x").status_code == 400
    assert node.send(url, 10, b"1", Upload_Checksum=f"sha1 {wrong}").status_code == 460
    assert node.send(url, 10, b"1", Upload_Checksum=f"crc32 {wrong}").status_code == 400
    assert node.send(UPLOADS + "0" * 64, 0, b"1").status_code == 404
    assert node.ask("HEAD", url).headers["Upload-Offset"] == "10"
    node.send(url, 10, CONTENT[10:])
    assert node.send(url, len(CONTENT), b"more").status_code == 413


@pytest.mark.contract("K-303")
def test_the_length_may_be_told_later(node: Node) -> None:
    url = node.begin(length=None)
    asked = node.ask("HEAD", url)
    node.send(url, 0, CONTENT[:100])

    done = node.send(url, 100, CONTENT[100:], Upload_Length=str(len(CONTENT)))

    assert (asked.headers["Upload-Defer-Length"], "Upload-Length" in asked.headers) == ("1", False)
    assert done.headers["ETag"] == TAG


@pytest.mark.contract("K-306")
def test_the_last_byte_is_refused_as_an_upload_would_be(node: Node) -> None:
    conditional, wrong = node.begin(if_none_match="*"), node.begin(path="b", sha256=digest(b"other"))
    node.client.post(f"/api/v0/files/{PREFIX}/a", data=b"faster", headers=signed_in("anna"))

    refused = node.send(conditional, 0, CONTENT)
    mistaken = node.send(wrong, 0, CONTENT)

    assert (refused.status_code, refused.headers["ETag"]) == (412, f'"{digest(b"faster")}"')
    assert mistaken.status_code == 422
    assert [node.ask("HEAD", url).status_code for url in (conditional, wrong)] == [404, 404]
    assert len(stored_ids(node.db)) == 1


@pytest.mark.contract("K-308")
def test_an_upload_belongs_to_who_began_it(node: Node) -> None:
    url = node.begin()

    assert node.ask("HEAD", url, user="bert").status_code == 404
    assert node.ask("DELETE", url, user="bert").status_code == 404
    assert node.ask("DELETE", url).status_code == 204
    assert node.ask("HEAD", url).status_code == 404
    assert node.client.head(url, headers=TUS).status_code == 403


@pytest.mark.contract("K-303")
def test_a_method_may_be_said_in_a_header(node: Node) -> None:
    url = node.begin()

    sent = node.ask(
        "POST",
        url,
        X_HTTP_Method_Override="PATCH",
        Upload_Offset="0",
        Content_Type=BYTES["Content-Type"],
        data=CONTENT[:7],  # type: ignore[arg-type]
    )

    assert (sent.status_code, sent.headers["Upload-Offset"]) == (204, "7")
    assert node.ask("POST", url).status_code == 405
    assert node.ask("POST", url, X_HTTP_Method_Override="DELETE").status_code == 204


@pytest.mark.contract("K-305", "K-506")
def test_a_process_that_has_to_end_keeps_what_came(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    url = node.begin()
    monkeypatch.setattr(uploads, "_STOP_SECONDS", -1.0)
    node.meteor_app.stopping.ask()

    stopped = node.send(url, 0, CONTENT[:1000])

    assert (stopped.status_code, "Retry-After" in stopped.headers) == (503, True)
    assert node.ask("HEAD", url).headers["Upload-Offset"] == "1000"


@pytest.mark.contract("K-302", "K-152")
def test_an_upload_is_told_to_those_who_listen(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(BlockService, "announce", lambda _, event: told.append(event))

    node.send(node.begin(), 0, CONTENT)

    assert [(event.operation, event.path, event.sha256) for event in told] == [("POST", "a", digest(CONTENT))]


@pytest.mark.contract("K-308", "A.5/accept")
def test_dummy_accounts_go_on_with_uploads_everywhere(open_node: OpenNode) -> None:
    node = open_node(block_accounts="dummy", block_dummy_token="MAGIC", block_insecure=True)
    dummy = {"Authorization": "Token MAGIC"}
    metadata = said(prefix="nobodys", path="a")

    made = node.ask("POST", UPLOADS, Upload_Length=str(len(CONTENT)), Upload_Metadata=metadata, **dummy)
    done = node.send(made.headers["Location"], 0, CONTENT, **dummy)

    assert (done.status_code, done.headers["ETag"]) == (204, TAG)
    assert node.client.get("/api/v0/files/nobodys/a", buffered=True).data == CONTENT


_NAMES = ("Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Offset", "Upload-Checksum")
_LETTERS = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/?#%")
_TEXTS = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    st.sampled_from(["0", "1", "-1", "1e3", "9" * 30, "sha1 AAAA", said(prefix=PREFIX, path="a")]),
)


@pytest.mark.contract("I-09")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["POST", "HEAD", "PATCH", "DELETE"]),
    headers=st.dictionaries(st.sampled_from(_NAMES), _TEXTS),
    upload_id=st.text(
        st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/?#%"), max_size=90
    ),
)
def test_nothing_that_is_sent_is_a_failure(
    node: Node, method: str, headers: dict[str, str], upload_id: str
) -> None:
    reply = node.ask(method, UPLOADS + upload_id, **BYTES, **headers)

    assert reply.status_code < 500


@pytest.mark.contract("I-09")
def test_what_should_be_base64_and_is_not_even_ascii_is_refused(node: Node) -> None:
    described = node.ask("POST", UPLOADS, Upload_Length="1", Upload_Metadata="prefix \xe9")
    proved = node.send(node.begin(), 0, CONTENT, Upload_Checksum="sha1 \xe9")

    assert (described.status_code, proved.status_code) == (400, 400)


class Direct:
    """Uploads to the store itself."""

    def __init__(self, node: Node, store: S3FileStore) -> None:
        self.node = node
        self.store = store

    def offer(self, path: str = "a", **changes: Any) -> TestResponse:
        document = {"prefix": PREFIX, "path": path, "length": len(CONTENT), "sha256": digest(CONTENT)}
        return self.node.client.post(
            UPLOADS + "direct", json={**document, **changes}, headers=signed_in("anna")
        )

    def begin(self, **changes: Any) -> dict[str, Any]:
        made = self.offer(**changes)
        assert made.status_code == 201
        found: dict[str, Any] = made.get_json()
        return found

    def complete(self, offer: dict[str, Any], user: str = "anna") -> TestResponse:
        return self.node.client.post(offer["complete"], headers=signed_in(user))


@pytest.fixture
def direct(open_node: OpenNode, moto_server: Any) -> Direct:
    store = S3FileStore(moto_server.options(moto_server.make_bucket()))
    return Direct(open_node(store, block_direct_uploads=True), store)


def put(offer: dict[str, Any], content: bytes) -> None:
    assert requests.put(offer["url"], content, timeout=60).status_code == 200


@pytest.mark.contract("K-310")
def test_a_direct_upload_is_an_object_once_it_is_proved(direct: Direct) -> None:
    offer = direct.begin(filetype="image/png")
    put(offer, CONTENT)
    assert direct.node.get("a").status_code == 404

    done, again = direct.complete(offer), direct.complete(offer)
    put(offer, b"later")

    assert (done.status_code, again.status_code) == (204, 204)
    assert done.headers["ETag"] == again.headers["ETag"] == TAG
    found = direct.node.get("a")
    assert (found.data, found.mimetype) == (CONTENT, "image/png")


@pytest.mark.contract("K-310")
@pytest.mark.parametrize(("content", "status"), [(CONTENT + b"1", 400), (b"1", 400), (CONTENT[::-1], 422)])
def test_something_else_is_removed(direct: Direct, content: bytes, status: int) -> None:
    offer = direct.begin()
    put(offer, content)

    assert direct.complete(offer).status_code == status
    assert direct.complete(offer).status_code == 404
    assert (list(direct.store.ids()), direct.node.get("a").status_code) == ([], 404)


@pytest.mark.contract("K-310")
def test_direct_uploads_have_the_rules_of_uploads(direct: Direct) -> None:
    offer, conditional = direct.begin(path="b"), direct.begin(if_none_match="*")
    direct.node.client.post(f"/api/v0/files/{PREFIX}/a", data=b"faster", headers=signed_in("anna"))
    put(conditional, CONTENT)

    assert direct.complete(offer).status_code == 409  # nothing has come
    assert direct.complete(offer, "bert").status_code == 404
    assert direct.complete(conditional).status_code == 412
    assert direct.offer(prefix="other").status_code == 404
    assert direct.offer(length=(2 << 30) + 1).status_code == 413
    for change in ({"length": -1}, {"length": True}, {"sha256": "1"}, {"sha256": None}, {"other": "1"}):
        assert direct.offer(**change).status_code == 400
    put(offer, CONTENT)
    assert direct.complete(offer).status_code == 204
    assert len(list(direct.store.ids())) == 2


@pytest.mark.contract("K-310")
def test_direct_uploads_are_where_they_are_chosen_and_possible(open_node: OpenNode, direct: Direct) -> None:
    for node in (open_node(block_direct_uploads=True), open_node(direct.store)):
        reply = node.client.post(UPLOADS + "direct", json={}, headers=signed_in("anna"))
        assert reply.status_code == 404
        assert "direct-uploads" not in node.client.get("/api/v0/info").get_json()["features"]
    assert "direct-uploads" in direct.node.client.get("/api/v0/info").get_json()["features"]
