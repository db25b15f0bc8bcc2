"""Work that several want at the same time is done once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from meteorpi_db.testing.processes import wait_until
from meteorpi_server.block_accounts.flights import Flights

WAIT_SECONDS = 60


def test_error_is_everybodys_and_does_not_stay() -> None:
    flights: Flights[str] = Flights(WAIT_SECONDS)
    has_begun, release = threading.Event(), threading.Event()

    def fail() -> str:
        has_begun.set()
        release.wait(WAIT_SECONDS)
        raise OSError("on demand")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flights.run, "name", fail)
        assert has_begun.wait(WAIT_SECONDS)
        second = pool.submit(flights.run, "name", lambda: "other")
        wait_until(second.running, WAIT_SECONDS, "a second one")
        release.set()
        with pytest.raises(OSError, match="on demand"):
            first.result(WAIT_SECONDS)

    assert flights.run("name", lambda: "later") == "later"


def test_nobody_waits_without_end() -> None:
    flights: Flights[str] = Flights(0.01)
    has_begun, release = threading.Event(), threading.Event()

    def work() -> str:
        has_begun.set()
        release.wait(WAIT_SECONDS)
        return "done"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(flights.run, "name", work)
        assert has_begun.wait(WAIT_SECONDS)
        with pytest.raises(TimeoutError):
            flights.run("name", lambda: "other")
        release.set()

        assert first.result(WAIT_SECONDS) == "done"
