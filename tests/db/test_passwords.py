"""Hashing and checking passwords."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteorpi_db import MeteorDatabase
from meteorpi_db.accounts import passwords, users
from meteorpi_db.accounts.passwords import PasswordChecker, hash_password, verify_password


class Seconds:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return self.passed


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that went through the slow function."""
    seen: list[str] = []

    def verify(password: str, stored: str) -> bool:
        seen.append(password)
        return verify_password(password, stored)

    monkeypatch.setattr(passwords, "verify_password", verify)
    return seen


@settings(max_examples=10)
@given(st.text(), st.text())
def test_only_the_right_password_fits(password: str, other: str) -> None:
    stored = hash_password(password)

    assert verify_password(password, stored)
    assert verify_password(other, stored) == (other == password)


@pytest.mark.contract("B-47")
def test_success_is_remembered_for_a_while(checks: list[str]) -> None:
    seconds, stored = Seconds(), hash_password("right")
    checker = PasswordChecker(seconds=60, monotonic=seconds)

    assert checker.check("ann", "right", stored)
    assert checker.check("ann", "right", stored)
    assert checks == ["right"]
    seconds.passed = 60
    assert checker.check("ann", "right", stored)
    assert checks == ["right"] * 2


@pytest.mark.contract("B-47", "B-23")
def test_failures_other_accounts_and_changed_hashes_are_always_checked(checks: list[str]) -> None:
    stored = hash_password("right")
    checker = PasswordChecker()

    assert checker.check("ann", "right", stored)
    assert not checker.check("ann", "wrong", stored)
    assert not checker.check("ann", "wrong", stored)
    assert checker.check("bob", "right", stored)
    assert checker.check("ann", "right", hash_password("right"))
    assert not checker.check("ann", "right", hash_password("changed"))
    checker.clear()
    assert checker.check("ann", "right", stored)
    assert len(checks) == 7


@pytest.mark.contract("B-47")
def test_unknown_account_costs_what_a_wrong_password_costs(checks: list[str]) -> None:
    checker = PasswordChecker()

    assert not checker.check("nobody", "any", None)
    assert not checker.check("nobody", "any", None)

    assert checks == ["any"] * 2


@pytest.mark.contract("B-47", "B-23")
def test_checker_keeps_no_password() -> None:
    checker = PasswordChecker()
    stored = hash_password("unforgettable")
    checker.check("ann", "unforgettable", stored)

    kept = [thing for thing in gc.get_referents(*vars(checker).values()) if isinstance(thing, str | bytes)]
    assert kept
    assert not any(
        "unforgettable" in (thing if isinstance(thing, str) else thing.decode("latin-1")) for thing in kept
    )


def test_memory_of_checks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "verify_password", lambda *_: True)
    monkeypatch.setattr(passwords, "REMEMBERED_CHECKS", 3)
    seconds = Seconds()
    checker = PasswordChecker(seconds=10, monotonic=seconds)

    for number in range(5):
        assert checker.check("ann", str(number), "hash")
    assert len(checker._remembered) == 3
    seconds.passed = 11
    assert checker.check("ann", "later", "hash")
    assert len(checker._remembered) == 1


FIRST_GENERATION = "$pbkdf2-sha256$20000$MDEyMzQ1Njc4OWFiY2RlZg$kmwiuE6mj4c7seubo2jbpH9hUlWyjniGVwUGLA4aGHc"
"""What passlib 1.7.4 makes of the password below with the salt 0123456789abcdef."""


@pytest.mark.contract("issue-3.5/original-accounts")
def test_hash_of_the_first_generation_is_checked() -> None:
    assert verify_password("pass word ☄", FIRST_GENERATION)
    assert not verify_password("pass word", FIRST_GENERATION)


@pytest.mark.contract("issue-3.5/original-accounts")
def test_hash_of_the_first_generation_is_replaced_at_the_first_login(db: MeteorDatabase) -> None:
    def stored() -> str:
        with db.transactions.reading() as connection:
            return users.require_user(connection, "ada").password_hash

    db.transactions.write(lambda c: users.add_with_hash(c, "ada", FIRST_GENERATION, 0b1011, 0))
    with pytest.raises(ValueError, match="wrong user or password"):
        db.get_user("ada", "pass word")
    assert stored() == FIRST_GENERATION

    assert db.get_user("ada", "pass word ☄").get_roles() == ["user", "camera_admin"]

    assert stored().startswith("scrypt$")
    assert db.log_in("ada", "pass word ☄", None).user_id == "ada"
