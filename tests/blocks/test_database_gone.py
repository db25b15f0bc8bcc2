"""The database as the block routes use it: never while bytes move, waited for, and found again."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient
from sqlalchemy.pool import QueuePool

from meteorpi_db import MeteorDatabase
from meteorpi_db.connections import POOL_OVERFLOW, POOL_SIZE
from meteorpi_db.testing.processes import PrivateServer
from meteorpi_server.settings import Settings
from tests.blocks.signed_in import add_users, signed_in
from tests.blocks.test_routes import CONTENT, FILES, make_app, put

if TYPE_CHECKING:
    from typing_extensions import Buffer


@pytest.fixture
def client(db: MeteorDatabase) -> FlaskClient:
    add_users(db, "anna")
    return make_app(db).app.test_client()


def in_use(db: MeteorDatabase) -> int:
    pool = db.transactions.engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


class Watched(io.BytesIO):
    """A body that looks at something each time that it is read."""

    def __init__(self, content: bytes, look: Callable[[], int]) -> None:
        super().__init__(content)
        self._look = look
        self.seen: set[int] = set()

    def readinto(self, buffer: Buffer, /) -> int:
        self.seen.add(self._look())
        return super().readinto(buffer)


@pytest.mark.contract("K-410")
@pytest.mark.engines("sqlite", "postgresql")
def test_no_connection_is_held_while_bytes_move(client: FlaskClient, db: MeteorDatabase) -> None:
    prefix = client.post("/api/v0/prefix", headers=signed_in("anna")).json["prefix"]  # type: ignore[index]
    body = Watched(CONTENT, lambda: in_use(db))

    stored = client.post(
        f"{FILES}/{prefix}/a", input_stream=body, content_length=len(CONTENT), headers=signed_in("anna")
    )
    reply = client.application.test_client().get(f"{FILES}/{prefix}/a")

    assert (stored.status_code, body.seen) == (204, {0})
    with reply:
        assert in_use(db) == 0
        assert reply.data == CONTENT


@pytest.mark.contract("K-410")
@pytest.mark.engines("sqlite")
def test_who_waits_too_long_for_the_database_is_told_when_to_ask_again(
    client: FlaskClient, db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings(db_wait_seconds=3).engine_options() == {"pool_timeout": 3}
    monkeypatch.setattr(db.transactions.engine.pool, "_timeout", 0.01)
    with ExitStack() as stack:
        for _ in range(POOL_SIZE + POOL_OVERFLOW):
            stack.enter_context(db.transactions.reading())
        reply = client.get(f"{FILES}/p/a")
    assert (reply.status_code, reply.json["code"]) == (503, "busy")  # type: ignore[index]
    assert int(reply.headers["Retry-After"]) > 0
    assert client.get(f"{FILES}/p/a").status_code == 404


@pytest.mark.contract("KD-24", "J-04/database")
@pytest.mark.engines("postgresql")
def test_a_database_that_was_restarted_costs_no_request(
    client: FlaskClient, db: MeteorDatabase, request: pytest.FixtureRequest
) -> None:
    server: PrivateServer = request.getfixturevalue("postgres_server")
    prefix = client.post("/api/v0/prefix", headers=signed_in("anna")).json["prefix"]  # type: ignore[index]
    put(client, f"{prefix}/a")
    with ExitStack() as stack:  # several connections, all of which will be dead
        for _ in range(3):
            stack.enter_context(db.transactions.reading())

    server.stop()
    try:
        gone = client.get(f"{FILES}/{prefix}/a")
    finally:
        server.start()

    assert (gone.status_code, gone.json["code"]) == (503, "unavailable")  # type: ignore[index]
    assert client.get(f"{FILES}/{prefix}/a").data == CONTENT
    assert put(client, f"{prefix}/b").status_code == 204
