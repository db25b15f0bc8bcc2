"""Who may use which route: every route there is, with every kind of credentials."""

from __future__ import annotations

import pytest

from meteorpi_server import MeteorApp
from tests.server.conftest import PASSWORD, ROLES, Node, basic, bearer

pytestmark = pytest.mark.engines("sqlite")

HEX = "00000000000000000000000000000001"
OPEN: frozenset[str] | None = None
ADMIN = frozenset({"camera_admin"})
"""Roles that a route asks for; `OPEN` asks for no account at all."""

MATRIX: dict[tuple[str, str], tuple[str, frozenset[str] | None]] = {
    ("GET", "/cameras"): ("/cameras", OPEN),
    ("GET", "/cameras/<path:camera_id>/status"): ("/cameras/x/status", OPEN),
    ("GET", "/cameras/<path:camera_id>/status/<milliseconds>"): ("/cameras/x/status/1", OPEN),
    ("GET", "/files"): ("/files", OPEN),
    ("GET", "/files/<path:search>"): ("/files/%257B%257D", OPEN),
    ("GET", "/events"): ("/events", OPEN),
    ("GET", "/events/<path:search>"): ("/events/%257B%257D", OPEN),
    ("GET", "/file/<file_id>"): (f"/file/{HEX}", OPEN),
    ("GET", "/event/<event_id>"): (f"/event/{HEX}", OPEN),
    ("GET", "/files/content/<file_id>"): (f"/files/content/{HEX}", OPEN),
    ("GET", "/files/content/<file_id>/<path:file_name>"): (f"/files/content/{HEX}/name", OPEN),
    ("GET", "/files/thumbnail/<file_id>"): (f"/files/thumbnail/{HEX}", OPEN),
    ("GET", "/health"): ("/health", OPEN),
    ("GET", "/ready"): ("/ready", OPEN),
    ("GET", "/metrics"): ("/metrics", OPEN),
    ("GET", "/capabilities"): ("/capabilities", OPEN),
    ("GET", "/openapi.json"): ("/openapi.json", OPEN),
    ("GET", "/docs"): ("/docs", OPEN),
    ("GET", "/docs/style.css"): ("/docs/style.css", OPEN),
    ("GET", "/login"): ("/login", frozenset({"user"})),
    ("GET", "/users"): ("/users", ADMIN),
    ("GET", "/accounts"): ("/accounts", ADMIN),
    ("POST", "/users"): ("/users", ADMIN),
    ("PUT", "/users/roles"): ("/users/roles", ADMIN),
    ("PUT", "/users/<user_id>/enabled"): ("/users/x/enabled", ADMIN),
    ("GET", "/users/<user_id>/cameras"): ("/users/x/cameras", ADMIN),
    ("PUT", "/users/<user_id>/cameras"): ("/users/x/cameras", ADMIN),
    ("DELETE", "/users/<user_id>"): ("/users/x", ADMIN),
    ("GET", "/tokens"): ("/tokens", ADMIN),
    ("POST", "/tokens"): ("/tokens", ADMIN),
    ("DELETE", "/tokens/<token_id>"): (f"/tokens/{HEX}", ADMIN),
    ("GET", "/audit"): ("/audit", ADMIN),
    ("GET", "/export"): ("/export", ADMIN),
    ("POST", "/export"): ("/export", ADMIN),
    ("GET", "/export/states"): ("/export/states", ADMIN),
    ("GET", "/export/<config_id>"): (f"/export/{HEX}", ADMIN),
    ("PUT", "/export/<config_id>"): (f"/export/{HEX}", ADMIN),
    ("DELETE", "/export/<config_id>"): (f"/export/{HEX}", ADMIN),
    ("POST", "/export/<config_id>/resume"): (f"/export/{HEX}/resume", ADMIN),
    ("POST", "/cameras/<path:camera_id>/status"): ("/cameras/x/status", ADMIN),
    ("POST", "/import/"): ("/import", frozenset({"import"})),
    ("POST", "/import/data/<file_hex_id>/<md5_hex>"): (f"/import/data/{HEX}/{HEX}", frozenset({"import"})),
}

GUARDED = {key: value for key, value in MATRIX.items() if value[1] is not None}


def routes_of(meteor_app: MeteorApp) -> set[tuple[str, str]]:
    return {
        (method, rule.rule)
        for rule in meteor_app.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }


@pytest.mark.contract("8.2/authorisation", "faults/authorisation")
def test_every_route_is_in_the_matrix(node: Node) -> None:
    assert routes_of(node.meteor_app) == set(MATRIX)


@pytest.mark.contract("8.1/open")
def test_open_routes_need_no_account(node: Node) -> None:
    for (method, _), (path, roles) in MATRIX.items():
        if roles is None:
            assert node.http.open(path, method=method).status_code not in (401, 403), path


@pytest.mark.contract("8.2/authorisation", "faults/authorisation", "B-32")
@pytest.mark.parametrize("headers", [{}, basic("admin", "wrong"), basic("unknown"), bearer("wrong")])
def test_guarded_routes_refuse_missing_and_wrong_credentials(node: Node, headers: dict[str, str]) -> None:
    messages = set()
    for number, ((method, _), (path, _)) in enumerate(GUARDED.items()):
        # Each from an address and with a name of its own, or the throttle would answer.
        environ = {"REMOTE_ADDR": f"10.0.0.{number}"}
        node.db.clear_login_failures("user:admin")
        node.db.clear_login_failures("user:unknown")
        answer = node.http.open(path, method=method, headers=headers, environ_base=environ)

        assert answer.status_code == 401, path
        assert answer.headers.getlist("WWW-Authenticate")[0].startswith("Basic ")
        assert answer.json is not None
        messages.add(answer.json["message"])
    assert len(messages) == 1


