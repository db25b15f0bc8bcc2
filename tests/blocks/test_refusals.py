"""Errors of the block routes, and what pages of other sites may do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from meteorpi_db import MeteorDatabase
from meteorpi_model import errors
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.block_api.refusals import next_month
from meteorpi_server.settings import Settings
from tests.blocks.signed_in import add_users, signed_in

pytestmark = pytest.mark.engines("sqlite")

FILES = "/api/v0/files"
PAIRS = [
    (errors.QuotaReachedError("Quota reached", quota=5, size=4, requested=3), 402, "quota-reached", False),
    (errors.TrafficReachedError("Quota reached", quota=5, size=6), 402, "traffic-reached", False),
    (errors.NotAuthenticatedError("x"), 403, "not-authenticated", False),
    (errors.NotAllowedError("x"), 403, "not-allowed", False),
    (errors.NotFoundError("x"), 404, "not-found", False),
    (errors.PreconditionFailedError("x"), 412, "precondition-failed", False),
    (errors.TooLargeError("x"), 413, "too-large", False),
    (errors.IncompleteBodyError("x"), 400, "incomplete-body", False),
    (errors.DigestMismatchError("x"), 422, "digest-mismatch", False),
    (errors.LockedError("x", retry_after_seconds=2), 423, "locked", True),
    (errors.StoreFullError("x"), 507, "store-full", True),
    (errors.UnavailableError("x"), 503, "unavailable", True),
    (errors.AccountingUnavailableError("x", retry_after_seconds=5), 503, "accounting-unavailable", True),
    (errors.BusyError("x"), 503, "busy", True),
]


def open_client(db: MeteorDatabase, **settings: Any) -> FlaskClient:
    meteor_app = MeteorApp(db, Settings(**settings))
    block_api.add_routes(meteor_app)
    return meteor_app.app.test_client()


@pytest.mark.contract("K-110")
def test_errors_have_fixed_pairs_of_status_and_code(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(db)

    for error, status, code, is_later in PAIRS:

        def fail(*_: object, error: errors.MeteorError = error) -> None:
            raise error

        monkeypatch.setattr("meteorpi_server.block_api.objects.checked_path", fail)
        reply = client.get(f"{FILES}/p/a")
        assert reply.json is not None
        assert (reply.status_code, reply.json["code"]) == (status, code)
        assert reply.content_type == "application/problem+json"
        assert reply.json["message"] == reply.json["detail"] == error.detail
        assert ("Retry-After" in reply.headers) == is_later, code


@pytest.mark.contract("K-110")
def test_refusals_for_want_of_room_say_how_much_there_is(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_users(db, "anna")
    anna = signed_in("anna")
    client = open_client(db, block_quota_default=5, block_quota_grace_bytes=0, block_traffic_default=3)
    prefix = client.post("/api/v0/prefix/", headers=anna).json["prefix"]  # type: ignore[index]
    client.post(f"{FILES}/{prefix}/a", data=b"1234", headers=anna)
    client.get(f"{FILES}/{prefix}/a", buffered=True)
    monkeypatch.setattr("meteorpi_server.block_api.refusals.now", lambda: datetime(2026, 12, 31, 23, 59))

    full = client.post(f"{FILES}/{prefix}/blocks/b", data=b"123", headers=anna).json
    read = client.get(f"{FILES}/{prefix}/a").json

    assert full is not None
    assert read is not None
    assert (full["status"], full["quota"], full["size"], full["requested"]) == (402, 5, 4, 3)
    assert (read["status"], read["quota"], read["size"]) == (402, 3, 4)
    assert read["resets"] == "2027-01-01T00:00:00Z"
    assert full["message"] == read["message"] == "Quota reached"
    assert next_month(datetime(2026, 1, 31)) == datetime(2026, 2, 1)


@pytest.mark.contract("K-110", "A.1/other")
def test_methods_that_are_not_there_name_those_that_are(db: MeteorDatabase) -> None:
    reply = open_client(db).patch(f"{FILES}/p/a")

    assert (reply.status_code, reply.json["code"]) == (405, "method-not-allowed")  # type: ignore[index]
    assert set(reply.allow) == {"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}


@pytest.mark.contract("K-112")
def test_pages_of_named_sites_read_the_headers_that_they_need(db: MeteorDatabase) -> None:
    client = open_client(db, cors_origins=("https://page.example",))
    origin = {"Origin": "https://page.example"}

    asked = client.options(
        f"{FILES}/p/a",
        headers=origin
        | {
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,if-match",
        },
    )
    known = client.get(f"{FILES}/p/a", headers=origin)
    other = client.get(f"{FILES}/p/a", headers={"Origin": "https://other.example"})

    exposed = set(known.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {
        "ETag",
        "Date",
        "Location",
        "Content-Range",
        "Accept-Ranges",
        "Repr-Digest",
        "Retry-After",
    }
    assert exposed >= {"Upload-Offset", "Upload-Length", "Upload-Expires", "Tus-Resumable", "Tus-Version"}
    assert known.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert asked.status_code == 200
    assert "PUT" in asked.headers["Access-Control-Allow-Methods"]
    assert "If-Match" in asked.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in other.headers


@pytest.mark.contract("K-112")
def test_pages_may_ask_for_resumable_uploads(db: MeteorDatabase) -> None:
    client = open_client(db, cors_origins=("*",))
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}

    reply = client.options("/api/v0/uploads/", headers=asked)

    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert "Upload-Length" in reply.headers["Access-Control-Allow-Headers"]
