"""API tokens: scope, expiry, revocation."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_model import User
from meteorpi_model.errors import NotAllowedError, NotFoundError
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    db = open_database(file_store_path="memory:", clock=clock)
    db.create_or_update_user("ann", "one", ["user", "import"])
    return db


@pytest.mark.contract("B-47", "issue-2.4/tokens")
def test_token_stands_for_its_account_with_the_roles_both_have(db: MeteorDatabase) -> None:
    _, everything = db.create_api_token("ann", "script")
    _, some = db.create_api_token("ann", "camera", roles=["import"])

    assert db.get_user_by_token(everything) == User("ann", 5)
    assert db.get_user_by_token(some) == User("ann", 4)

    db.create_or_update_user("ann", None, ["user"])
    assert db.get_user_by_token(everything) == User("ann", 1)
    assert db.get_user_by_token(some) == User("ann", 0)


@pytest.mark.contract("issue-2.4/tokens")
def test_secrets_are_not_kept(db: MeteorDatabase) -> None:
    token_id, secret = db.create_api_token("ann", "script")

    with db.transactions.reading() as connection:
        row = connection.execute(select(tables.api_token)).one()

    assert row.token_id == token_id
    assert secret.startswith("mpt_")
    assert secret not in str(tuple(row))


def test_token_ends_with_its_time_its_account_and_its_revocation(
    db: MeteorDatabase, clock: StandingClock
) -> None:
    _, short = db.create_api_token("ann", "short", expires=clock() + timedelta(hours=1))
    revoked_id, revoked = db.create_api_token("ann", "revoked")
    _, last = db.create_api_token("ann", "last")

    db.revoke_api_token(revoked_id)
    db.revoke_api_token(uuid4())
    assert_refused(db, revoked)
    assert db.get_user_by_token(short).user_id == "ann"
    clock.move(hours=1)
    assert_refused(db, short)
    db.set_user_enabled("ann", False)
    assert_refused(db, last)
    db.set_user_enabled("ann", True)
    assert db.get_user_by_token(last).user_id == "ann"
    db.delete_user("ann")
    assert_refused(db, last)
    assert db.get_api_tokens() == []


def assert_refused(db: MeteorDatabase, secret: str) -> None:
    with pytest.raises(ValueError, match="token"):
        db.get_user_by_token(secret)


@pytest.mark.parametrize("secret", ["", "mpt_", "\ud800", "x" * 100_000, "a\x00b"])
def test_what_is_no_token_is_refused(db: MeteorDatabase, secret: str) -> None:
    assert_refused(db, secret)


def test_tokens_are_listed_by_account_with_their_last_use(db: MeteorDatabase, clock: StandingClock) -> None:
    db.create_or_update_user("bob", "one", None)
    first_id, secret = db.create_api_token("ann", "first", roles=["import"])
    created = clock()
    clock.move(minutes=1)
    second_id, _ = db.create_api_token("bob", "second")
    clock.move(minutes=1)
    db.get_user_by_token(secret)
    used = clock()
    clock.move(seconds=59)
    db.get_user_by_token(secret)

    first, second = db.get_api_tokens()
    assert (first.token_id, first.user_id, first.name, first.roles) == (first_id, "ann", "first", ["import"])
    assert (first.created_at, first.last_used_at, first.expires_at) == (created, used, None)
    assert (second.token_id, second.last_used_at) == (second_id, None)
    assert db.get_api_tokens("bob") == [second]


def test_token_cannot_have_more_than_its_account(db: MeteorDatabase) -> None:
    with pytest.raises(NotAllowedError):
        db.create_api_token("ann", "script", roles=["camera_admin"])
    with pytest.raises(NotFoundError):
        db.create_api_token("bob", "script")
    with pytest.raises(ValueError, match="unknown role"):
        db.create_api_token("ann", "script", roles=["root"])
    with pytest.raises(ValueError, match="name"):
        db.create_api_token("ann", "")
