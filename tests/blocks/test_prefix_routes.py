"""Prefixes through the routes: gone with everything, changed by administrators, limited in number; and a node
that others ask about its accounts."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.testing.processes import wait_until
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.block_accounts import AccountOptions, open_accounts
from meteorpi_server.block_api import leaving
from meteorpi_server.block_api.leaving import LeavingPrefixes
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.blocks.signed_in import PASSWORD, add_users, signed_in
from tests.blocks.test_routes import FILES, make_app, put

pytestmark = pytest.mark.engines("sqlite")
SECRET = "nobody guesses this"
PREFIXES = "/api/v0/prefix"


@pytest.fixture
def open_app(db: MeteorDatabase) -> Callable[..., MeteorApp]:
    add_users(db, "anna", "bert")
    return lambda **settings: make_app(db, **settings)


def create(client: FlaskClient, user: str = "anna") -> TestResponse:
    return client.post(PREFIXES, headers=signed_in(user))


def prefix_of(client: FlaskClient, user: str = "anna") -> str:
    return str(create(client, user).json["prefix"])  # type: ignore[index]


@pytest.mark.contract("C/prefix-removal")
def test_a_prefix_goes_with_everything_below_it(open_app: Callable[..., MeteorApp]) -> None:
    meteor_app = open_app()
    client = meteor_app.app.test_client()
    prefix = prefix_of(client)
    url = f"{PREFIXES}/{prefix}?recursive=1"
    for number in range(5):
        put(client, f"{prefix}/blocks/{number}", str(number).encode())

    others = client.delete(url, headers=signed_in("bert"))
    begun = client.delete(url, headers=signed_in("anna"))
    again = client.delete(url, headers=signed_in("anna"))

    assert [reply.status_code for reply in (others, begun, again)] == [403, 202, 404]
    assert client.get(f"{FILES}/{prefix}/blocks/1").status_code == 404
    assert client.get(f"{FILES}/{prefix}/", headers=signed_in("anna")).status_code == 404
    assert put(client, f"{prefix}/blocks/x", b"late").status_code == 404
    assert client.get(PREFIXES, headers=signed_in("anna")).json == {"prefixes": []}

    def used() -> int:
        return int(client.get("/api/v0/quota", headers=signed_in("anna")).json["size"])  # type: ignore[index]

    assert used() > 0
    with meteor_app.upkeep:
        wait_until(lambda: used() == 0, 60, "removal")


@pytest.mark.contract("C/prefix-removal")
def test_an_empty_prefix_goes_at_once(open_app: Callable[..., MeteorApp]) -> None:
    client = open_app().app.test_client()
    assert (
        client.delete(f"{PREFIXES}/{prefix_of(client)}?recursive=1", headers=signed_in("anna")).status_code
        == 204
    )


@pytest.mark.contract("C/prefix-removal")
@pytest.mark.parametrize("text", ["false", "", "yes"])
def test_nothing_goes_without_a_plain_yes(open_app: Callable[..., MeteorApp], text: str) -> None:
    client = open_app().app.test_client()
    prefix = prefix_of(client)
    put(client, f"{prefix}/a")

    reply = client.delete(f"{PREFIXES}/{prefix}?recursive={text}", headers=signed_in("anna"))

    assert reply.status_code == 400
    assert client.get(f"{FILES}/{prefix}/a").status_code == 200


@pytest.mark.contract("C/prefix-removal")
def test_work_that_another_process_left_is_done_and_told(open_app: Callable[..., MeteorApp]) -> None:
    meteor_app = open_app()
    client = meteor_app.app.test_client()
    prefix = prefix_of(client)
    for number in range(3):
        put(client, f"{prefix}/{number}", b"x")
    client.delete(f"{PREFIXES}/{prefix}?recursive=1", headers=signed_in("anna"))
    register = meteor_app.app.extensions["meteorpi_blocks"]["block"].register
    told: list[BlockEvent] = []

    other = LeavingPrefixes(register, told.extend)  # of a process that did not get the request
    other.look()
    other.look()

    assert [(event.prefix, event.path, event.change) for event in told] == [
        (prefix, str(number), -1) for number in range(3)
    ]
    assert register.used_by("local:anna") == 0


@pytest.mark.contract("C/prefix-removal")
def test_much_work_is_done_in_several_goes(
    open_app: Callable[..., MeteorApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "_MOST_STEPS", 1)
    meteor_app = open_app()
    client = meteor_app.app.test_client()
    for _ in range(3):
        prefix = prefix_of(client)
        put(client, f"{prefix}/a", b"x")
        client.delete(f"{PREFIXES}/{prefix}?recursive=1", headers=signed_in("anna"))
    service = meteor_app.app.extensions["meteorpi_blocks"]["block"]

    service.leaving.look()
    used = service.register.used_by("local:anna")
    with meteor_app.upkeep:
        wait_until(lambda: service.register.used_by("local:anna") == 0, 60, "removal")

    assert used == 2


def basic(user: str) -> dict[str, str]:
    text = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


@pytest.mark.contract("K-230", "C/prefix-change")
def test_an_administrator_changes_prefixes_of_others(
    open_app: Callable[..., MeteorApp], db: MeteorDatabase
) -> None:
    db.create_or_update_user("boss", PASSWORD, ["user", "camera_admin"])
    _, secret = db.create_api_token("boss", "tests")
    _, weak = db.create_api_token("anna", "tests")
    client = open_app().app.test_client()
    prefix = prefix_of(client)
    put(client, f"{prefix}/a")

    def change(headers: dict[str, str], **document: Any) -> int:
        return client.patch(f"{PREFIXES}/{prefix}", json=document, headers=headers).status_code

    bearer, weak_bearer = ({"Authorization": f"Bearer {each}"} for each in (secret, weak))
    assert change(signed_in("anna"), append_only=True) == 200
    assert client.delete(f"{FILES}/{prefix}/a", headers=signed_in("anna")).status_code == 403
    refused = [
        change(headers, append_only=False)
        for headers in (signed_in("anna"), basic("anna"), signed_in("bert"), weak_bearer, {})
    ]
    assert refused == [403] * 5
    assert change({"Authorization": "Bearer none"}, append_only=False) == 403

    assert change(basic("boss"), append_only=False, label="of boss") == 200
    assert client.delete(f"{FILES}/{prefix}/a", headers=signed_in("anna")).status_code == 204
    assert change(bearer, quota=5) == 200
    assert put(client, f"{prefix}/a", b"123456").status_code == 402
    assert client.put(f"{FILES}/{prefix}/a", data=b"1", headers=basic("boss")).status_code == 403
    audit = [(entry.actor, entry.action, entry.subject, entry.detail) for entry in db.get_audit_log()]
    assert audit[:2] == [
        ("boss", "block-prefix.change", prefix, "quota"),
        ("boss", "block-prefix.change", prefix, "is_append_only, label"),
    ]


@pytest.mark.contract("K-212")
def test_numbers_of_prefixes_and_objects_are_limited(open_app: Callable[..., MeteorApp]) -> None:
    client = open_app(block_max_prefixes=2, block_max_objects=2).app.test_client()
    prefix, other = prefix_of(client), prefix_of(client)

    refused = create(client)
    for name in (f"{prefix}/a", f"{other}/a", f"{other}/a"):
        assert put(client, name).status_code == 204
    full = put(client, f"{other}/b")

    assert [(reply.status_code, reply.json["code"]) for reply in (refused, full)] == [  # type: ignore[index]
        (402, "quota-reached")
    ] * 2
    client.delete(f"{PREFIXES}/{other}?recursive=1", headers=signed_in("anna"))
    assert create(client).status_code == 201


@pytest.mark.contract("K-232")
def test_names_that_are_digests_are_verified(open_app: Callable[..., MeteorApp], db: MeteorDatabase) -> None:
    client = open_app(block_verify_names="blocks").app.test_client()

    reply = put(client, f"{prefix_of(client)}/blocks/{'0' * 64}")

    assert (reply.status_code, reply.json["code"]) == (422, "digest-mismatch")  # type: ignore[index]
    assert list(db.store.ids()) == []


@pytest.fixture
def provider(open_app: Callable[..., MeteorApp]) -> Iterator[str]:
    """Address of a node that answers about its accounts."""
    meteor_app = open_app(block_accounting_routes=True, block_accounting_secret=SECRET)
    server = StandaloneServer(meteor_app.app, Settings(host="127.0.0.1"), port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join(60)


@pytest.mark.contract("C/internal-user", "A.4/auth", "A.4/user_id")
def test_one_node_asks_another_about_its_accounts(provider: str, db: MeteorDatabase) -> None:
    options = AccountOptions(source="remote", accounting_url=provider, accounting_secret=SECRET)

    with closing(open_accounts(options, directory=None)) as accounts:  # type: ignore[arg-type]
        anna = accounts.identify(signed_in("anna")["Authorization"])
        bert = accounts.identify(signed_in("bert")["Authorization"])

        assert [anna.account_id, bert.account_id] == ["1", "2"]
        assert (anna.quota_bytes, anna.is_active) == (2 << 30, True)
        assert accounts.limits_of("2").monthly_traffic_bytes == 20 << 30


@pytest.mark.contract("C/internal-user")
def test_a_node_answers_about_accounts_only_where_it_is_told_to(
    open_app: Callable[..., MeteorApp], db: MeteorDatabase
) -> None:
    question = {"json": {"user_id": 1}, "headers": {"APISECRET": SECRET}}
    silent = open_app().app.test_client()
    with pytest.raises(ConfigurationError):
        open_app(block_accounting_routes=True)
    assert silent.post("/api/v0/internal/user/", **question).status_code == 404

    meteor_app = MeteorApp(db, Settings(block_accounting_secret=SECRET))
    block_api.add_routes(meteor_app, accounting_routes=True)
    open_client = meteor_app.app.test_client()
    for end in ("", "/"):
        known = open_client.post(f"/api/v0/internal/user{end}", **question)
        assert (known.status_code, known.json) == (404, {"error": "unknown user"})
    refused = open_client.post("/api/v0/internal/user/", json={"user_id": 1})
    large = open_client.post("/api/v0/internal/user/", data=bytes(1 << 17), headers={"APISECRET": SECRET})
    assert (refused.status_code, large.status_code) == (403, 400)
