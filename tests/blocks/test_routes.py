"""The block routes as published clients use them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import prefixes, tokens, traffic
from meteorpi_db.blocks.sweeping import sweep_released
from meteorpi_db.testing.processes import wait_until
from meteorpi_model.errors import UnavailableError
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.blocks.making import digest
from tests.blocks.signed_in import PASSWORD, add_users, signed_in
from tests.conftest import ENGINE_NAMES

pytestmark = pytest.mark.engines("sqlite")
EVERY_ENGINE = pytest.mark.engines(*ENGINE_NAMES)

CONTENT = bytes(range(256)) * 400
TAG = f'"{digest(CONTENT)}"'
DUMMY = {"Authorization": "Token MAGICFARYDUST"}
FILES = "/api/v0/files"


class Client(FlaskClient):
    """Reads every answer to its end, as a client does that keeps its connection."""

    def open(self, *args: Any, **options: Any) -> TestResponse:
        return super().open(*args, buffered=True, **options)


def make_app(db: MeteorDatabase, **settings: Any) -> MeteorApp:
    meteor_app = MeteorApp(db, Settings(**settings))
    block_api.add_routes(meteor_app=meteor_app)
    meteor_app.app.test_client_class = Client
    return meteor_app


@pytest.fixture
def open_client(db: MeteorDatabase) -> Callable[..., FlaskClient]:
    """Call it for a client of routes with these settings; there are the users anna and bert."""
    add_users(db, "anna", "bert")
    return lambda **settings: make_app(db, **settings).app.test_client()


@pytest.fixture
def client(open_client: Callable[..., FlaskClient]) -> FlaskClient:
    return open_client()


@pytest.fixture
def prefix(client: FlaskClient) -> str:
    """A prefix of anna's."""
    return str(client.post("/api/v0/prefix/", headers=signed_in("anna")).json["prefix"])  # type: ignore[index]


def put(client: FlaskClient, name: str, content: bytes = CONTENT, **headers: str) -> TestResponse:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.post(f"{FILES}/{name}", data=content, headers=signed_in("anna") | named)


@pytest.mark.contract(
    "A.1/upload",
    "A.1/download",
    "A.1/delete",
    "K-101",
    "K-111",
    "K-145",
    "A.2/headers",
    "A.2/statuses",
    "A.7/if-none-match",
    "A.7/tag",
    "C/get",
    "C/upload",
    "C/delete",
    "issue-5.2",
)
@EVERY_ENGINE
def test_an_object_comes_and_goes(client: FlaskClient, prefix: str) -> None:
    name = f"{prefix}/blocks/0a-1"
    stored = put(client, name)
    found = client.get(f"{FILES}/{name}")
    known = client.get(f"{FILES}/{name}", headers={"If-None-Match": stored.headers["ETag"]})
    removed = client.delete(f"{FILES}/{name}", headers=signed_in("anna"))
    again = client.delete(f"{FILES}/{name}", headers=signed_in("anna"))
    missing = client.get(f"{FILES}/{name}")

    assert (stored.status_code, stored.data, stored.headers["ETag"]) == (204, b"", TAG)
    assert "Date" in stored.headers
    assert stored.headers["Location"] == f"{FILES}/{name}"
    assert (found.status_code, found.data, found.headers["ETag"]) == (200, CONTENT, TAG)
    assert found.headers["Content-Length"] == str(len(CONTENT))
    assert found.headers["Content-Type"] == "application/octet-stream"
    assert found.headers["Content-Security-Policy"] == "sandbox"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Cache-Control"] == "private, no-transform"
    assert (known.status_code, known.data, known.headers["ETag"]) == (304, b"", TAG)
    assert [removed.status_code, again.status_code, missing.status_code] == [204, 204, 404]


