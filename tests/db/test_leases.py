"""Leases: one owner at a time, for a limited time."""

from __future__ import annotations

import threading

import pytest

from meteorpi_db import MeteorDatabase
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock


@pytest.mark.contract("B-26")
def test_lease_has_one_owner_until_it_is_given_back_or_runs_out(open_database: OpenDatabase) -> None:
    clock = StandingClock()
    db = open_database(clock=clock)

    assert db.acquire_lease("exporter", "one", 10)
    assert db.acquire_lease("exporter", "one", 10)
    assert not db.acquire_lease("exporter", "two", 10)
    assert db.acquire_lease("another", "two", 10)
    clock.move(seconds=9)
    assert db.renew_lease("exporter", "one", 10)
    clock.move(seconds=9)
    assert not db.acquire_lease("exporter", "two", 10)
    clock.move(seconds=1)
    assert not db.renew_lease("exporter", "one", 10)
    assert db.acquire_lease("exporter", "two", 10)
    assert not db.renew_lease("exporter", "one", 10)
    assert not db.release_lease("exporter", "one")
    assert db.release_lease("exporter", "two")
    assert db.acquire_lease("exporter", "three", 0.5)


@pytest.mark.contract("B-26", "4/coexistence")
def test_of_many_that_ask_at_once_one_gets_it(open_database: OpenDatabase) -> None:
    databases = [open_database() for _ in range(4)]
    start, got = threading.Barrier(4), []

    def ask(number: int, db: MeteorDatabase) -> None:
        start.wait()
        if db.acquire_lease("exporter", str(number), 60):
            got.append(number)

    threads = [threading.Thread(target=ask, args=item) for item in enumerate(databases)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 1
    assert databases[0].renew_lease("exporter", str(got[0]), 60)


@pytest.mark.contract("faults/input")
@pytest.mark.parametrize("name", ["", "x" * 65, "a\x00b"])
def test_names_that_cannot_be_kept_are_refused(open_database: OpenDatabase, name: str) -> None:
    with pytest.raises(ValueError, match="lease"):
        open_database().acquire_lease(name, "one", 10)
