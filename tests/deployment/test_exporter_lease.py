"""One exporter per database, however many processes load the script; a killed one is succeeded in time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import ApacheNode
from tests.deployment.station import (
    WAIT_SECONDS,
    HoldingHub,
    database_of,
    exporting_process,
    fill,
    holdings_of,
    wait_for_all,
)
from tests.system.replication import holdings

pytestmark = pytest.mark.engines("sqlite")

PROCESSES = 4
FILES, EVENTS = 6, 3
ENTITIES = FILES + EVENTS  # the files of an event go with it
TAKE_OVER_SECONDS = 30
IN_VAIN = "export round done tasks=0"

Deploy = Callable[..., DeployedNode]


def rounds_in_vain(node: DeployedNode) -> int:
    return (node.directory / "error.log").read_text(errors="replace").count(IN_VAIN)


@pytest.mark.contract("issue-3.3/one-exporter", "B-26")
def test_of_four_processes_one_exports(deploy: Deploy, db: MeteorDatabase) -> None:
    hub = HoldingHub(db)
    node = deploy(
        ApacheNode,
        {"export": True, "mark_interval_seconds": 1, "log_level": "DEBUG"},
        processes=PROCESSES,
    )
    with hub.serving():
        hub.go.clear()
        fill(node, hub.url, files=FILES, events=EVENTS)
        assert hub.is_held.wait(WAIT_SECONDS)
        owner, before = exporting_process(node), rounds_in_vain(node)
        # All the others have had their turn, several times, while one is at work.
        wait_until(lambda: rounds_in_vain(node) >= before + 3 * (PROCESSES - 1), WAIT_SECONDS, "the rounds")
        assert exporting_process(node) == owner
        assert owner in node.processes()
        hub.go.set()
        wait_for_all(node)

    assert len(node.processes()) == PROCESSES
    assert len(hub.announced) == ENTITIES
    assert set(hub.announced.values()) == {1}
    assert set(hub.effects().values()) == {1}
    assert holdings(db) == holdings_of(node)


@pytest.mark.contract("issue-3.3/take-over", "B-26")
def test_another_process_takes_over_from_one_that_was_killed_in_the_middle_of_a_push(
    deploy: Deploy, db: MeteorDatabase
) -> None:
    """The rounds of all processes are an hour apart, so only the lease can tell them to begin."""
    hub = HoldingHub(db)
    settings: dict[str, Any] = {"export": True, "mark_interval_seconds": 3600}
    node = deploy(ApacheNode, settings, processes=PROCESSES)
    with hub.serving():
        hub.go.clear()
        fill(node, hub.url, files=FILES, events=EVENTS)
        abandon_lease(node)
        assert hub.is_held.wait(WAIT_SECONDS)
        killed = exporting_process(node)
        assert killed is not None
        assert killed in node.processes()

        os.kill(killed, signal.SIGKILL)
        hub.go.set()
        announced = hub.announced.total()
        wait_until(lambda: hub.announced.total() > announced, TAKE_OVER_SECONDS, "the take-over")

        wait_for_all(node)
    wait_until(
        lambda: len(node.processes()) == PROCESSES, WAIT_SECONDS, "a process in place of the killed one"
    )
    assert killed not in node.processes()
    assert len(hub.announced) == ENTITIES
    # Of what the killed process had under way the hub was told again, and each had one effect.
    assert hub.announced.total() <= ENTITIES + 2
    assert set(hub.effects().values()) == {1}
    assert holdings(db) == holdings_of(node)


def abandon_lease(node: DeployedNode) -> None:
    """Let the lease look as a process leaves it that was killed long ago."""
    program = (
        "import sys; from meteorpi_db import MeteorDatabase; db = MeteorDatabase(*sys.argv[1:]);"
        " db.acquire_lease('exporter', 'killed:0:', 0.001); db.close()"
    )
    node.run([sys.executable, "-c", program, database_of(node), str(node.settings["file_store"])])