@pytest.mark.contract("K-101")
def test_attaching_starts_and_opens_nothing(
    db: MeteorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was started, or opened")

    for name in ("bind", "connect"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    remote = {"block_accounts": "remote", "block_accounting_url": "http://127.0.0.1:1"}

    make_app(
        db,
        **remote,
        block_accounting_secret="nobody guesses it",
        block_events="database",
        block_metrics_port=1,
        metrics_dir=str(tmp_path / "figures"),
    )

    assert not (tmp_path / "figures").exists()


@pytest.mark.contract("K-111", "KD-11")
def test_a_page_is_never_served_as_one(client: FlaskClient, prefix: str) -> None:
    put(client, f"{prefix}/a", b"<script>", Content_Type="text/html")
    put(client, f"{prefix}/b", b"jpeg", Content_Type="image/jpeg")

    assert client.get(f"{FILES}/{prefix}/a").headers["Content-Type"] == "application/octet-stream"
    assert client.get(f"{FILES}/{prefix}/b").headers["Content-Type"] == "image/jpeg"


@pytest.mark.contract("K-113", "KD-25")
def test_head_is_get_without_a_body(client: FlaskClient, prefix: str) -> None:
    put(client, f"{prefix}/a")

    got, head = client.get(f"{FILES}/{prefix}/a"), client.head(f"{FILES}/{prefix}/a")

    left_out = {"Date", "X-Request-ID"}
    assert {key: value for key, value in head.headers.items() if key not in left_out} == {
        key: value for key, value in got.headers.items() if key not in left_out
    }
    assert (head.status_code, head.data) == (200, b"")


@pytest.mark.contract("K-110", "A.3/missing")
@pytest.mark.parametrize("header", [None, "Token nobody", "Basic x"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "files/p/a"),
        ("PUT", "files/p/a"),
        ("DELETE", "files/p/a"),
        ("GET", "files/p/"),
        ("GET", "prefix/"),
        ("POST", "prefix/"),
        ("GET", "quota/"),
    ],
)
def test_who_is_unknown_is_refused_with_403(
    client: FlaskClient, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}

    reply = client.open(f"/api/v0/{path}", method=method, headers=headers)

    assert (reply.status_code, reply.json["code"]) == (403, "not-authenticated")  # type: ignore[index]


@pytest.mark.contract("A.3/owner", "K-110", "A.8/order")
def test_what_belongs_to_another_is_refused(client: FlaskClient, prefix: str) -> None:
    put(client, f"{prefix}/a")

    written = client.put(f"{FILES}/{prefix}/a", data=b"theirs", headers=signed_in("bert"))
    removed = client.delete(f"{FILES}/{prefix}/a", headers=signed_in("bert"))
    listed = client.get(f"{FILES}/{prefix}/", headers=signed_in("bert"))

    assert [reply.status_code for reply in (written, removed, listed)] == [403, 403, 403]
    assert written.json["code"] == "not-allowed"  # type: ignore[index]
    assert client.get(f"{FILES}/{prefix}/a").data == CONTENT


@pytest.mark.contract("K-202", "KD-02")
def test_a_disabled_account_can_do_nothing_and_what_it_shares_stays(
    client: FlaskClient, prefix: str, db: MeteorDatabase
) -> None:
    put(client, f"{prefix}/a")
    db.set_user_enabled("anna", False)

    assert put(client, f"{prefix}/b").status_code == 403
    assert client.get("/api/v0/quota/", headers=signed_in("anna")).status_code == 403
    assert client.get(f"{FILES}/{prefix}/a").data == CONTENT


@pytest.mark.contract("D.1/local", "F.1/block_token", "issue-5.3")
@EVERY_ENGINE
def test_a_token_stands_for_its_account(client: FlaskClient, prefix: str, db: MeteorDatabase) -> None:
    secret = db.transactions.write(lambda c: tokens.create(c, "local:anna", "laptop", None, 0))

    headers = {"Authorization": f"Token {secret}"}
    assert client.get("/api/v0/prefix/", headers=headers).json == {"prefixes": [prefix]}
    db.transactions.write(lambda c: tokens.revoke(c, "local:anna", "laptop"))
    assert client.get("/api/v0/prefix/", headers=headers).status_code == 403


@pytest.mark.contract("D.1/local")
@pytest.mark.parametrize(("password", "status"), [(PASSWORD, 200), ("wrong", 403)])
def test_a_user_may_show_the_password(client: FlaskClient, password: str, status: int) -> None:
    text = base64.b64encode(f"anna:{password}".encode()).decode()

    assert client.get("/api/v0/quota", headers={"Authorization": f"Basic {text}"}).status_code == status


@pytest.mark.contract(
    "A.1/prefix", "A.1/quota", "K-104", "A.2/prefix", "A.2/quota", "C/prefix", "C/quota", "A.6/size"
)
def test_prefixes_and_quota_are_told(client: FlaskClient, prefix: str) -> None:
    put(client, f"{prefix}/a", b"12345")
    for end in ("", "/"):
        listed = client.get(f"/api/v0/prefix{end}", headers=signed_in("anna"))
        quota = client.get(f"/api/v0/quota{end}", headers=signed_in("anna"))

        assert (listed.status_code, listed.json) == (200, {"prefixes": [prefix]})
        assert quota.json is not None
        assert (quota.json["quota"], quota.json["size"]) == (2 << 30, 5)
        assert quota.json["prefixes"] == {prefix: 5}


@pytest.mark.contract("C/prefix-removal")
@EVERY_ENGINE
def test_a_prefix_goes_when_it_is_empty(client: FlaskClient, prefix: str) -> None:
    url = f"/api/v0/prefix/{prefix}"
    put(client, f"{prefix}/a")

    others = client.delete(url, headers=signed_in("bert"))
    full = client.delete(url, headers=signed_in("anna"))
    client.delete(f"{FILES}/{prefix}/a", headers=signed_in("anna"))
    empty = client.delete(url, headers=signed_in("anna"))
    gone = client.delete(url, headers=signed_in("anna"))

    assert [reply.status_code for reply in (others, full, empty, gone)] == [403, 409, 204, 404]
    assert client.get("/api/v0/prefix", headers=signed_in("anna")).json == {"prefixes": []}


@pytest.mark.contract("C/prefix-change", "K-212", "K-230")
def test_an_owner_changes_a_prefix(client: FlaskClient, prefix: str) -> None:
    def change(document: object, user: str = "anna") -> TestResponse:
        return client.patch(f"/api/v0/prefix/{prefix}", json=document, headers=signed_in(user))

    changed = change({"label": "laptop", "read_policy": "owner", "quota": 10, "append_only": True})
    refused = [
        change({"append_only": False}),
        change({"label": "theirs"}, "bert"),
        change({"colour": "red"}),
        change({"quota": -1}),
        change({"read_policy": "nobody"}),
        change({"append_only": 1}),
    ]

    assert changed.json == {
        "prefix": prefix,
        "label": "laptop",
        "read_policy": "owner",
        "append_only": True,
        "quota": 10,
        "size": 0,
    }
    assert [reply.status_code for reply in refused] == [403, 403, 400, 400, 400, 400]
    assert change({}).json == changed.json
    assert put(client, f"{prefix}/a", bytes(11)).status_code == 402
    assert put(client, f"{prefix}/a", bytes(10)).status_code == 204
    assert client.delete(f"{FILES}/{prefix}/a", headers=signed_in("anna")).status_code == 403


@pytest.mark.contract("K-146", "K-147", "K-148", "A.7/if-match", "A.7/if-none-match", "A.2/statuses")
@EVERY_ENGINE
def test_conditions_are_honoured(client: FlaskClient, prefix: str) -> None:
    name = f"{prefix}/index"
    absent = put(client, name, If_Match=TAG)
    put(client, name)
    wrong = put(client, name, b"2", If_Match='"other"')
    taken = put(client, name, b"2", If_None_Match="*")
    bare = put(client, name, b"2", If_Match=TAG.strip('"'))

    assert [reply.status_code for reply in (absent, wrong, taken, bare)] == [412, 412, 412, 204]
    assert "ETag" not in absent.headers
    assert wrong.headers["ETag"] == taken.headers["ETag"] == TAG
    read = client.get(f"{FILES}/{name}", headers={"If-Match": TAG})
    assert (read.status_code, read.headers["ETag"]) == (412, f'"{digest(b"2")}"')


@pytest.mark.contract("K-136", "K-137")
@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"Range": "bytes=1-3"}, 206, CONTENT[1:4]),
        ({"Range": "bytes=5-"}, 206, CONTENT[5:]),
        ({"Range": "bytes=-3"}, 206, CONTENT[-3:]),
        ({"Range": "bytes=0-1,5-6"}, 200, CONTENT),
        ({"Range": "lines=1-2"}, 200, CONTENT),
        ({"Range": "bytes=1-3", "If-Range": TAG}, 206, CONTENT[1:4]),
        ({"Range": "bytes=1-3", "If-Range": '"other"'}, 200, CONTENT),
        ({"Range": "bytes=1-3", "If-Range": f"W/{TAG}"}, 200, CONTENT),
        ({"If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"}, 304, b""),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412, None),
        ({"Range": f"bytes={len(CONTENT)}-"}, 416, None),
    ],
)
def test_ranges_and_times(
    client: FlaskClient, prefix: str, headers: dict[str, str], status: int, body: bytes | None
) -> None:
    put(client, f"{prefix}/a")

    reply = client.get(f"{FILES}/{prefix}/a", headers=headers)

    assert reply.status_code == status
    assert body is None or reply.data == body
    if status == 416:
        assert reply.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.contract("K-102")
