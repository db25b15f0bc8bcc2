"""The application: its helpers, problems, request ids, slashes and cross-origin requests."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from flask import Blueprint, Flask, abort
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import default_exceptions

from meteorpi_db import MeteorDatabase
from meteorpi_model import schemas
from meteorpi_model.errors import (
    CorruptContentError,
    MeteorError,
    NotFoundError,
    StoreFullError,
    TooManyAttemptsError,
    UnavailableError,
)
from meteorpi_server import MeteorApp, admin_api, importer_api, problems, query_api
from meteorpi_server.settings import Settings
from tests.server.conftest import Node, basic

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.engines("sqlite")


@pytest.mark.contract("7.1/no-routes", "7.1/app")
def test_no_route_exists_until_it_is_added(db: MeteorDatabase) -> None:
    meteor_app = MeteorApp(db=db)

    assert meteor_app.db is db
    assert isinstance(meteor_app.app, Flask)
    assert list(meteor_app.app.url_map.iter_rules()) == []
    assert meteor_app.app.test_client().get("/cameras").status_code == 404


@pytest.mark.contract("0.1/add_routes")
def test_route_sets_are_independent_and_go_in_any_order(db: MeteorDatabase) -> None:
    only_query, other_order = MeteorApp(db=db), MeteorApp(db=db)

    query_api.add_routes(meteor_app=only_query)
    for routes in (importer_api, query_api, admin_api):
        routes.add_routes(meteor_app=other_order)

    assert only_query.app.test_client().get("/cameras").status_code == 200
    assert only_query.app.test_client().get("/users").status_code == 404
    assert other_order.app.test_client().get("/users").status_code == 401


@pytest.mark.contract("8/url_path")
def test_route_sets_go_below_any_path(db: MeteorDatabase) -> None:
    meteor_app = MeteorApp(db=db)
    query_api.add_routes(meteor_app, url_path="/api")
    query_api.add_routes(meteor_app, url_path="v2/")
    admin_api.add_routes(meteor_app=meteor_app, url_path="/api")
    client = meteor_app.app.test_client()

    assert client.get("/api/cameras").status_code == 200
    assert client.get("/v2/cameras").status_code == 200
    assert client.get("/cameras").status_code == 404
    assert client.get("/api/users").status_code == 401


@pytest.mark.contract("7.1/success", "7.1/not_found", "7.1/authentication_failure", "7.1/get_user")
def test_published_helpers_answer_as_published(db: MeteorDatabase) -> None:
    meteor_app = MeteorApp(db=db)

    with meteor_app.app.test_request_context():
        assert meteor_app.success().get_json() == {"message": "Okay"}
        assert MeteorApp.success("Done").get_json() == {"message": "Done"}
        missing = MeteorApp.not_found(entity_id="abc")
        refused = MeteorApp.authentication_failure()
        assert meteor_app.get_user() is None

    assert missing.status_code == 404
    assert missing.get_json()["message"] == "Entity not found"
    assert missing.get_json()["entity_id"] == "abc"
    assert refused.status_code == 401
    assert refused.get_json()["message"] == "Authorization required"
    assert "WWW-Authenticate" in refused.headers


@pytest.mark.contract("7.1/requires_auth", "7.1/get_user")
def test_own_routes_can_ask_for_roles(node: Node) -> None:
    meteor_app = node.meteor_app

    @meteor_app.app.get("/own")
    @meteor_app.requires_auth(["user", "camera_admin"])
    def own() -> ResponseReturnValue:
        user = meteor_app.get_user()
        return MeteorApp.success(user.user_id if user else "nobody")

    @meteor_app.app.get("/any")
    @meteor_app.requires_auth()
    def any_account() -> ResponseReturnValue:
        return MeteorApp.success()

    assert node.get("/own").status_code == 401
    assert node.get("/own", headers=basic("only-admin")).status_code == 403
    assert node.get("/own", headers=basic("admin")).json == {"message": "admin"}
    assert node.get("/any", headers=basic("nobody")).status_code == 200


@pytest.mark.contract("7.2/slashes")
def test_leading_slashes_count_as_one_without_a_redirect(node: Node) -> None:
    answer = node.get("/", environ_overrides={"PATH_INFO": "//cameras"})
    posted = node.http.post(
        "/", environ_overrides={"PATH_INFO": "///import"}, headers=basic("station"), json={"type": "x"}
    )

    assert answer.status_code == 200
    assert posted.status_code == 200
    node.add_file()
    node.add_file()
    page = node.get("/", environ_overrides={"PATH_INFO": "//files", "QUERY_STRING": "limit=1"})
    assert page.json is not None
    assert page.json["next"].startswith("/files?")  # "//files" would lead to another host


def failing(error: Exception) -> Callable[[], ResponseReturnValue]:
    def view() -> ResponseReturnValue:
        raise error

    return view


@pytest.mark.contract("8.4/problems", "8.4/internal", "B-36")
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFoundError("no such thing", entity_id="x"), 404, "not-found"),
        (UnavailableError("later"), 503, "unavailable"),
        (StoreFullError("full"), 507, "store-full"),
        (CorruptContentError("rotten"), 503, "corrupt"),
        (TooManyAttemptsError("slow down", retry_after_seconds=7), 429, "too-many-attempts"),
        (ZeroDivisionError("secret detail"), 500, "internal"),
        (MeteorError("secret detail"), 500, "internal"),
    ],
)
def test_errors_become_problem_documents(node: Node, error: Exception, status: int, code: str) -> None:
    node.meteor_app.app.add_url_rule("/failing", view_func=failing(error))

    answer = node.get("/failing")

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    jsonschema.validate(answer.json, schemas.load("problem"))
    assert answer.json["type"] == f"urn:meteorpi:problem:{code}"
    assert answer.json["status"] == status
    assert answer.json["message"] == answer.json["detail"]
    assert "secret" not in answer.text
    if status in (429, 503, 507):
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.contract("8.4/internal")
def test_unexpected_failures_are_logged_with_their_traceback(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.meteor_app.app.add_url_rule("/failing", view_func=failing(ZeroDivisionError("secret detail")))

    with caplog.at_level(logging.ERROR):
        node.get("/failing")

    assert any(record.exc_info and "secret detail" in str(record.exc_info[1]) for record in caplog.records)


@pytest.mark.contract("8.4/problems", "B-36")
def test_unrouted_paths_and_methods_are_problems_too(node: Node) -> None:
    missing, wrong_method = node.get("/nothing/here"), node.http.put("/cameras")

    assert (missing.status_code, wrong_method.status_code) == (404, 405)
    assert missing.content_type == wrong_method.content_type == "application/problem+json"
    assert set(wrong_method.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_every_problem_of_the_framework_has_a_code(node: Node) -> None:
    blueprint = Blueprint("raising", __name__)

    @blueprint.get("/raise/<int:status>")
    def raise_status(status: int) -> ResponseReturnValue:
        abort(status)

    node.meteor_app.attach(blueprint)

    for status in problems.CODE_BY_STATUS:
        if status not in default_exceptions:
            continue  # one of our own only
        answer = node.get(f"/raise/{status}")
        assert answer.status_code == status
        assert answer.json is not None
        assert answer.json["code"] == problems.CODE_BY_STATUS[status]


@pytest.mark.contract("8.4/limit", "B-36", "B-57")
def test_documents_that_are_too_large_are_refused(make_node: Callable[..., Node]) -> None:
    node = make_node(max_document_bytes=1000)
    node.add_accounts()

    answer = node.as_admin("POST", "/users", json={"user_id": "x", "password": "p" * 2000})

    assert answer.status_code == 413
    assert answer.json is not None
    assert answer.json["code"] == "too-large"


@pytest.mark.contract("B-36", "B-46", "B-57", "faults/http-input")
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"user_id: x\npassword: y", "application/json", 400),
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"user_id": "x", "password": "sesame"}', None, 200),
        (b'{"user_id": "x", "password": "sesame"}', "application/vnd.x+json", 200),
        (b'{"user_id": "x", "password": "sesame"}', "text/plain", 415),
        (b"user_id=x&password=y", "application/x-www-form-urlencoded", 415),
        (b'{"user_id": "x"}', "application/json", 400),
        (b'{"user_id": 1, "password": "y"}', "application/json", 400),
        (b'{"user_id": "x\\u0000", "password": "y"}', "application/json", 400),
        (b'{"user_id": "\\udc00", "password": "y"}', "application/json", 400),
    ],
)
def test_bodies_are_json_objects_or_refused(
    node: Node, body: bytes, content_type: str | None, status: int
) -> None:
    answer = node.http.post("/users", data=body, content_type=content_type, headers=basic("admin"))

    assert answer.status_code == status


def test_requests_carry_an_id(node: Node) -> None:
    own = node.get("/cameras").headers["X-Request-ID"]
    given = node.get("/cameras", headers={"X-Request-ID": "abc-123"}).headers["X-Request-ID"]
    forged = node.get("/cameras", headers={"X-Request-ID": "a b\tc"}).headers["X-Request-ID"]

    assert len(own) == 32
    assert given == "abc-123"
    assert forged != "a b\tc"


@pytest.mark.contract("7.1/cors", "B-54")
def test_pages_of_any_site_may_query(node: Node) -> None:
    origin = {"Origin": "https://page.example"}
    preflight = node.http.options(
        "/files",
        headers=origin
        | {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )

    assert node.get("/cameras", headers=origin).headers["Access-Control-Allow-Origin"] == "*"
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "Access-Control-Allow-Credentials" not in preflight.headers


@pytest.mark.contract("B-54")
def test_pages_of_other_sites_may_not_administrate(node: Node) -> None:
    origin = {"Origin": "https://page.example"}
    ask = {"Access-Control-Request-Method": "POST"}

    listed = node.get("/users", headers=origin | basic("admin"))
    preflights = [
        node.http.options("/users", headers=origin | ask),
        node.http.options("/import", headers=origin | ask),
        # The same path can be queried from anywhere, with another method.
        node.http.options("/cameras/x/status", headers=origin | ask),
    ]

    assert listed.status_code == 200
    assert "Access-Control-Allow-Origin" not in listed.headers
    for preflight in preflights:
        assert preflight.status_code == 200
        assert "Access-Control-Allow-Origin" not in preflight.headers


@pytest.mark.contract("7.1/cors", "B-54")
@pytest.mark.parametrize("configured", [("https://page.example",), ("*",)])
def test_settings_open_the_rest(make_node: Callable[..., Node], configured: tuple[str, ...]) -> None:
    node = make_node(cors_origins=configured)
    node.add_accounts()
    origin = {"Origin": "https://page.example"}

    listed = node.get("/users", headers=origin | basic("admin"))
    posted = node.http.delete("/users/nobody", headers=origin | basic("admin"))
    preflight = node.http.options("/users", headers=origin | {"Access-Control-Request-Method": "POST"})

    assert listed.headers["Access-Control-Allow-Origin"] in (configured[0], "*")
    assert posted.status_code == 200
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]


@pytest.mark.contract("8/accept-ranges")
def test_every_reply_says_that_ranges_are_accepted_once_queries_are(db: MeteorDatabase) -> None:
    without, meteor_app = MeteorApp(db=db), MeteorApp(db=db)
    admin_api.add_routes(meteor_app=without)
    admin_api.add_routes(meteor_app=meteor_app)
    query_api.add_routes(meteor_app=meteor_app)
    client = meteor_app.app.test_client()

    assert "Accept-Ranges" not in without.app.test_client().get("/users").headers
    assert client.get("/users").headers["Accept-Ranges"] == "bytes"
    assert client.get("/nothing").headers["Accept-Ranges"] == "bytes"


def test_settings_are_handed_to_the_application(db: MeteorDatabase) -> None:
    assert MeteorApp(db=db).settings == Settings()
