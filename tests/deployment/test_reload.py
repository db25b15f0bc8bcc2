"""A hub is reloaded while a station pushes to it, under every server: all arrives, once, with equal bytes."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_db.testing.processes import wait_until
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import SERVERS
from tests.deployment.station import SIZE_BYTES, WAIT_SECONDS, ask, holdings_of
from tests.system.replication import PASSWORD, SHORT, USER, add_night, export_to, holdings

pytestmark = [pytest.mark.engines("sqlite"), pytest.mark.contract("issue-3.2/reload")]

FILES, EVENTS = 14, 3
ENTITIES = FILES + EVENTS
HELD_UPLOAD = 4


class HeldUpload:
    """Stops one upload in its middle, the one with the number `HELD_UPLOAD`.

    Attributes:
        begun: set when it waits; head and name of the content have left by then.
        go: lets it go on.
    """

    def __init__(self, db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self._numbers = itertools.count(1)
        self._open = db.open_content
        monkeypatch.setattr(db, "open_content", self._open_content)

    @contextmanager
    def _open_content(self, file_id: UUID) -> Iterator[Iterator[bytes]]:
        with self._open(file_id) as chunks:
            if next(self._numbers) == HELD_UPLOAD:
                self.begun.set()
                assert self.go.wait(WAIT_SECONDS)
            yield chunks


def push_all(station: MeteorDatabase) -> None:
    """Export until everything has arrived, whatever becomes of the other end meanwhile."""
    exporter = MeteorExporter(
        station, defer_on_failure_seconds=0, max_failures_before_disable=10**9, timeouts=SHORT
    )

    def is_done() -> bool:
        exporter.run_round()
        return all(state.total > 0 and state.pending == 0 for state in station.get_export_states())

    try:
        wait_until(is_done, 2 * WAIT_SECONDS, "the export")
    finally:
        exporter.close()


def imported(node: DeployedNode) -> Counter[object]:
    """How often each entity was imported, by the node's own audit log."""
    rows = ask(node, "select subject from audit_entry where action in ('import.event', 'import.file')")
    return Counter(subject for (subject,) in rows)


@pytest.mark.parametrize("server", SERVERS)
def test_all_arrives_once_at_a_hub_that_is_reloaded_in_the_middle_of_an_upload(
    deploy: Callable[..., DeployedNode],
    db: MeteorDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
) -> None:
    hub = deploy(SERVERS[server])
    hub.add_account(USER, PASSWORD, "import")
    add_night(db, tmp_path, files=FILES, events=EVENTS, size=SIZE_BYTES)
    export_to(db, f"{hub.url}/import")
    upload = HeldUpload(db, monkeypatch)

    with ThreadPoolExecutor(2) as pool:
        push = pool.submit(push_all, db)
        assert upload.begun.wait(WAIT_SECONDS)
        reload = pool.submit(hub.reload)
        upload.go.set()
        reload.result(2 * WAIT_SECONDS)
        push.result(3 * WAIT_SECONDS)

    assert len(imported(hub)) == ENTITIES
    assert set(imported(hub).values()) == {1}
    monkeypatch.undo()
    assert holdings(db) == holdings_of(hub)
