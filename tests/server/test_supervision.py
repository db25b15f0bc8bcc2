"""What a service manager is told, over a real socket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from meteorpi_server.supervision import Supervisor
from tests.service_manager import ServiceManager, service_manager

pytestmark = pytest.mark.contract("issue-3.4/watchdog")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as listener:
        yield listener


def heard(manager: ServiceManager) -> list[str]:
    """Everything said since it was last asked; messages between processes of one machine are never late."""
    lines: list[str] = []
    while (more := manager.hear(0)) is not None:
        lines += more
    return lines


def test_start_work_and_end_are_told(manager: ServiceManager) -> None:
    supervisor = Supervisor.from_environ(manager.environment())

    supervisor.ready("serving")
    supervisor.status("busy")
    supervisor.beat("serve")
    supervisor.stopping(30)

    assert heard(manager) == [
        "READY=1",
        "STATUS=serving",
        "STATUS=busy",
        "WATCHDOG=1",
        "STOPPING=1",
        "STATUS=stopping",
        "EXTEND_TIMEOUT_USEC=45000000",
    ]


def test_abstract_addresses_are_reached() -> None:
    manager = ServiceManager(f"@meteorpi-{uuid4().hex}")
    try:
        Supervisor.from_environ(manager.environment()).ready("serving")

        assert heard(manager) == ["READY=1", "STATUS=serving"]
    finally:
        manager.close()


def test_heart_beats_four_times_in_the_time_of_the_watchdog_however_often_it_is_asked(
    manager: ServiceManager,
) -> None:
    clock = Clock()
    supervisor = Supervisor(manager.address, watchdog_seconds=40, monotonic=clock)

    for _ in range(400):
        supervisor.beat("serve")
        clock.seconds += 0.1

    assert heard(manager) == ["WATCHDOG=1"] * 4


def test_heart_stops_when_one_of_its_parts_falls_silent(manager: ServiceManager) -> None:
    clock = Clock()
    supervisor = Supervisor(manager.address, watchdog_seconds=4, monotonic=clock)
    supervisor.expect("serve")
    supervisor.expect("export")

    supervisor.beat("serve")
    assert heard(manager) == []
    supervisor.beat("export")
    assert heard(manager) == ["WATCHDOG=1"]
    for _ in range(100):
        clock.seconds += 1
        supervisor.beat("serve")
    assert heard(manager) == []
    supervisor.beat("export")
    assert heard(manager) == ["WATCHDOG=1"]


def test_watchdog_of_another_process_is_not_ours(manager: ServiceManager) -> None:
    theirs = manager.environment() | {"WATCHDOG_PID": str(os.getppid())}
    supervisor = Supervisor.from_environ(theirs)

    supervisor.beat("serve")
    supervisor.ready("serving")

    assert heard(manager) == ["READY=1", "STATUS=serving"]


@pytest.mark.parametrize("watchdog", ["", "0", "soon"])
def test_without_watchdog_the_heart_is_silent(manager: ServiceManager, watchdog: str) -> None:
    supervisor = Supervisor.from_environ({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": watchdog})

    supervisor.beat("serve")

    assert heard(manager) == []


def test_without_service_manager_nothing_is_sent(
    manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor.from_environ({"WATCHDOG_USEC": "1000000"})

    supervisor.ready("serving")
    supervisor.beat("serve")
    supervisor.stopping()

    assert heard(manager) == []
    assert not caplog.records


def test_service_manager_that_is_gone_stops_no_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(str(tmp_path / "nobody"))

    supervisor.ready("serving")

    assert "service manager not reached" in caplog.text
