"""When uploads are decided: before the first of their bytes is read, and once more when all are there."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from tests.blocks.signed_in import add_users, signed_in
from tests.blocks.test_routes import FILES, make_app, put

pytestmark = pytest.mark.engines("sqlite")


class _Unread:
    """A body that nobody may read."""

    def read(self, _size: int = -1) -> bytes:
        raise AssertionError("the body was read")


class _Body:
    """A body; something happens before its first byte."""

    def __init__(self, content: bytes, meanwhile: Callable[[], object]) -> None:
        self._content = io.BytesIO(content)
        self._meanwhile = meanwhile

    def read(self, size: int = -1) -> bytes:
        if self._content.tell() == 0:
            self._meanwhile()
        return self._content.read(size)


@pytest.fixture
def open_client(db: MeteorDatabase) -> Callable[..., FlaskClient]:
    add_users(db, "anna", "bert", "carl")
    db.set_user_enabled("carl", False)
    return lambda **settings: make_app(db, **settings).app.test_client()


def prefix_with_a(client: FlaskClient) -> str:
    prefix = str(client.post("/api/v0/prefix/", headers=signed_in("anna")).json["prefix"])  # type: ignore[index]
    put(client, f"{prefix}/a", b"1")
    return prefix


def code_of(reply: TestResponse) -> tuple[int, str]:
    assert reply.json is not None
    return reply.status_code, reply.json["code"]


@pytest.mark.contract("K-122", "A.8/order")
@pytest.mark.parametrize(
    ("name", "headers", "settings", "answer"),
    [
        ("{}/a//b", {}, {}, (404, "not-found")),
        ("{}/a", {"Authorization": "Token nobodys"}, {}, (403, "not-authenticated")),
        ("{}/a", signed_in("bert"), {}, (403, "not-allowed")),
        ("{}/a", signed_in("carl"), {}, (403, "not-allowed")),
        ("{}/a", {"Content-Length": "2001"}, {"block_max_body_bytes": 2000}, (413, "too-large")),
        ("{}/blocks/a", {"Content-Length": "2000"}, {"block_quota_default": 2000}, (402, "quota-reached")),
        ("{}/a", {"If-Match": '"other"'}, {}, (412, "precondition-failed")),
        ("{}/a", {"If-None-Match": "*"}, {}, (412, "precondition-failed")),
        ("{}/a", {"Content-Length": "2"}, {"block_append_only": True}, (403, "not-allowed")),
        ("{}/a", {"Content-Length": str(64 << 20)}, {"block_retain_days": 1}, (403, "not-allowed")),
        ("{}/a", {"Repr-Digest": "sha-256=?"}, {}, (400, "invalid-document")),
    ],
)
def test_what_can_be_refused_is_refused_unread(
    open_client: Callable[..., FlaskClient],
    name: str,
    headers: dict[str, str],
    settings: dict[str, Any],
    answer: tuple[int, str],
) -> None:
    client = open_client(**settings)
    path = f"{FILES}/{name.format(prefix_with_a(client))}"

    given = signed_in("anna") | {"Content-Length": "9"} | headers
    body = {"CONTENT_LENGTH": given.pop("Content-Length"), "wsgi.input": _Unread()}
    reply = client.post(path, headers=given, environ_overrides=body)

    assert code_of(reply) == answer


@pytest.mark.contract("K-123", "KD-08")
@pytest.mark.parametrize(
    ("name", "condition", "answer"),
    [
        ("new", {"If-None-Match": "*"}, (412, "precondition-failed")),
        ("blocks/a", {}, (402, "quota-reached")),
        ("a", {}, (403, "not-allowed")),
    ],
)
def test_what_changes_meanwhile_counts(
    open_client: Callable[..., FlaskClient], name: str, condition: dict[str, str], answer: tuple[int, str]
) -> None:
    client = open_client(block_quota_default=1000, block_quota_grace_bytes=0)
    prefix = prefix_with_a(client)

    def change() -> None:
        replies = [
            put(client, f"{prefix}/new", bytes(600)),
            client.patch(f"/api/v0/prefix/{prefix}", json={"append_only": True}, headers=signed_in("anna")),
        ]
        assert [reply.status_code for reply in replies] == [204, 200]

    chunks = {"wsgi.input": _Body(b"2" * 600, change), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    reply = client.post(
        f"{FILES}/{prefix}/{name}",
        headers=signed_in("anna") | {"Transfer-Encoding": "chunked"} | condition,
        environ_overrides=chunks,
    )

    assert code_of(reply) == answer
    sizes = {each["path"]: each["size"] for each in _listed(client, prefix)}
    assert sizes == {"a": 1, "new": 600}


def _listed(client: FlaskClient, prefix: str) -> list[dict[str, Any]]:
    found = client.get(f"{FILES}/{prefix}/", headers=signed_in("anna")).json
    assert found is not None
    return list(found["objects"])
