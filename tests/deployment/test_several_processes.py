"""A hub served by several processes on PostgreSQL: nothing that they have to agree on is in their memory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_db.testing.processes import wait_until
from meteorpi_db.testing.servers import PASSWORD as DB_PASSWORD
from meteorpi_db.testing.servers import USER as DB_USER
from tests.components import started
from tests.deployment.servers import GunicornNode
from tests.system.replication import PASSWORD, SHORT, USER, add_night, export_to, holdings

pytestmark = pytest.mark.engines("postgresql")
STATIONS = 3
FILES, EVENTS = 30, 10
ENTITIES = STATIONS * (FILES + 2 * EVENTS + EVENTS)


@pytest.fixture
def hub(db_path: str) -> Iterator[GunicornNode]:
    """Four processes of four threads each."""
    settings = {"db_path": db_path, "db_user": DB_USER, "db_password": DB_PASSWORD}
    with ExitStack() as stack:
        node = started(stack, lambda: GunicornNode(settings, processes=4))
        node.add_account(USER, PASSWORD, "import")
        yield node


def make_station(directory: Path, hub: GunicornNode) -> MeteorDatabase:
    directory.mkdir()
    station = MeteorDatabase(db_path=directory / "station.db", file_store_path=directory / "files")
    add_night(station, directory, files=FILES, events=EVENTS, size=20_000)
    export_to(station, f"{hub.url}/import")
    return station


def push_all(station: MeteorDatabase) -> None:
    """Export until everything has arrived, whatever becomes of the processes at the other end."""
    exporter = MeteorExporter(
        station, defer_on_failure_seconds=0, max_failures_before_disable=1000, timeouts=SHORT
    )

    def is_done() -> bool:
        exporter.run_round()
        return all(state.total > 0 and state.pending == 0 for state in station.get_export_states())

    wait_until(is_done, 120, "the export")
    exporter.close()


@contextmanager
def searching(url: str) -> Iterator[list[int]]:
    """Ask for pages of files all the time, as visitors do; gives the numbers of results so far."""
    counts: list[int] = []
    is_over = threading.Event()

    def search() -> None:
        with requests.Session() as session:
            while not is_over.is_set():
                try:
                    page = session.get(f"{url}/files", params={"limit": 1000}, timeout=30).json()
                except requests.RequestException:
                    continue  # the process that would have answered was killed
                ids = [record["file_id"] for record in page["files"]]
                assert len(set(ids)) == len(ids) == page["count"]
                counts.append(len(ids))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(search)
        try:
            yield counts
        finally:
            is_over.set()
        future.result(60)


@pytest.mark.contract("issue-3.8/processes")
def test_stations_push_to_four_processes_while_visitors_search_and_one_is_killed(
    hub: GunicornNode, db_path: str, tmp_path: Path
) -> None:
    stations = [make_station(tmp_path / f"station_{number}", hub) for number in range(STATIONS)]
    with searching(hub.url) as counts, ThreadPoolExecutor(STATIONS) as pool:
        pushes = [pool.submit(push_all, station) for station in stations]
        wait_until(lambda: bool(counts) and counts[-1] > ENTITIES // 10, 60, "some progress")
        first = hub.processes()
        os.kill(first[0], signal.SIGKILL)
        for push in pushes:
            push.result(180)

    assert len(first) == 4
    assert counts == sorted(counts)
    with MeteorDatabase(
        db_path=db_path, file_store_path=hub.data / "files", db_user=DB_USER, db_password=DB_PASSWORD
    ) as at_hub:
        held = holdings(at_hub)
    for station in stations:
        for kind, entities in holdings(station).items():
            assert entities.items() <= held[kind].items()
        station.close()
    assert len(held["events"]) == STATIONS * EVENTS
    assert len(held["files"]) == len(held["contents"]) == ENTITIES - STATIONS * EVENTS
