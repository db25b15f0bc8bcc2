"""A node that pushes is stopped and started again, under every server: nothing is lost or repeated (B-58)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import SERVERS
from tests.deployment.station import WAIT_SECONDS, HoldingHub, fill, holdings_of, wait_for_all
from tests.system.replication import holdings

pytestmark = pytest.mark.engines("sqlite")

FILES, EVENTS = 6, 3
ENTITIES = FILES + EVENTS
MOST_UNDER_WAY = 2  # one of each configuration, while none has been completed yet
RELOADING = [name for name, server in SERVERS.items() if server.reload_signal is not None]
SETTINGS = {"export": True, "mark_interval_seconds": 1, "defer_on_failure_seconds": 0}

Deploy = Callable[..., DeployedNode]


@pytest.mark.contract("issue-3.3/stop", "B-58")
@pytest.mark.parametrize("server", SERVERS)
def test_stop_in_the_middle_of_a_push_is_clean_and_the_restart_goes_on(
    deploy: Deploy, db: MeteorDatabase, server: str
) -> None:
    """A server that takes longer than five seconds is killed, which its exit status tells."""
    hub = HoldingHub(db)
    node = deploy(SERVERS[server], SETTINGS)
    with hub.serving():
        hub.go.clear()
        fill(node, hub.url, files=FILES, events=EVENTS)
        assert hub.is_held.wait(WAIT_SECONDS)

        node.stop()
        exit_status, left = node.exit_status, node.all_processes()
        hub.go.set()
        wait_until(lambda: hub.is_idle, WAIT_SECONDS, "the end of the uploads that were held")
        node.start()
        wait_for_all(node)

    assert (exit_status, left) == (0, [])
    assert len(hub.announced) == ENTITIES
    assert hub.announced.total() <= ENTITIES + MOST_UNDER_WAY
    assert set(hub.effects().values()) == {1}
    assert holdings(db) == holdings_of(node)


@pytest.mark.contract("issue-3.2/reload", "B-58")
@pytest.mark.parametrize("server", RELOADING)
def test_reload_of_the_sender_in_the_middle_of_a_push_loses_and_repeats_nothing(
    deploy: Deploy, db: MeteorDatabase, server: str
) -> None:
    hub = HoldingHub(db)
    node = deploy(SERVERS[server], SETTINGS)
    with hub.serving():
        hub.go.clear()
        fill(node, hub.url, files=FILES, events=EVENTS)
        assert hub.is_held.wait(WAIT_SECONDS)

        node.reload()
        hub.go.set()
        wait_for_all(node)

    wait_until(lambda: bool(node.processes()), WAIT_SECONDS, "the processes of the application")
    assert len(hub.announced) == ENTITIES
    assert hub.announced.total() <= ENTITIES + MOST_UNDER_WAY
    assert set(hub.effects().values()) == {1}
    assert holdings(db) == holdings_of(node)