@pytest.mark.contract(
    "3.9/user", "3.9/camera_admin", "3.9/import", "8.2/authorisation", "faults/authorisation", "B-32", "B-49"
)
@pytest.mark.parametrize("user_id", sorted(ROLES))
def test_guarded_routes_ask_for_their_role(node: Node, user_id: str) -> None:
    held = set(ROLES[user_id])
    for (method, _), (path, needed) in GUARDED.items():
        node.db.clear_login_failures(f"user:{user_id}")
        node.db.clear_login_failures("address:127.0.0.1")
        answer = node.http.open(path, method=method, headers=basic(user_id))

        if user_id == "disabled":
            assert answer.status_code == 401, path
        elif needed is not None and needed <= held:
            assert answer.status_code not in (401, 403), path
        else:
            assert answer.status_code == 403, path
            assert "WWW-Authenticate" not in answer.headers


@pytest.mark.contract("issue-2.4/tokens")
@pytest.mark.parametrize("scope", ["user", "camera_admin"])
def test_tokens_carry_their_scope_and_no_more(node: Node, scope: str) -> None:
    _, secret = node.db.create_api_token("admin", "a program", roles=[scope])

    for (method, _), (path, needed) in GUARDED.items():
        answer = node.http.open(path, method=method, headers=bearer(secret))
        assert (answer.status_code == 403) == (needed != frozenset({scope})), path
        assert answer.status_code != 401


@pytest.mark.contract("issue-2.4/tokens", "B-49")
def test_tokens_end_with_their_account_and_their_revocation(node: Node) -> None:
    token_id, secret = node.db.create_api_token("visitor", "a program")
    assert node.get("/login", headers=bearer(secret)).status_code == 200

    node.db.set_user_enabled("visitor", False)
    assert node.get("/login", headers=bearer(secret)).status_code == 401

    node.db.set_user_enabled("visitor", True)
    assert node.get("/login", headers=bearer(secret)).status_code == 200

    node.db.revoke_api_token(token_id)
    assert node.get("/login", headers=bearer(secret)).status_code == 401


@pytest.mark.contract("B-32")
def test_missing_role_is_named_and_gives_no_challenge(node: Node) -> None:
    answer = node.get("/users", headers=basic("visitor"))

    assert answer.status_code == 403
    assert answer.json is not None
    assert answer.json["code"] == "not-allowed"
    assert "camera_admin" in answer.json["message"]


@pytest.mark.contract("issue-2.4/throttle", "B-47")
def test_failed_logins_are_slowed_down_across_processes(node: Node) -> None:
    def attempt(user_id: str, password: str, address: str) -> int:
        environ = {"REMOTE_ADDR": address}
        return node.get("/login", headers=basic(user_id, password), environ_base=environ).status_code

    answers = [attempt("visitor", "wrong", "10.0.0.1") for _ in range(10)]

    assert answers[0] == 401
    assert answers[-1] == 429
    assert attempt("visitor", PASSWORD, "10.0.0.2") == 429, "the account is guarded whatever the address"
    assert attempt("admin", PASSWORD, "10.0.0.1") == 429, "the address is guarded whatever the account"
    assert attempt("admin", PASSWORD, "10.0.0.2") == 200
    throttled = node.get("/login", headers=basic("visitor", "wrong"))
    assert 1 <= int(throttled.headers["Retry-After"]) <= 300


@pytest.mark.contract("B-47")
def test_a_success_forgets_the_failures_of_the_account(node: Node) -> None:
    for _ in range(4):
        assert node.get("/login", headers=basic("visitor", "wrong")).status_code == 401
    node.db.clear_login_failures("address:127.0.0.1")

    assert node.get("/login", headers=basic("visitor")).status_code == 200
    assert node.get("/login", headers=basic("visitor", "wrong")).status_code == 401
    assert node.get("/login", headers=basic("visitor")).status_code == 200


@pytest.mark.contract("B-32", "faults/authorisation")
@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic YWRtaW4=",
        "Bearer",
        "Bearer ",
        "Digest username=admin",
        "x",
        "Basic /w==",
        "Basic \x80",
    ],
)
def test_credentials_that_cannot_be_read_are_wrong_ones(node: Node, header: str) -> None:
    assert node.get("/login", headers={"Authorization": header}).status_code == 401


@pytest.mark.contract("B-52", "B-54")
def test_pages_of_other_sites_cannot_use_remembered_credentials(node: Node) -> None:
    def delete(**headers: str) -> int:
        return node.http.delete("/users/nobody", headers=basic("admin") | headers).status_code

    assert delete(Origin="https://evil.example") == 403
    assert delete(Origin="null") == 403
    assert delete(Origin="https://localhost") == 200


@pytest.mark.contract("B-52")
def test_reading_changes_nothing(node: Node) -> None:
    record = node.add_file()
    before = node.db.count_entities(), node.db.get_users(), node.db.get_cameras()

    for (method, _), (path, _) in MATRIX.items():
        if method == "GET":
            assert node.get(path, headers=basic("admin")).status_code < 500, path

    assert (node.db.count_entities(), node.db.get_users(), node.db.get_cameras()) == before
    assert node.db.get_audit_log() == []
    assert record.file_id is not None
    assert node.db.get_file(record.file_id) == record
