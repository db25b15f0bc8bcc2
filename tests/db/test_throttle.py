"""Slowing down whoever guesses passwords."""

from __future__ import annotations

from itertools import count

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.accounts.passwords import PasswordChecker
from meteorpi_model.errors import NotAuthenticatedError, TooManyAttemptsError
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock

WHO, PASSWORD = "ann", "correct horse"
addresses = (f"10.0.0.{number}" for number in count())


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


class QuickChecker(PasswordChecker):
    """Knows the password without hashing: dozens of attempts would take many seconds."""

    def check(self, user_id: str, password: str, stored: str | None) -> bool:
        return password == PASSWORD and stored is not None


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    db = open_database(file_store_path="memory:", clock=clock)
    db.password_checker = QuickChecker()
    db.create_or_update_user(WHO, PASSWORD, None)
    return db


def fail(db: MeteorDatabase, user_id: str = WHO) -> None:
    """Guess wrongly, each time from another address."""
    with pytest.raises(NotAuthenticatedError):
        db.log_in(user_id, "wrong", next(addresses))


def wait_of(db: MeteorDatabase, user_id: str = WHO, address: str = "10.1.0.1") -> int:
    """Seconds until an attempt would be looked at; a successful one forgets the failures of the account."""
    try:
        db.log_in(user_id, PASSWORD, address)
    except TooManyAttemptsError as error:
        return error.retry_after_seconds
    return 0


@pytest.mark.contract("B-47", "issue-2.4/throttle")
def test_waits_double_after_a_few_free_failures(db: MeteorDatabase, clock: StandingClock) -> None:
    waits: list[int] = []
    for _ in range(16):
        fail(db)
        waits.append(0 if len(waits) < 4 else wait_of(db))
        clock.move(seconds=waits[-1])

    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert wait_of(db) == 0


def test_the_first_failures_cost_nothing(db: MeteorDatabase) -> None:
    for _ in range(4):
        fail(db)

    assert wait_of(db) == 0


def test_an_attempt_that_has_to_wait_is_not_counted(db: MeteorDatabase) -> None:
    for _ in range(5):
        fail(db)

    assert [wait_of(db) for _ in range(5)] == [1] * 5


@pytest.mark.contract("B-47")
def test_failures_are_forgotten_by_success_and_by_time(db: MeteorDatabase, clock: StandingClock) -> None:
    for _ in range(4):
        fail(db)
    assert wait_of(db) == 0
    for _ in range(4):
        fail(db)
    assert wait_of(db) == 0

    for _ in range(5):
        fail(db)
    assert wait_of(db) == 1
    clock.move(seconds=901)
    fail(db)
    assert wait_of(db) == 0


def test_an_administrator_can_forget_the_failures(db: MeteorDatabase) -> None:
    for _ in range(5):
        fail(db)

    db.clear_login_failures(f"user:{WHO}")

    assert wait_of(db) == 0


def test_an_address_is_slowed_down_whatever_account_it_tries(db: MeteorDatabase) -> None:
    for number in range(5):
        with pytest.raises(NotAuthenticatedError):
            db.log_in(f"nobody {number}", "wrong", "10.2.0.1")

    assert wait_of(db, address="10.2.0.1") == 1
    assert wait_of(db, address="10.2.0.2") == 0


@pytest.mark.contract("B-47", "4/coexistence")
def test_failures_count_across_processes(
    db: MeteorDatabase, open_database: OpenDatabase, clock: StandingClock
) -> None:
    other = open_database(clock=clock)
    other.password_checker = db.password_checker
    databases = [db, other]

    for number in range(5):
        fail(databases[number % 2])

    assert [wait_of(each) for each in databases] == [1, 1]


@pytest.mark.parametrize("name", ["x" * 10_000, "a\x00b", "\ud800"])
def test_any_name_can_be_counted(db: MeteorDatabase, name: str) -> None:
    for _ in range(5):
        fail(db, name)

    with pytest.raises(TooManyAttemptsError):
        db.log_in(name, "wrong", next(addresses))
