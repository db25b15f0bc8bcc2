"""Accounts, tokens, export configurations, camera status and the audit log over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from meteorpi_model import EventSearch, ExportConfiguration, FileRecordSearch, User, schemas
from meteorpi_server import MeteorApp
from meteorpi_server.settings import Settings
from tests.server.conftest import CAMERA, PASSWORD, START, Node, basic, bearer
from tests.system.scripted_peer import COMPLETE, ScriptedPeer

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.engines("sqlite")

EXPORT = {
    "type": "file",
    "target_url": "http://hub.example:12345/import",
    "user_id": "station",
    "password": "target secret",
    "name": "To the hub",
    "description": "Everything",
}


def body(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: dict[str, Any] = answer.json
    return found


def roles_of(node: Node) -> dict[str, list[str]]:
    return {user.user_id: user.get_roles() for user in node.db.get_users()}


@pytest.mark.contract("8.2/login", "2.5/user")
def test_login_shows_the_account(node: Node) -> None:
    user = body(node.get("/login", headers=basic("admin")))["user"]

    jsonschema.validate(user, schemas.load("user"))
    assert User.from_dict(user) == User("admin", 3)
    assert user["roles"] == ["user", "camera_admin"]


@pytest.mark.contract("8.2/users", "8.2/users-post")
def test_posting_an_account_creates_it_or_changes_its_password(node: Node) -> None:
    created = body(node.as_admin("POST", "/users", {"user_id": "new ü/%", "password": "first"}))
    assert {"user_id": "new ü/%", "role_mask": 1, "roles": ["user"]} in created["users"]
    assert [user["user_id"] for user in created["users"]] == sorted(roles_of(node))

    body(node.as_admin("POST", "/users", {"user_id": "admin", "password": "second"}))

    assert node.get("/login", headers=basic("admin")).status_code == 401
    assert body(node.get("/login", headers=basic("admin", "second")))["user"]["roles"] == [
        "user",
        "camera_admin",
    ]


@pytest.mark.contract("8.2/users-post", "faults/http-input")
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"user_id": "x"},
        {"password": "x"},
        {"user_id": "", "password": "x"},
        {"user_id": "x", "password": ""},
        {"user_id": "x" * 41, "password": "x"},
        {"user_id": "a:b", "password": "x"},
        {"user_id": ["x"], "password": "x"},
        {"user_id": "x", "password": None},
    ],
)
def test_incomplete_accounts_are_400(node: Node, document: dict[str, object]) -> None:
    before = roles_of(node)

    assert node.as_admin("POST", "/users", document).status_code == 400
    assert roles_of(node) == before


@pytest.mark.contract("8.2/roles")
def test_roles_change_together(node: Node) -> None:
    changes = [
        {"user_id": "visitor", "roles": ["import"]},
        {"user_id": "nobody", "roles": ["user", "import"]},
    ]

    answer = body(node.as_admin("PUT", "/users/roles", {"new_roles": changes}))

    assert roles_of(node)["visitor"] == ["import"]
    assert roles_of(node)["nobody"] == ["user", "import"]
    assert {"user_id": "visitor", "role_mask": 4, "roles": ["import"]} in answer["users"]


@pytest.mark.contract("8.2/roles")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"user_id": "unknown", "roles": ["user"]}, 404),
        ({"user_id": "nobody", "roles": ["astronomer"]}, 400),
        ({"user_id": "nobody", "roles": "user"}, 400),
        ({"user_id": "nobody"}, 400),
        ("nobody", 400),
    ],
)
def test_one_bad_change_of_roles_changes_nothing(node: Node, change: object, status: int) -> None:
    before = roles_of(node)
    good = {"user_id": "visitor", "roles": ["import"]}

    assert node.as_admin("PUT", "/users/roles", {"new_roles": [good, change]}).status_code == status
    assert roles_of(node) == before


@pytest.mark.contract("B-48")
def test_nobody_removes_themselves_or_the_last_administrator(node: Node) -> None:
    def demote(user_id: str) -> TestResponse:
        return node.as_admin("PUT", "/users/roles", {"new_roles": [{"user_id": user_id, "roles": ["user"]}]})

    assert node.as_admin("DELETE", "/users/admin").status_code == 409
    assert demote("admin").status_code == 409
    assert node.as_admin("PUT", "/users/admin/enabled", {"enabled": False}).status_code == 409
    assert roles_of(node)["admin"] == ["user", "camera_admin"]

    # Another administrator may be removed, until one is left, who cannot be removed by anybody.
    assert demote("only-admin").status_code == 200
    _, secret = node.db.create_api_token("admin", "program", ["camera_admin"])
    assert node.http.delete("/users/admin", headers=bearer(secret)).status_code == 409
    assert "admin" in roles_of(node)


@pytest.mark.contract("8.2/users-delete", "faults/names")
@pytest.mark.parametrize("user_id", ["a/b", "100%", "ä b+c", "%2F"])
def test_accounts_are_deleted_by_their_id_encoded_twice(node: Node, user_id: str) -> None:
    node.db.create_or_update_user(user_id, PASSWORD, None)

    users = body(node.as_admin("DELETE", "/users/" + quote(quote(user_id, safe=""), safe="")))["users"]

    assert user_id not in [user["user_id"] for user in users]
    assert body(node.as_admin("DELETE", "/users/never-was"))["users"] == users


@pytest.mark.contract("B-49")
def test_accounts_can_be_switched_off_altogether(node: Node) -> None:
    body(node.as_admin("PUT", "/users/station/enabled", {"enabled": False}))
    refused = node.http.post("/import", headers=basic("station"), json={"type": "x"})
    body(node.as_admin("PUT", "/users/station/enabled", {"enabled": True}))
    allowed = node.http.post("/import", headers=basic("station"), json={"type": "x"})

    assert refused.status_code == 401
    assert allowed.status_code == 200
    assert node.as_admin("PUT", "/users/station/enabled", {"enabled": "yes"}).status_code == 400
    assert node.as_admin("PUT", "/users/unknown/enabled", {"enabled": True}).status_code == 404


@pytest.mark.contract("B-50", "issue-2.4/cameras")
def test_accounts_can_be_kept_to_some_cameras(node: Node) -> None:
    def put(document: object) -> TestResponse:
        return node.as_admin("PUT", "/users/station/cameras", document)

    assert body(node.as_admin("GET", "/users/station/cameras")) == {"cameras": None}
    assert body(put({"cameras": [CAMERA, "ü"]})) == {"cameras": [CAMERA, "ü"]}
    (account,) = [
        account
        for account in body(node.as_admin("GET", "/accounts"))["accounts"]
        if account["user"]["user_id"] == "station"
    ]
    assert account["cameras"] == [CAMERA, "ü"]
    assert account["enabled"] is True
    assert body(put({"cameras": None})) == {"cameras": None}
    assert put({}).status_code == 400
    assert put({"cameras": CAMERA}).status_code == 400
    assert node.as_admin("PUT", "/users/unknown/cameras", {"cameras": None}).status_code == 404


@pytest.mark.contract("8.2/export-post", "8.2/export-get")
@pytest.mark.parametrize(
    ("kind", "search"), [("file", FileRecordSearch(limit=0)), ("event", EventSearch(limit=0))]
)
def test_new_exports_match_everything_and_are_disabled(
    node: Node, kind: str, search: FileRecordSearch | EventSearch
) -> None:
    config = body(node.as_admin("POST", "/export", EXPORT | {"type": kind}))["config"]

    read = ExportConfiguration.from_dict(config)
    assert read.search == search
    assert (read.enabled, read.name, read.description) == (False, "To the hub", "Everything")
    assert body(node.as_admin("GET", f"/export/{config['config_id']}")) == {"config": config}
    assert body(node.as_admin("GET", "/export")) == {"configs": [config]}


@pytest.mark.contract("0.1/without-exporter")
def test_without_an_exporter_exports_are_kept_and_nothing_is_sent(node: Node) -> None:
    with ScriptedPeer([COMPLETE]).serving() as peer:
        config = body(node.as_admin("POST", "/export", EXPORT | {"target_url": peer.url}))["config"]
        body(node.as_admin("PUT", f"/export/{config['config_id']}", config | {"enabled": True}))
        node.add_file()

        (listed,) = body(node.as_admin("GET", "/export"))["configs"]

    assert listed == config | {"enabled": True}
    assert peer.received == []
    assert [state.total for state in node.db.get_export_states()] == [0]


@pytest.mark.contract("8.2/export")
def test_exports_are_listed_newest_first(node: Node) -> None:
    ids = [body(node.as_admin("POST", "/export", EXPORT))["config"]["config_id"] for _ in range(3)]

    listed = body(node.as_admin("GET", "/export"))["configs"]

    assert [config["config_id"] for config in listed] == ids[::-1]


@pytest.mark.contract("B-44")
def test_passwords_of_exports_never_come_back(node: Node) -> None:
    config = body(node.as_admin("POST", "/export", EXPORT))["config"]
    address = f"/export/{config['config_id']}"
    answers = [node.as_admin("GET", "/export"), node.as_admin("GET", address), node.as_admin("GET", "/audit")]

    assert all("target secret" not in answer.text for answer in answers)
    assert "password" not in config
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


@pytest.mark.contract("8.2/export-put", "B-44")
@pytest.mark.parametrize("masked", [None, "", "********", "•••"])
def test_masked_passwords_stay_as_they_were(node: Node, masked: str | None) -> None:
    config = body(node.as_admin("POST", "/export", EXPORT))["config"]
    address = f"/export/{config['config_id']}"
    changed = config | {"config_name": "renamed", "enabled": True, "password": masked}

    answer = body(node.as_admin("PUT", address, changed))
    absent = body(node.as_admin("PUT", address, {key: changed[key] for key in changed if key != "password"}))

    assert answer == absent == {"message": "Okay"}
    stored = node.db.get_export_configuration(UUID(config["config_id"]))
    assert stored is not None
    assert (stored.password, stored.name, stored.enabled) == ("target secret", "renamed", True)

    body(node.as_admin("PUT", address, changed | {"password": "other"}))
    stored = node.db.get_export_configuration(UUID(config["config_id"]))
    assert stored is not None
    assert stored.password == "other"


@pytest.mark.contract("8.2/export-put", "B-35")
def test_the_id_in_the_path_decides(node: Node) -> None:
    config = body(node.as_admin("POST", "/export", EXPORT))["config"]
    other = "0" * 31 + "1"

    without_id = {key: value for key, value in config.items() if key != "config_id"}
    assert node.as_admin("PUT", f"/export/{config['config_id']}", without_id).status_code == 200
    assert (
        node.as_admin("PUT", f"/export/{config['config_id']}", config | {"config_id": other}).status_code
        == 400
    )
    assert node.as_admin("PUT", f"/export/{other}", without_id).status_code == 404
    assert node.as_admin("PUT", f"/export/{other}", config).status_code == 400
    assert node.as_admin("PUT", "/export/xyz", config).status_code == 400


@pytest.mark.contract("8.2/export-get", "8.2/export-delete")
def test_unknown_exports_are_404_but_may_be_deleted(node: Node) -> None:
    config = body(node.as_admin("POST", "/export", EXPORT))["config"]
    unknown = f"/export/{'0' * 32}"

    missing = node.as_admin("GET", unknown)
    assert missing.status_code == 404
    assert missing.json is not None
    assert missing.json["entity_id"] == "0" * 32
    assert body(node.as_admin("DELETE", unknown)) == {"message": "Okay"}
    assert body(node.as_admin("DELETE", f"/export/{config['config_id']}")) == {"message": "Okay"}
    assert body(node.as_admin("GET", "/export")) == {"configs": []}
    assert node.as_admin("POST", f"{unknown}/resume").status_code == 404


@pytest.mark.contract("8.2/export-post", "B-51", "faults/http-input")
@pytest.mark.parametrize(
    "change",
    [
        {"type": "status"},
        {"type": None},
        {"type": ["file"]},
        {"target_url": "ftp://hub/import"},
        {"target_url": "file:///etc/passwd"},
        {"target_url": "javascript:alert(1)"},
        {"target_url": "hub/import"},
        {"target_url": "http:///import"},
        {"target_url": "http://[::1/import"},
        {"target_url": "http://hub:port/import"},
        {"target_url": "http://user:secret@hub/import"},
        {"target_url": ""},
        {"user_id": None},
        {"password": 5},
        {"name": "x" * 10_000},
    ],
)
def test_exports_that_cannot_be_are_400(node: Node, change: dict[str, object]) -> None:
    assert node.as_admin("POST", "/export", EXPORT | change).status_code == 400
    assert body(node.as_admin("GET", "/export")) == {"configs": []}


@pytest.mark.contract("B-51")
def test_a_node_can_be_kept_to_some_receivers(node: Node) -> None:
    settings = Settings(export_target_hosts=("Hub.example",))
    kept = Node(node.db, MeteorApp(node.db, settings), node.directory)
    from meteorpi_server import admin_api

    admin_api.add_routes(kept.meteor_app)

    allowed = kept.as_admin("POST", "/export", EXPORT)
    config = body(allowed)["config"]
    elsewhere = {"target_url": "http://127.0.0.1/import"}
    refused = kept.as_admin("POST", "/export", EXPORT | elsewhere)
    moved = kept.as_admin("PUT", f"/export/{config['config_id']}", config | elsewhere)

    assert refused.status_code == moved.status_code == 400
    assert "METEORPI_EXPORT_TARGET_HOSTS" in refused.text


@pytest.mark.contract("B-24")
def test_states_show_failures_and_suspension_and_resuming_ends_it(node: Node) -> None:
    node.add_file()
    config = body(node.as_admin("POST", "/export", EXPORT))["config"]
    config_id = UUID(config["config_id"])
    body(node.as_admin("PUT", f"/export/{config_id.hex}", config | {"enabled": True}))
    stored = node.db.get_export_configuration(config_id)
    assert stored is not None
    node.db.mark_entities_to_export(stored)
    node.db.record_export_failure(config_id, "the hub burns", max_failures=1)
    node.db.suspend_export(config_id, datetime(2100, 1, 1))

    (state,) = body(node.as_admin("GET", "/export/states"))["states"]
    resumed = body(node.as_admin("POST", f"/export/{config_id.hex}/resume"))["state"]

    assert (state["pending"], state["total"], state["suspended"]) == (1, 1, True)
    assert state["last_error"] == "the hub burns"
    assert state["next_probe_at"] > state["last_failure_at"]
    assert resumed["suspended"] is False
    stored = node.db.get_export_configuration(config_id)
    assert stored is not None
    assert stored.enabled is True


@pytest.mark.contract("8.2/camera-status")
def test_a_new_status_changes_three_fields_from_now_on(node: Node) -> None:
    before = node.db.get_camera_status(camera_id=CAMERA)
    assert before is not None
    change = {
        "inst_name": "Ünï",
        "inst_url": "http://x",
        "regions": [[{"x": 0, "y": 0.5}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]],
    }

    status = body(node.as_admin("POST", f"/cameras/{CAMERA}/status", change))["status"]

    after = node.db.get_camera_status(camera_id=CAMERA)
    assert after is not None
    assert status == after.as_dict()
    assert (after.inst_name, after.inst_url, after.regions) == ("Ünï", "http://x", change["regions"])
    assert (after.lens, after.location, after.orientation) == (
        before.lens,
        before.location,
        before.orientation,
    )
    assert after.status_id != before.status_id
    assert after.valid_from is not None
    assert after.valid_from > START + timedelta(days=1)
    assert node.db.get_high_water_mark(CAMERA) == after.valid_from
    assert node.db.get_camera_status(time=START, camera_id=CAMERA).status_id == before.status_id  # type: ignore[union-attr]


@pytest.mark.contract("8.2/camera-status")
def test_status_of_an_unknown_camera_cannot_be_edited(node: Node) -> None:
    change = {"inst_name": "x", "inst_url": "y", "regions": []}

    missing = node.as_admin("POST", "/cameras/unknown/status", change)
    bad = node.as_admin("POST", f"/cameras/{CAMERA}/status", change | {"regions": [[{"x": "a"}]]})

    assert missing.status_code == 404
    assert missing.json is not None
    assert missing.json["entity_id"] == "unknown"
    assert bad.status_code == 400
    assert bad.json is not None
    assert bad.json["errors"][0]["pointer"] == "/regions/0/0/x"


@pytest.mark.contract("issue-2.4/tokens")
def test_tokens_are_shown_once_listed_without_secret_and_revoked(node: Node) -> None:
    order = {"user_id": "admin", "name": "cron job", "roles": ["user"], "expires_at": 4_000_000_000_000}
    made = body(node.as_admin("POST", "/tokens", order))
    assert body(node.get("/login", headers=bearer(made["secret"])))["user"]["roles"] == ["user"]

    listed = node.as_admin("GET", "/tokens")
    (token,) = body(listed)["tokens"]
    after = body(node.as_admin("DELETE", f"/tokens/{made['token_id']}"))

    assert made["secret"] not in listed.text
    assert {key: token[key] for key in order} == order
    assert after == {"tokens": []}
    assert node.get("/login", headers=bearer(made["secret"])).status_code == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"user_id": "unknown"}, 404),
        ({"roles": ["astronomer"]}, 400),
        ({"roles": ["import"]}, 403),
        ({"name": ""}, 400),
        ({"expires_at": "soon"}, 400),
    ],
)
def test_tokens_that_cannot_be_are_refused(node: Node, change: dict[str, object], status: int) -> None:
    order = {"user_id": "admin", "name": "x", "roles": ["user"]} | change

    assert node.as_admin("POST", "/tokens", order).status_code == status
    assert node.as_admin("DELETE", "/tokens/xyz").status_code == 400


def test_an_expired_token_is_worth_nothing(node: Node) -> None:
    made = body(node.as_admin("POST", "/tokens", {"user_id": "admin", "name": "x", "expires_at": 1}))

    assert node.get("/login", headers=bearer(made["secret"])).status_code == 401


@pytest.mark.contract("B-59", "issue-2.4/audit")
def test_the_audit_log_says_who_changed_what(node: Node) -> None:
    node.as_admin("POST", "/users", {"user_id": "new", "password": "secret word"})
    node.as_admin("POST", "/users", {"user_id": "new", "password": "secret word"})
    node.as_admin("PUT", "/users/roles", {"new_roles": [{"user_id": "new", "roles": ["import"]}]})
    node.as_admin("PUT", "/users/new/enabled", {"enabled": False})
    node.as_admin("PUT", "/users/new/cameras", {"cameras": ["x"]})
    node.as_admin("DELETE", "/users/new")
    config = body(node.as_admin("POST", "/export", EXPORT))["config"]
    node.as_admin("PUT", f"/export/{config['config_id']}", config)
    node.as_admin("POST", f"/export/{config['config_id']}/resume")
    node.as_admin("DELETE", f"/export/{config['config_id']}")
    token = body(node.as_admin("POST", "/tokens", {"user_id": "admin", "name": "x"}))
    node.as_admin("DELETE", f"/tokens/{token['token_id']}")
    node.as_admin("POST", f"/cameras/{CAMERA}/status", {"regions": []})

    answer = node.as_admin("GET", "/audit")
    entries = body(answer)["entries"]

    assert [entry["action"] for entry in entries][::-1] == [
        "user.create", "user.password", "user.roles", "user.disable", "user.cameras", "user.delete",
        "export.create", "export.update", "export.resume", "export.delete",
        "token.create", "token.revoke", "camera.status",
    ]  # fmt: skip
    assert {entry["actor"] for entry in entries} == {"admin"}
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    assert entries[-1]["subject"] == "new"
    assert all(word not in answer.text for word in ("secret word", "target secret", token["secret"]))


@pytest.mark.contract("B-59")
def test_the_audit_log_is_read_page_by_page(node: Node) -> None:
    for number in range(5):
        node.db.record_audit("somebody", "test", str(number))

    first = body(node.as_admin("GET", "/audit?limit=3"))["entries"]
    second = body(node.as_admin("GET", f"/audit?limit=3&before={first[-1]['entry_id']}"))["entries"]

    assert [entry["subject"] for entry in first + second] == ["4", "3", "2", "1", "0"]
    for query in ("limit=x", "before=-1", "limit=" + "9" * 30):
        assert node.as_admin("GET", f"/audit?{query}").status_code == 400
    assert node.as_admin("GET", "/audit?limit=0").status_code == 200


def test_refused_changes_are_not_in_the_audit_log(node: Node) -> None:
    node.as_admin("DELETE", "/users/admin")
    node.as_admin("POST", "/users", {"user_id": "x"})
    node.http.delete("/users/nobody", headers=basic("visitor"))

    assert body(node.as_admin("GET", "/audit"))["entries"] == []
