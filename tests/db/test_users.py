"""Accounts: passwords, roles, disabling, cameras, and the last administrator."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_model import User
from meteorpi_model.errors import ConflictError, NotAllowedError, NotFoundError
from tests.conftest import OpenDatabase

ADMIN = ["user", "camera_admin"]


@pytest.fixture
def db(open_database: OpenDatabase) -> MeteorDatabase:
    return open_database(file_store_path="memory:")


@pytest.mark.contract("4.5/create_or_update_user", "4.5/get_user", "4.5/get_users")
def test_account_is_created_then_updated_in_parts(db: MeteorDatabase) -> None:
    assert db.create_or_update_user("ann", None, None) == "none"
    assert db.create_or_update_user("zoë ☄", "pass wörd:", None) == "create"
    assert db.create_or_update_user("ann", "one", ADMIN) == "create"

    assert db.create_or_update_user("ann", "two", None) == "update"
    assert db.get_user("ann", "two") == User("ann", 3)
    assert db.create_or_update_user("ann", None, ["import", "camera_admin"]) == "update"
    assert db.get_user("ann", "two") == User("ann", 6)
    assert db.create_or_update_user("ann", None, None) == "none"

    assert db.get_user("zoë ☄", "pass wörd:") == User("zoë ☄", 1)
    assert [user.user_id for user in db.get_users()] == ["ann", "zoë ☄"]


@pytest.mark.contract("4.5/get_user", "B-47")
@pytest.mark.parametrize(
    ("user_id", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("Ann", "right"),
        ("ann ", "right"),
        ("bob", "right"),
        ("x" * 1000, "right"),
        ("a\x00", "right"),
        ("\ud800", "\ud800"),
        (None, "right"),
        ("ann", None),
    ],
)
def test_wrong_credentials_are_refused_alike(db: MeteorDatabase, user_id: str, password: str) -> None:
    db.create_or_update_user("ann", "right", None)

    with pytest.raises(ValueError, match=r"^wrong user or password$"):
        db.get_user(user_id, password)


@pytest.mark.contract("4.5/passwords")
def test_only_salted_slow_hashes_are_stored(db: MeteorDatabase) -> None:
    db.create_or_update_user("ann", "same", None)
    db.create_or_update_user("bob", "same", None)

    with db.transactions.reading() as connection:
        hashes = connection.execute(select(tables.user_account.c.password_hash)).scalars().all()

    assert len(set(hashes)) == 2
    assert all(stored.startswith("scrypt$14$8$5$") and "same" not in stored for stored in hashes)


@pytest.mark.contract("B-23", "4.5/get_user", "4/coexistence")
def test_changes_of_another_process_count_at_once(open_database: OpenDatabase) -> None:
    here, there = open_database(), open_database()
    here.create_or_update_user("ann", "one", ADMIN)
    here.create_or_update_user("bob", "one", ADMIN)
    assert there.get_user("ann", "one").has_role("camera_admin")

    here.create_or_update_user("ann", None, ["user"])
    assert not there.get_user("ann", "one").has_role("camera_admin")
    here.create_or_update_user("ann", "two", None)
    with pytest.raises(ValueError, match="wrong"):
        there.get_user("ann", "one")
    assert there.get_user("ann", "two").user_id == "ann"
    here.set_user_enabled("ann", False)
    with pytest.raises(ValueError, match="wrong"):
        there.get_user("ann", "two")
    here.delete_user("ann")
    with pytest.raises(ValueError, match="wrong"):
        there.get_user("ann", "two")


@pytest.mark.contract("4.5/create_or_update_user", "B-41", "faults/input")
@pytest.mark.parametrize(
    ("user_id", "password", "roles"),
    [
        ("ann", None, ["user"]),
        ("ann", "", None),
        ("ann", "x" * 1025, None),
        ("", "right", None),
        ("x" * 41, "right", None),
        ("a:b", "right", None),
        ("a\x00", "right", None),
        ("ann", "right", ["user", "root"]),
        ("ann", "right", "user"),
    ],
)
def test_accounts_that_cannot_be_are_value_errors(
    db: MeteorDatabase, user_id: str, password: str | None, roles: list[str] | None
) -> None:
    with pytest.raises(ValueError, match=r"."):
        db.create_or_update_user(user_id, password, roles)

    assert db.get_users() == []


@pytest.mark.contract("4.5/delete_user")
def test_unknown_account_is_deleted_without_error(db: MeteorDatabase) -> None:
    db.create_or_update_user("ann", "one", None)

    db.delete_user("bob")
    db.delete_user("ann")

    assert db.get_users() == []


@pytest.mark.contract("B-48")
def test_last_administrator_can_neither_go_nor_step_down_nor_be_disabled(db: MeteorDatabase) -> None:
    db.create_or_update_user("ann", "one", ADMIN)
    db.create_or_update_user("bob", "one", ADMIN)
    db.create_or_update_user("eve", "one", ["user"])
    db.set_user_enabled("bob", False)

    with pytest.raises(ConflictError):
        db.delete_user("ann")
    with pytest.raises(ConflictError):
        db.create_or_update_user("ann", None, ["user"])
    with pytest.raises(ConflictError):
        db.set_user_enabled("ann", False)
    with pytest.raises(ConflictError):
        db.set_user_roles({"ann": ["user"], "eve": ["import"]})
    assert {user.user_id: user.role_mask for user in db.get_users()} == {"ann": 3, "bob": 3, "eve": 1}

    db.set_user_roles({"ann": ["user"], "eve": ADMIN})
    assert {user.user_id: user.role_mask for user in db.get_users()} == {"ann": 1, "bob": 3, "eve": 3}
    db.delete_user("ann")
    db.delete_user("eve", keep_administrator=False)


@pytest.mark.contract("B-48")
def test_nobody_gives_up_administrating_by_themselves(db: MeteorDatabase) -> None:
    db.create_or_update_user("ann", "one", ADMIN)
    db.create_or_update_user("bob", "one", ADMIN)

    with pytest.raises(ConflictError):
        db.set_user_roles({"ann": ["user"]}, actor="ann")
    with pytest.raises(ConflictError):
        db.set_user_enabled("ann", False, actor="ann")
    db.set_user_roles({"ann": ["user"]}, actor="bob")


@pytest.mark.contract("B-48", "B-38")
def test_two_administrators_cannot_remove_each_other_at_once(open_database: OpenDatabase) -> None:
    databases = [open_database(), open_database()]
    databases[0].create_or_update_user("ann", "one", ADMIN)
    databases[0].create_or_update_user("bob", "one", ADMIN)
    start = threading.Barrier(2)

    def remove(db: MeteorDatabase, user_id: str) -> None:
        start.wait()
        try:
            db.delete_user(user_id)
        except ConflictError:
            return

    threads = [
        threading.Thread(target=remove, args=pair) for pair in zip(databases, ("ann", "bob"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(databases[0].get_users()) == 1


def test_roles_of_an_unknown_account_change_nobody(db: MeteorDatabase) -> None:
    db.create_or_update_user("ann", "one", ["user"])

    with pytest.raises(NotFoundError):
        db.set_user_roles({"ann": ["import"], "bob": ["user"]})
    with pytest.raises(NotFoundError):
        db.set_user_enabled("bob", False)
    with pytest.raises(NotFoundError):
        db.set_user_cameras("bob", [])

    assert db.get_users() == [User("ann", 1)]


@pytest.mark.contract("B-49")
def test_disabled_account_comes_back_as_it_was(db: MeteorDatabase) -> None:
    db.create_or_update_user("ann", "one", ["import"])

    db.set_user_enabled("ann", False)
    assert [account.is_enabled for account in db.get_accounts()] == [False]
    with pytest.raises(ValueError, match="wrong"):
        db.get_user("ann", "one")
    db.set_user_enabled("ann", True)

    assert db.get_user("ann", "one") == User("ann", 4)


@pytest.mark.contract("B-50")
def test_account_is_restricted_to_cameras(db: MeteorDatabase) -> None:
    db.create_or_update_user("ann", "one", ["import"])
    assert db.get_user_cameras("ann") is None
    db.check_camera_allowed("ann", "any")

    db.set_user_cameras("ann", ["b", "a", "b"])
    assert db.get_user_cameras("ann") == ["a", "b"]
    db.check_camera_allowed(User("ann", 4), "a")
    with pytest.raises(NotAllowedError):
        db.check_camera_allowed("ann", "a ")
    db.set_user_cameras("ann", [])
    with pytest.raises(NotAllowedError):
        db.check_camera_allowed("ann", "a")
    assert [account.cameras for account in db.get_accounts()] == [[]]
    db.set_user_cameras("ann", None)
    db.check_camera_allowed("ann", "anything")
