"""Who may read, by links too; who sends what is large; and what becomes of who has read too much."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import traffic
from meteorpi_db.blocks.directory import BlockDirectory
from meteorpi_db.blocks.tables import block_content
from meteorpi_model.errors import (
    AccountingUnavailableError,
    ConfigurationError,
    NotFoundError,
    UnavailableError,
)
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.block_accounts import Caller, Limits
from meteorpi_server.block_accounts.base import NOBODY
from meteorpi_server.block_accounts.local import LocalAccounts
from meteorpi_server.block_api.signed_links import LinkSigner
from meteorpi_server.block_api.slow_reading import SlowReading
from meteorpi_server.content import Chunks
from meteorpi_server.settings import Settings
from tests.blocks.signed_in import add_users, signed_in
from tests.blocks.test_routes import CONTENT, FILES, TAG, Client, make_app, put

pytestmark = pytest.mark.engines("sqlite")
KEY, OLD_KEY = "k" * 16, "o" * 16
ACCEL = {"METEORPI_OFFLOAD": "x-accel-redirect"}


@pytest.fixture
def open_client(db: MeteorDatabase) -> Callable[..., FlaskClient]:
    add_users(db, "anna", "bert")
    return lambda **settings: make_app(db, **settings).app.test_client()


def prefix_of(client: FlaskClient, user: str = "anna") -> str:
    """A new prefix with the object a."""
    prefix = str(client.post("/api/v0/prefix/", headers=signed_in(user)).json["prefix"])  # type: ignore[index]
    put(client, f"{prefix}/a")
    return prefix


def link_to(client: FlaskClient, name: str, query: str = "link=60", user: str = "anna") -> str:
    reply = client.post(f"{FILES}/{name}?{query}", headers=signed_in(user))
    assert reply.status_code == 201, reply.data
    assert reply.json is not None
    assert reply.headers["Location"] == reply.json["link"]
    return str(reply.json["link"])


class _InTheDark(LocalAccounts):
    """Knows who calls, and cannot say what others may use."""

    def limits_of(self, account_id: str, caller: Caller = NOBODY) -> Limits:
        raise AccountingUnavailableError("nobody can say now", retry_after_seconds=5)


@pytest.mark.contract("K-205", "KD-09")
def test_reads_go_on_and_are_counted_while_nobody_knows_what_may_be_read(db: MeteorDatabase) -> None:
    add_users(db, "anna")
    meteor_app = MeteorApp(db, Settings())
    block_api.add_routes(meteor_app, accounts=_InTheDark(BlockDirectory(db, 1 << 30, 0)))
    meteor_app.app.test_client_class = Client
    client = meteor_app.app.test_client()
    prefix = prefix_of(client)

    reads = [client.get(f"{FILES}/{prefix}/a") for _ in range(2)]

    assert [reply.data for reply in reads] == [CONTENT, CONTENT]
    quota = client.get("/api/v0/quota", headers=signed_in("anna")).json
    assert quota is not None
    assert quota["traffic"] == 2 * len(CONTENT)


@pytest.mark.contract("K-139", "K-207")
@pytest.mark.parametrize("policy", ["account", "owner", "link"])
def test_a_link_opens_one_object(open_client: Callable[..., FlaskClient], policy: str) -> None:
    client = open_client(block_read_policy=policy)
    prefix = prefix_of(client)
    put(client, f"{prefix}/b")

    link = link_to(client, f"{prefix}/a")

    assert client.get(link).data == CONTENT
    assert client.head(link).status_code == 200
    assert client.get(link, headers={"Range": "bytes=1-2"}).data == CONTENT[1:3]
    for wrong in (link.replace("/a?", "/b?"), link[:-1] + ("A" if link[-1] != "A" else "B"), f"{link}x"):
        assert client.get(wrong).status_code == 404
    assert client.get(f"{FILES}/{prefix}/a").status_code == 403
    assert client.get(f"{FILES}/{prefix}/a", headers=signed_in("anna")).data == CONTENT
    others = client.get(f"{FILES}/{prefix}/a", headers=signed_in("bert")).status_code
    assert others == (200 if policy == "account" else 404)


@pytest.mark.contract("K-139")
def test_a_link_may_be_used_so_often(open_client: Callable[..., FlaskClient]) -> None:
    client = open_client(block_read_policy="link")
    link = link_to(client, f"{prefix_of(client)}/a", "link=60&uses=2")

    client.head(link)
    assert [client.get(link).status_code for _ in range(3)] == [200, 200, 404]


@pytest.mark.contract("K-139")
def test_links_are_for_owners_and_have_an_end(open_client: Callable[..., FlaskClient]) -> None:
    client = open_client(block_read_policy="link", block_link_seconds=100)
    prefix = prefix_of(client)

    def status(path: str, query: str, user: str | None = "anna") -> int:
        headers = {} if user is None else signed_in(user)
        return client.post(f"{FILES}/{prefix}/{path}?{query}", headers=headers).status_code

    assert status("a", "link=60", "bert") == 403
    assert status("a", "link=60", None) == 403
    assert status("missing", "link=60") == 404
    for query in ("link=", "link=0", "link=101", "link=-1", "link=1e1", "link=1&uses=0", "link=1&uses=x"):
        assert status("a", query) == 400
    assert status("a", "link=100") == 201


@pytest.mark.contract("K-139")
def test_links_are_good_until_their_end_and_while_their_key_is_known() -> None:
    node = LinkSigner("", lambda: b"n" * 32)
    signer, rotated = LinkSigner(OLD_KEY, bytes), LinkSigner(f"{KEY} {OLD_KEY}", bytes)
    link = signer.sign("p", "a", 100, "0" * 32)

    assert signer.counter_of(link, "p", "a", 99.9) == rotated.counter_of(link, "p", "a", 0) == "0" * 32
    assert node.counter_of(node.sign("p", "a", 100), "p", "a", 0) == ""
    for other, text, path, now in (
        (signer, link, "a", 100.0),
        (signer, link, "b", 0.0),
        (LinkSigner(KEY, bytes), link, "a", 0.0),
        (node, link, "a", 0.0),
        (signer, "", "a", 0.0),
        (signer, link.replace("0." + "0" * 32, "0."), "a", 0.0),
        (signer, "☄", "a", 0.0),
    ):
        with pytest.raises(NotFoundError):
            other.counter_of(text, "p", path, now)
    with pytest.raises(ConfigurationError):
        LinkSigner("short", bytes)


@pytest.mark.contract("K-139", "I-09")
def test_a_node_without_a_key_makes_no_links_and_takes_none() -> None:
    def none() -> bytes:
        raise ConfigurationError("no place for a key")

    link = LinkSigner(KEY, none).sign("p", "a", 100)
    with pytest.raises(UnavailableError, match="LINK_KEYS"):
        LinkSigner("", none).sign("p", "a", 100)
    with pytest.raises(NotFoundError):
        LinkSigner("", none).counter_of(link, "p", "a", 0)


@pytest.mark.contract("K-207")
@pytest.mark.parametrize("policy", ["account", "owner", "link"])
def test_a_denied_read_does_not_tell_what_is_there(
    open_client: Callable[..., FlaskClient], policy: str
) -> None:
    client = open_client(block_read_policy=policy)
    prefix = prefix_of(client)
    for headers in ({}, signed_in("bert") if policy != "account" else {}):
        replies = [
            client.get(f"{FILES}/{name}", headers=headers) for name in (f"{prefix}/a", f"{prefix}/x", "no/x")
        ]
        assert len({(reply.status_code, reply.json["detail"]) for reply in replies}) == 1  # type: ignore[index]


def sent(db: MeteorDatabase) -> int:
    with db.transactions.reading() as connection:
        return traffic.sent_in(connection, "local:anna", traffic.month_of(db.clock()))


@pytest.mark.contract("K-138", "K-500/block_offload", "K-500/block_offload_min")
def test_large_objects_are_left_to_the_web_server(db: MeteorDatabase) -> None:
    add_users(db, "anna", "bert")
    meteor_app = make_app(db, block_offload="accel", block_offload_min=len(CONTENT))
    client = meteor_app.app.test_client()
    prefix = prefix_of(client)
    put(client, f"{prefix}/small", b"small")
    [content] = [each for each in db.store.ids() if db.store.read(each, 9) != b"small"]
    url, small = f"{FILES}/{prefix}/a", f"{FILES}/{prefix}/small"

    left = client.get(url, environ_overrides=ACCEL)
    part = client.get(url, environ_overrides=ACCEL, headers={"Range": "bytes=1-10"})

    with db.store.local_path(content) as path:
        assert left.headers["X-Accel-Redirect"] == f"/_meteorpi_files{path}"
    assert (left.status_code, left.data, left.headers["ETag"]) == (200, b"", TAG)
    assert left.headers["Content-Security-Policy"] == "sandbox"
    assert "X-Accel-Redirect" in part.headers
    own = [
        client.get(url),  # nobody in front who could
        client.get(small, environ_overrides=ACCEL),
        client.get(url, environ_overrides=ACCEL, headers={"If-Match": TAG}),
        client.get(url, environ_overrides=ACCEL, headers={"Range": "bytes=0-1,3-4"}),
        client.head(url, environ_overrides=ACCEL),
        client.get(url, environ_overrides=ACCEL, headers={"If-None-Match": TAG}),
    ]
    assert not any("X-Accel-Redirect" in reply.headers for reply in own)
    assert [len(reply.data) for reply in own] == [len(CONTENT), 5, len(CONTENT), len(CONTENT), 0, 0]
    with meteor_app.upkeep:
        pass
    assert sent(db) == 4 * len(CONTENT) + 5 + 10


@pytest.mark.contract("K-138", "K-500/block_offload", "K-500/block_offload_seconds")
def test_large_objects_are_left_to_the_object_store(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_users(db, "anna", "bert")
    meteor_app = make_app(db, block_offload="redirect", block_offload_min=100, block_offload_seconds=7)
    client = meteor_app.app.test_client()
    url = f"{FILES}/{prefix_of(client)}/a"
    assert client.get(url).data == CONTENT, "a store that has no addresses"

    def address(content_id: UUID, method: str, seconds: int, **options: object) -> str:
        return f"https://store.example/{method}/{seconds}/{options['content_type']}"

    monkeypatch.setattr(meteor_app.db.stores.blocks, "url", address)
    reply = client.get(url)

    assert (reply.status_code, reply.data) == (307, b"")
    assert reply.headers["Location"] == "https://store.example/GET/7/application/octet-stream"
    assert reply.headers["Cache-Control"] == "private, no-store"
    assert client.head(url).status_code == 200
    with meteor_app.upkeep:
        pass
    assert sent(db) == 2 * len(CONTENT)


@pytest.mark.contract("K-222")
def test_beyond_the_month_reading_goes_on_slowly(
    open_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(block_traffic_default=10, block_traffic_soft_rate=1 << 30)
    prefix, original = prefix_of(client), SlowReading.slowed
    slowed: list[str] = []

    def noting(reading: SlowReading, chunks: Chunks, account_id: str) -> Chunks:
        slowed.append(account_id)
        return original(reading, chunks, account_id)

    monkeypatch.setattr(SlowReading, "slowed", noting)

    replies = [client.get(f"{FILES}/{prefix}/a") for _ in range(3)]

    assert [reply.data for reply in replies] == [CONTENT] * 3
    assert slowed == ["local:anna"] * 2


@pytest.mark.contract("K-222")
def test_all_who_read_of_an_account_share_its_rate() -> None:
    class Clockwork:
        def __init__(self) -> None:
            self.closed = 0

        def __iter__(self) -> Clockwork:
            return self

        def __next__(self) -> bytes:
            return b"x"

        def close(self) -> None:
            self.closed += 1

    slow = SlowReading(10**9)
    first, second = slow.slowed(Clockwork(), "a"), slow.slowed(Clockwork(), "a")

    assert (next(first), next(second)) == (b"x", b"x")
    assert first._pace is second._pace  # type: ignore[attr-defined]
    assert slow.slowed(Clockwork(), "b")._pace is not first._pace  # type: ignore[attr-defined]
    assert [SlowReading(rate).chunk_bytes for rate in (1, 1 << 20, 1 << 40)] == [4096, 1 << 18, 1 << 20]
    assert not SlowReading(0).is_offered


@pytest.mark.contract("KD-12")
@pytest.mark.parametrize("settings", [{}, {"block_append_only": True}])
def test_damaged_bytes_are_not_served_until_they_are_mended(
    db: MeteorDatabase, settings: dict[str, bool]
) -> None:
    add_users(db, "anna", "bert")
    client = make_app(db, **settings).app.test_client()
    name = f"{prefix_of(client)}/a"
    db.transactions.write(lambda c: c.execute(update(block_content).values(is_corrupt=True)))

    damaged = client.get(f"{FILES}/{name}")
    known = client.get(f"{FILES}/{name}", headers={"If-None-Match": TAG})
    mended = put(client, name)

    assert (damaged.status_code, damaged.json["code"]) == (503, "corrupt")  # type: ignore[index]
    assert (known.status_code, mended.status_code) == (304, 204)
    assert client.get(f"{FILES}/{name}").data == CONTENT
    assert client.get("/api/v0/quota", headers=signed_in("anna")).json["size"] == len(CONTENT)  # type: ignore[index]