@pytest.mark.parametrize("name", ["p/", "p//a", "p/a/", "p/../a", "p/a%20b", "p/ä", "p.q/a", "p/./a"])
def test_names_that_are_none_are_not_found(client: FlaskClient, name: str) -> None:
    assert client.get(f"{FILES}/{name}").status_code in (403, 404)
    assert put(client, name).status_code in (404, 405)


@pytest.mark.contract("K-125")
def test_announced_digests_are_verified(client: FlaskClient, prefix: str) -> None:
    sha256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    md5 = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    sha512 = base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()
    wrong_sha512 = base64.b64encode(hashlib.sha512(b"other").digest()).decode()
    name = f"{prefix}/a"

    refused = [
        put(client, name, Repr_Digest=f"sha-256=:{wrong}:"),
        put(client, name, Content_MD5=md5),
        put(client, name, X_Content_SHA256=digest(b"other")),
        put(client, name, Repr_Digest=f"sha-512=:{wrong_sha512}:"),
        put(client, name, Content_Digest=f"sha-256=:{sha256}:, sha-512=:{wrong_sha512}:"),
    ]
    unreadable = put(client, name, Repr_Digest="sha-256=here")
    missing = client.get(f"{FILES}/{name}")
    taken = put(client, name, Repr_Digest=f"sha-256=:{sha256}:, sha-512=:{sha512}:, adler=:AAAA:")

    assert [reply.status_code for reply in refused] == [422] * 5
    assert (unreadable.status_code, missing.status_code, taken.status_code) == (400, 404, 204)
    assert client.get(f"{FILES}/{name}").headers["Repr-Digest"] == f"sha-256=:{sha256}:"


