"""One suite for every server that a node may run on: requests arrive as they were sent, answers as well."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing
from urllib.parse import quote

import pytest

from tests.deployment.caller import Caller, Sizable, basic, content_path
from tests.deployment.deployed import DeployedNode

PROBLEM = "application/problem+json"
STRANGE = "meteorpi:a//b/../c/./d+e%2Ff"


@pytest.fixture
def caller(node: DeployedNode) -> Caller:
    return Caller(node)


@pytest.fixture(scope="session")
def strange(node: DeployedNode) -> str:
    """Id of a file whose semantic type has everything in it that servers like to tidy up."""
    record = Caller(node).import_file(Sizable(b"strange"), semantic_type=STRANGE)
    assert record.file_id is not None
    return record.file_id.hex


def once(text: str) -> str:
    return quote(text, safe="")


def twice(text: str) -> str:
    return quote(quote(text, safe=""), safe="")


def twice_in_small_letters(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), twice(text))


def once_but_slashes_and_plus(text: str) -> str:
    return quote(text, safe="/+")


# --- who asks


@pytest.mark.contract("issue-3.1/authorization")
def test_basic_credentials_reach_the_application(caller: Caller) -> None:
    assert caller.get("/import/", basic()).status == 405
    reply = caller.call("POST", "/import/", basic(), b'{"type": "probe"}')
    assert (reply.status, reply.json["state"]) == (200, "failed")

    assert caller.call("POST", "/import/", basic(password="wrong"), b"{}").status == 401


@pytest.mark.contract("issue-3.1/authorization")
def test_bearer_tokens_reach_the_application(caller: Caller) -> None:
    made = caller.node.tool("tokens", "create", "importer", "test", "--json")
    secret = json.loads(made)["secret"]

    reply = caller.call("POST", "/import/", {"Authorization": f"Bearer {secret}"}, b'{"type": "probe"}')

    assert (reply.status, reply.json["state"]) == (200, "failed")


@pytest.mark.contract("issue-3.1/authorization")
def test_both_challenges_reach_the_caller(caller: Caller) -> None:
    reply = caller.call("POST", "/import/", body=b"{}")

    assert reply.status == 401
    challenges = ", ".join(reply.headers.get_all("WWW-Authenticate", []))
    assert 'Basic realm="MeteorPi"' in challenges
    assert 'Bearer realm="MeteorPi"' in challenges


# --- what is asked


@pytest.mark.contract("issue-3.2/search-paths")
@pytest.mark.parametrize("encode", [once, twice, twice_in_small_letters, once_but_slashes_and_plus])
def test_search_in_the_path_means_the_same_in_each_encoding(
    caller: Caller, strange: str, encode: object
) -> None:
    assert callable(encode)
    text = json.dumps({"semantic_type": STRANGE})

    found = caller.get(f"/files/{encode(text)}")

    assert found.status == 200, found.body
    assert [each["file_id"] for each in found.json["files"]] == [strange]


@pytest.mark.contract("issue-3.2/search-paths")
def test_plus_is_a_space_in_queries_only(caller: Caller, strange: str) -> None:
    assert caller.get(f"/files?semantic_type={quote(STRANGE, safe='')}").json["count"] == 1
    assert caller.get(f"/files?semantic_type={quote(STRANGE, safe='+/')}").json["count"] == 0


@pytest.mark.contract("issue-3.2/search-paths")
def test_name_behind_the_id_of_a_content_may_be_any(caller: Caller, strange: str) -> None:
    for name in ("meteor%201.png", "a%2Fb.png", "a%2F%2Fb", "%2e%2e", "%25", "%E2%98%84"):
        assert caller.get(f"/files/content/{strange}/{name}").body == b"strange", name


@pytest.mark.contract("issue-3.2/search-paths")
def test_long_searches_arrive(caller: Caller) -> None:
    cameras = [f"camera/{number}" for number in range(400)]

    reply = caller.get(f"/files/{twice_in_small_letters(json.dumps({'camera_ids': cameras}))}")

    assert (reply.status, reply.json) == (200, {"files": [], "count": 0})


@pytest.mark.parametrize(
    "target",
    [
        b"/api/files/%00",
        b"/api/files/%FF",
        b"/api/files?mime_type=%",
        b"/api/files?mime_type=\xff\xfe",
        b"/api/files?mime_type=a%00",
        b"/api/files?a=1&&&=&%3D",
    ],
)
def test_addresses_that_are_no_text_are_refused_and_nothing_worse(caller: Caller, target: bytes) -> None:
    reply = caller.exchange(b"GET " + target + b" HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")

    assert re.match(rb"HTTP/1\.[01] (400|404) ", reply) or b'"count":0' in reply, reply
    assert caller.get("/cameras").status == 200


def test_several_requests_share_a_connection(caller: Caller) -> None:
    """Whatever is left of a refused body must not be taken for the next request."""
    with closing(caller.connection()) as connection:
        for _ in range(3):
            connection.request("POST", "/api/import/", b"GET /api/users HTTP/1.1\r\n\r\n" * 4000)
            refused = connection.getresponse()
            assert (refused.status, json.loads(refused.read())["code"]) == (401, "not-authenticated")
            assert ask_for_cameras(connection) == ["cameras"]


def ask_for_cameras(connection: http.client.HTTPConnection) -> list[str]:
    """Members of the answer; asked again where the server closed the connection, as it may at any time."""
    try:
        connection.request("GET", "/api/cameras")
        answered = connection.getresponse()
    except (http.client.RemoteDisconnected, ConnectionError):
        connection.close()
        connection.request("GET", "/api/cameras")
        answered = connection.getresponse()
    assert answered.status == 200
    return list(json.loads(answered.read()))


def test_requests_sent_ahead_are_answered_in_order(caller: Caller) -> None:
    first = b"GET /api/cameras HTTP/1.1\r\nHost: node\r\n\r\n"
    second = b"GET /api/nothing HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"

    replies = caller.exchange(first + second)

    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", replies)
    # A server may close after the first, if it says so; the caller then asks again.
    assert statuses == [b"200", b"404"] or (statuses == [b"200"] and b"onnection: close" in replies)


# --- what is answered


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not-found"),
        ("GET", "/files/content/00000000000000000000000000000000", 404, "not-found"),
        ("GET", "/files/%7B%7D%7D", 400, "invalid-document"),
        ("GET", "/users", 401, "not-authenticated"),
        ("POST", "/cameras", 405, "method-not-allowed"),
    ],
)
def test_problem_documents_reach_the_caller_as_they_are(
    caller: Caller, method: str, path: str, status: int, code: str
) -> None:
    reply = caller.call(method, path, {"X-Request-ID": "asked-by-a-test"})

    assert (reply.status, reply.headers["Content-Type"]) == (status, PROBLEM)
    assert (reply.json["status"], reply.json["code"]) == (status, code)
    assert reply.headers["X-Request-ID"] == "asked-by-a-test"
    assert reply.headers["Cache-Control"] == "no-store"
    if status == 405:
        assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_headers_of_content_reach_the_caller_as_they_are(caller: Caller) -> None:
    content = Sizable(b"<script>alert(1)</script>")
    record = caller.import_file(content, "Bild №1.html", mime_type="text/html; charset=utf-8")

    headers = caller.get(content_path(record), {"Origin": "https://elsewhere.example"}).headers

    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Length"] == str(len(content))
    assert headers["ETag"] == f'"{record.md5}"'
    assert headers["Cache-Control"] == "public, max-age=86400"
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Content-Disposition"].startswith('attachment; filename="Bild _1.html"; filename*=UTF-8')
    assert headers["Repr-Digest"].startswith("sha-256=:")
    assert headers["Accept-Ranges"] == "bytes"
    assert "X-Sendfile" not in headers


def test_head_is_answered_like_get_without_the_body(caller: Caller, strange: str) -> None:
    for path, length in ((f"/files/content/{strange}", "7"), ("/cameras", None), ("/nothing", None)):
        reply, whole = caller.call("HEAD", path), caller.get(path)

        assert (reply.status, reply.body) == (whole.status, b"")
        assert reply.headers["Content-Type"] == whole.headers["Content-Type"]
        assert length is None or reply.headers["Content-Length"] == length
