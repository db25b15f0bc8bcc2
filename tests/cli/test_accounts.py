"""``users`` and ``tokens``."""

from __future__ import annotations

from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import NotAuthenticatedError
from tests.cli.conftest import Meteorpi


@pytest.mark.contract("14.4/user")
def test_account_is_created_with_its_password_from_standard_input(
    meteorpi: Meteorpi, node: MeteorDatabase
) -> None:
    done = meteorpi(
        "users", "set", "ada", "--role", "user", "--role", "import", "--password-file", "-", given="sesame\n"
    )

    assert done.code == 0
    assert node.get_user("ada", "sesame").get_roles() == ["user", "import"]
    assert [(entry.actor, entry.action) for entry in node.get_audit_log()] == [
        ("command line", "user.create")
    ]


@pytest.mark.contract("14.4/user")
def test_given_parts_of_an_account_are_changed_and_the_rest_kept(
    meteorpi: Meteorpi, node: MeteorDatabase, tmp_path: Path
) -> None:
    node.create_or_update_user("ada", "old", ["user"])
    (tmp_path / "password").write_text("new\n")

    meteorpi("users", "set", "ada", "--password-file", tmp_path / "password")
    meteorpi("users", "set", "ada", "--camera", "cam1", "--camera", "cam2")

    assert node.get_user("ada", "new").get_roles() == ["user"]
    (row,) = meteorpi("users", "list", "--json").rows
    assert (row["user_id"], row["roles"], row["cameras"]) == ("ada", ["user"], ["cam1", "cam2"])
    meteorpi("users", "set", "ada", "--any-camera", "--disable")
    assert node.get_user_cameras("ada") is None
    with pytest.raises(NotAuthenticatedError):
        node.get_user("ada", "new")


@pytest.mark.contract("14.4/user")
def test_users_are_listed_for_people(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.create_or_update_user("ada", "x", ["user", "camera_admin"])

    done = meteorpi("users", "list")

    assert "ada" in done.out
    assert "user, camera_admin" in done.out


@pytest.mark.contract("14.4/user")
def test_unknown_role_is_wrong_usage(meteorpi: Meteorpi) -> None:
    assert meteorpi("users", "set", "ada", "--role", "emperor").code == 2


@pytest.mark.contract("14.4/user")
def test_account_is_deleted_only_when_confirmed(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.create_or_update_user("ada", "x", None)

    assert meteorpi("users", "delete", "ada", given="n\n").code == 130
    assert len(node.get_users()) == 1
    assert meteorpi("users", "delete", "ada", given="y\n").code == 0
    assert node.get_users() == []
    assert meteorpi("users", "delete", "ada", "--yes").code == 5


@pytest.mark.contract("B-48")
def test_last_administrator_stays(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.create_or_update_user("ada", "x", ["user", "camera_admin"])

    done = meteorpi("users", "delete", "ada", "--yes")

    assert done.code == 1
    assert "[conflict]" in done.err


@pytest.mark.contract("issue-2.4/tokens")
def test_token_is_made_listed_and_revoked(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.create_or_update_user("ada", "x", ["user", "import"])

    made = meteorpi("tokens", "create", "ada", "station", "--role", "import", "--json").json
    (listed,) = meteorpi("tokens", "list", "--json").rows

    assert node.get_user_by_token(made["secret"]).get_roles() == ["import"]
    assert (listed["token_id"], listed["name"]) == (made["token_id"], "station")
    assert made["secret"] not in str(listed)
    assert meteorpi("tokens", "revoke", made["token_id"]).code == 0
    assert meteorpi("tokens", "list", "--json").rows == []