@pytest.mark.contract("I-09", "K-120")
@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Content-MD5", "\xe9"),
        ("Repr-Digest", "md5=:\xe9:"),
        ("X-Content-SHA256", "\xe9"),
        ("Content-Length", "-1"),
        ("Content-Length", "7, 7"),
        ("Content-Length", "9" * 5000),
    ],
)
def test_headers_that_make_no_sense_are_refused(
    client: FlaskClient, prefix: str, header: str, text: str
) -> None:
    variable = header.upper().replace("-", "_")
    variable = variable if header == "Content-Length" else f"HTTP_{variable}"

    reply = client.post(
        f"{FILES}/{prefix}/a", data=b"7 bytes", headers=signed_in("anna"), environ_overrides={variable: text}
    )

    assert (reply.status_code, reply.json["code"]) == (400, "invalid-document")  # type: ignore[index]
    assert client.get(f"{FILES}/{prefix}/a").status_code == 404


@pytest.mark.contract("K-120")
def test_a_length_beside_chunks_is_refused(client: FlaskClient, prefix: str) -> None:
    reply = client.post(
        f"{FILES}/{prefix}/a",
        data=b"7 bytes",
        headers=signed_in("anna") | {"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert reply.status_code == 400
    assert client.get(f"{FILES}/{prefix}/a").status_code == 404


@pytest.mark.contract("K-124", "A.8/size", "K-500/block_max_body_bytes")
def test_the_largest_size_is_allowed_and_one_more_is_not(open_client: Callable[..., FlaskClient]) -> None:
    client = open_client(block_max_body_bytes=100)
    prefix = client.post("/api/v0/prefix", headers=signed_in("anna")).json["prefix"]  # type: ignore[index]

    assert put(client, f"{prefix}/a", bytes(100)).status_code == 204
    assert put(client, f"{prefix}/b", bytes(101)).status_code == 413
    assert put(client, f"{prefix}/empty", b"").status_code == 204
    assert client.get(f"{FILES}/{prefix}/empty").data == b""


@pytest.mark.contract("A.6/upload", "K-122", "K-210", "K-211", "K-500/block_quota_default")
@EVERY_ENGINE
def test_the_quota_is_kept(open_client: Callable[..., FlaskClient], db: MeteorDatabase) -> None:
    client = open_client(block_quota_default=1000)
    prefix = client.post("/api/v0/prefix", headers=signed_in("anna")).json["prefix"]  # type: ignore[index]
    put(client, f"{prefix}/blocks/1", bytes(900))
    put(client, f"{prefix}/index", bytes(100))

    refused = put(client, f"{prefix}/blocks/2", b"1")
    grown = put(client, f"{prefix}/index", bytes(200))

    assert (refused.status_code, refused.json["code"]) == (402, "quota-reached")  # type: ignore[index]
    assert "Quota reached" in refused.json["detail"]  # type: ignore[index]
    assert grown.status_code == 204
    sweep_released(db.transactions, db.store, db.clock() + timedelta(minutes=2))
    assert len(list(db.store.ids())) == 2


@pytest.mark.contract("A.6/traffic", "K-221", "A.6/free", "F.1/block_traffic", "K-500/block_traffic_default")
@EVERY_ENGINE
def test_reading_is_refused_beyond_the_traffic_of_a_month(open_client: Callable[..., FlaskClient]) -> None:
    client = open_client(block_traffic_default=len(CONTENT))
    prefix = client.post("/api/v0/prefix", headers=signed_in("anna")).json["prefix"]  # type: ignore[index]
    put(client, f"{prefix}/a")
    put(client, f"{prefix}/b", b"1")
    read = [client.get(f"{FILES}/{prefix}/{name}").status_code for name in ("a", "b", "a")]
    known = client.get(f"{FILES}/{prefix}/a", headers={"If-None-Match": TAG})

    assert read == [200, 200, 402]
    assert client.get(f"{FILES}/{prefix}/a").json["code"] == "traffic-reached"  # type: ignore[index]
    assert client.head(f"{FILES}/{prefix}/a").status_code == 200
    assert known.status_code == 304
    assert put(client, f"{prefix}/c", b"1").status_code == 204


@pytest.mark.contract("K-220", "KD-27", "F.1/block_traffic")
def test_what_was_read_is_written_down(db: MeteorDatabase, address: str) -> None:
    """Ranges and what was sent of it count; HEAD and 304 are free; a stop loses nothing."""
    base = f"{address}/api/v0"
    prefix = requests.post(f"{base}/prefix/", headers=signed_in("anna"), timeout=60).json()["prefix"]
    url = f"{base}/files/{prefix}/a"
    requests.post(url, data=CONTENT, headers=signed_in("anna"), timeout=60)

    requests.get(url, timeout=60)
    requests.get(url, headers={"Range": "bytes=1-10"}, timeout=60)
    requests.get(url, headers={"If-None-Match": TAG}, timeout=60)
    requests.head(url, timeout=60)

    month = traffic.month_of(db.clock())

    def written() -> int:
        with db.transactions.reading() as connection:
            return traffic.sent_in(connection, "local:anna", month)

    wait_until(lambda: written() == len(CONTENT) + 10, 30, "writing of the traffic")


@pytest.mark.contract(
    "A.5/accept", "A.5/ownerless", "K-201", "D.1/dummy", "K-500/block_dummy_token", "issue-5.3"
)
def test_dummy_accounts_write_everywhere(open_client: Callable[..., FlaskClient]) -> None:
    client = open_client(block_accounts="dummy", block_dummy_token="MAGICFARYDUST", block_insecure=True)

    written = client.post(f"{FILES}/test/a", data=CONTENT, headers=DUMMY)
    refused = client.post(f"{FILES}/test/a", data=b"", headers={"Authorization": "Token other"})

    assert (written.status_code, refused.status_code) == (204, 403)
    assert client.get(f"{FILES}/test/a").data == CONTENT
    assert client.get("/api/v0/quota/", headers=DUMMY).json["size"] == 0  # type: ignore[index]


@pytest.mark.contract("K-207", "K-500/block_read_policy")
@pytest.mark.parametrize(("policy", "stranger", "other", "owner"), [
    ("public", 200, 200, 200), ("account", 403, 200, 200), ("owner", 403, 404, 200),
])  # fmt: skip
def test_who_may_read(
    client: FlaskClient, prefix: str, db: MeteorDatabase, policy: str, stranger: int, other: int, owner: int
) -> None:
    put(client, f"{prefix}/a")
    db.transactions.write(lambda c: prefixes.change_prefix(c, prefix, read_policy=policy))

    replies = [
        client.get(f"{FILES}/{prefix}/a", headers=headers)
        for headers in ({}, signed_in("bert"), signed_in("anna"))
    ]

    assert [reply.status_code for reply in replies] == [stranger, other, owner]


@pytest.mark.contract("K-130", "C/listing")
@EVERY_ENGINE
def test_objects_are_listed_for_their_owner(client: FlaskClient, prefix: str) -> None:
    for name in ("a", "b/1", "b/2", "c"):
        put(client, f"{prefix}/{name}", name.encode())
    first = client.get(f"{FILES}/{prefix}/?limit=2&delimiter=/", headers=signed_in("anna")).json
    assert first is not None
    second = client.get(
        f"{FILES}/{prefix}/?limit=2&delimiter=/&after={first['next']}", headers=signed_in("anna")
    ).json
    assert second is not None

    assert [each["path"] for each in first["objects"]] == ["a"]
    assert (first["folders"], first["next"]) == (["b/"], "b/")
    assert [each["path"] for each in second["objects"]] == ["c"]
    assert (second["folders"], second["next"]) == ([], None)
    assert first["objects"][0]["etag"] == f'"{digest(b"a")}"'
    assert client.get(f"{FILES}/{prefix}/?limit=0", headers=signed_in("anna")).status_code == 400


@pytest.mark.contract("K-170", "C/info", "C/health")
def test_a_node_says_what_it_offers_and_whether_it_can(
    client: FlaskClient, db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    health, ready, info = (client.get(f"/api/v0/{name}") for name in ("health", "ready", "info"))
    assert (health.status_code, health.json) == (200, {"status": "ok"})
    assert ready.status_code == 200
    assert {name: each["state"] for name, each in ready.json["checks"].items()} == {  # type: ignore[index]
        "database": "ok",
        "store": "ok",
        "accounts": "ok",
        "events": "ok",
    }
    assert info.json is not None
    assert (info.json["accounts"], info.json["store"]) == ("local", "local")
    assert "/" not in str(info.json["store"])

    def refuse(*, probe: bool = False) -> None:
        raise UnavailableError("the disk is gone")

    monkeypatch.setattr(db.store, "check", refuse)
    broken = client.get("/api/v0/ready")

    assert (broken.status_code, broken.json["checks"]["store"]["state"]) == (503, "unavailable")  # type: ignore[index]
    assert client.get("/api/v0/health").status_code == 200


@pytest.mark.contract("K-142", "KD-25")
def test_a_removal_may_have_a_body(client: FlaskClient, prefix: str) -> None:
    put(client, f"{prefix}/a")

    reply = client.delete(f"{FILES}/{prefix}/a", data=b"why not", headers=signed_in("anna"))

    assert reply.status_code == 204
    assert client.get(f"{FILES}/{prefix}/a").status_code == 404


@pytest.fixture
def address(db: MeteorDatabase) -> Iterator[str]:
    """Of the routes behind the standalone server."""
    add_users(db, "anna")
    meteor_app = make_app(db)
    server = StandaloneServer(meteor_app.app, Settings(host="127.0.0.1"), port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with meteor_app.upkeep:
            yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join(30)


@pytest.mark.contract("J-05", "A.2/chunked", "K-120", "A.2/connections", "A.2/paths")
def test_published_clients_send_chunks_from_many_connections(address: str) -> None:
    base = f"{address}/api/v0"
    prefix = requests.post(f"{base}/prefix/", headers=signed_in("anna"), timeout=60).json()["prefix"]

    def round_trip(number: int) -> bool:
        content = bytes([number]) * 100_000
        url = f"{base}/files/{prefix}/blocks/{number}"
        chunks = (content[start : start + 9_999] for start in range(0, len(content), 9_999))
        with requests.Session() as session:
            stored = session.post(url, data=chunks, headers=signed_in("anna"), timeout=60)
            known = session.get(url, headers={"If-None-Match": stored.headers["ETag"]}, timeout=60)
            found = session.get(url, timeout=60)
        return (stored.status_code, known.status_code, found.content) == (204, 304, content)

    with ThreadPoolExecutor(25) as pool:
        assert all(pool.map(round_trip, range(50)))


@pytest.mark.contract("K-121", "A.8/spool", "K-126")
@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_upload_that_is_cut_off_changes_nothing(
    address: str, db: MeteorDatabase, is_chunked: bool
) -> None:
    base = f"{address}/api/v0"
    prefix = requests.post(f"{base}/prefix/", headers=signed_in("anna"), timeout=60).json()["prefix"]
    host = address.removeprefix("http://")

    with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        connection.putrequest("POST", f"/api/v0/files/{prefix}/a")
        connection.putheader("Authorization", signed_in("anna")["Authorization"])
        if is_chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", "1000")
        connection.endheaders(b"ff\r\n" + bytes(100) if is_chunked else bytes(100))

    assert requests.get(f"{base}/files/{prefix}/a", timeout=60).status_code == 404
    stored = requests.post(f"{base}/files/{prefix}/a", data=CONTENT, headers=signed_in("anna"), timeout=60)
    assert stored.status_code == 204
    assert len(list(db.store.ids())) == 1
