"""Slowing down whoever guesses passwords."""

from __future__ import annotations

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import TooManyAttemptsError
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock

WHO = "user:ann"


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    return open_database(file_store_path="memory:", clock=clock)


def wait_of(db: MeteorDatabase) -> int:
    try:
        db.check_login_allowed(WHO)
    except TooManyAttemptsError as error:
        return error.retry_after_seconds
    return 0


@pytest.mark.contract("B-47", "issue-2.4/throttle")
def test_waits_double_after_a_few_free_failures(db: MeteorDatabase, clock: StandingClock) -> None:
    waits = []
    for _ in range(16):
        db.record_login_failure(WHO)
        waits.append(wait_of(db))
        clock.move(seconds=waits[-1])
        assert wait_of(db) == 0

    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


@pytest.mark.contract("B-47")
def test_failures_are_forgotten_by_success_and_by_time(db: MeteorDatabase, clock: StandingClock) -> None:
    for _ in range(8):
        db.record_login_failure(WHO)
    assert wait_of(db) == 8

    db.check_login_allowed("user:bob")
    db.clear_login_failures(WHO)
    assert wait_of(db) == 0

    for _ in range(8):
        db.record_login_failure(WHO)
    clock.move(seconds=901)
    db.record_login_failure(WHO)
    assert wait_of(db) == 0


@pytest.mark.contract("B-47", "4/coexistence")
def test_failures_count_across_processes(open_database: OpenDatabase, clock: StandingClock) -> None:
    databases = [open_database(clock=clock), open_database(clock=clock)]

    for number in range(8):
        databases[number % 2].record_login_failure(WHO)

    assert [wait_of(db) for db in databases] == [8, 8]


@pytest.mark.parametrize("name", ["x" * 10_000, "a\x00b", "\ud800"])
def test_any_name_can_be_counted(db: MeteorDatabase, name: str) -> None:
    for _ in range(8):
        db.record_login_failure(f"user:{name}")

    with pytest.raises(TooManyAttemptsError):
        db.check_login_allowed(f"user:{name}")
