"""Replication while processes are killed, lines cut and databases gone: whole in the end, nothing twice."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_db.testing.processes import free_port, wait_until
from meteorpi_db.testing.servers import PostgresServer
from meteorpi_model.errors import UnavailableError
from tests.system.certificates import make_certificates
from tests.system.faulty_line import FaultyLine
from tests.system.replication import (
    PASSWORD,
    SHORT,
    USER,
    Hub,
    add_event,
    add_file,
    add_night,
    add_statuses,
    export_to,
    holdings,
    process,
    tell,
    word_of,
)
from tests.system.scripted_peer import COMPLETE, Answer, Received, ScriptedPeer

OpenDatabase = Callable[..., MeteorDatabase]
MANY = 10**6
KILLS = {"sqlite": 50, "firebird": 8, "firebird-embedded": 8, "postgresql": 8}
LEASE_SECONDS = 0.3


@pytest.fixture
def station(db: MeteorDatabase) -> MeteorDatabase:
    return db


@pytest.fixture
def hub_db(open_database: OpenDatabase, new_database: Callable[[], str], tmp_path: Path) -> MeteorDatabase:
    return open_database(new_database(), file_store_path=str(tmp_path / "hub_files"))


@pytest.fixture
def hub(hub_db: MeteorDatabase) -> Iterator[Hub]:
    with Hub(hub_db).serving() as hub:
        yield hub


def imports_of(db: MeteorDatabase) -> Counter[str]:
    """How often each entity was imported, by the audit log."""
    entries = db.get_audit_log(10_000)
    return Counter(entry.subject for entry in entries if entry.action in {"import.event", "import.file"})


@pytest.mark.contract("faults/exporter-killed", "B-15", "B-26")
def test_exporter_killed_at_random_again_and_again(
    station: MeteorDatabase, hub: Hub, engine_name: str, tmp_path: Path
) -> None:
    kills = KILLS[engine_name]
    add_night(station, tmp_path, files=kills * 2, events=kills, size=20_000)
    export_to(station, hub.url)
    dice = random.Random(20150401)
    with process("exporters", station.db_path, station.file_store_path, LEASE_SECONDS) as exporters:
        for _ in range(kills):
            tell(exporters, "start one")
            child = int(word_of(exporters))
            assert word_of(exporters) == "ready"
            enough = hub.requests + dice.randint(0, 12)
            wait_until(lambda enough=enough: hub.requests >= enough, 60, "some progress")  # type: ignore[misc]
            threading.Event().wait(dice.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            assert word_of(exporters) == "ended"

    assert len(imports_of(hub.db)) < kills * 3  # even the last kill hit an exporter at work
    finish(station)

    assert holdings(hub.db) == holdings(station)
    assert set(imports_of(hub.db).values()) == {1}
    counts = hub.db.count_entities()
    assert (counts["files"], counts["events"]) == (kills * 4, kills)


def finish(station: MeteorDatabase) -> None:
    """Let an exporter of this process do what is left, once the lease of a killed one has run out."""
    exporter = MeteorExporter(station, lease_seconds=LEASE_SECONDS, timeouts=SHORT)

    def is_done() -> bool:
        exporter.run_round()
        return all(state.pending == 0 and state.total > 0 for state in station.get_export_states())

    wait_until(is_done, 60, "the rest of the export")
    exporter.close()


@pytest.mark.contract("faults/receiver-killed", "B-29")
def test_receiver_killed_at_random_and_restarted(
    station: MeteorDatabase, hub_db: MeteorDatabase, engine_name: str, tmp_path: Path
) -> None:
    kills = KILLS[engine_name] // 5
    add_night(station, tmp_path, files=kills * 2, events=kills * 4, size=200_000)
    hub_db.create_or_update_user(USER, PASSWORD, ["import"])
    port = free_port()
    export_to(station, f"http://127.0.0.1:{port}/import")
    exporter = MeteorExporter(
        station, defer_on_failure_seconds=0, max_failures_before_disable=MANY, timeouts=SHORT
    )
    thread = threading.Thread(target=exporter.run_round)
    dice = random.Random(6)

    for number in range(kills + 1):
        with process("hub", hub_db.db_path, hub_db.file_store_path, port) as child:
            assert word_of(child) == "serving"
            if number == 0:
                thread.start()
            if number < kills:
                threading.Event().wait(dice.uniform(0.02, 0.3))
                child.kill()
                child.wait()
            else:
                thread.join(120)
    exporter.close()

    assert not thread.is_alive()
    assert holdings(hub_db) == holdings(station)


@pytest.mark.engines("sqlite")
@pytest.mark.contract("faults/receiver-killed", "B-29")
def test_receiver_restarted_in_the_middle_of_an_event_goes_on_where_it_was(
    station: MeteorDatabase, hub_db: MeteorDatabase, tmp_path: Path
) -> None:
    """Between an upload and the request that names the event again; nothing has to be sent twice."""
    add_statuses(station)
    event = add_event(station, tmp_path, 1, files=3)
    requests: list[str] = []
    with ExitStack() as stack:
        first = stack.enter_context(Hub(hub_db).serving())
        urls = {"hub": first.url}

        def script(request: Received) -> Answer:
            requests.append(request.kind)
            if requests.count("data") == 2 and request.kind == "cached_entity":
                again = Hub(hub_db)  # a new application: nothing in memory survives
                urls["hub"] = stack.enter_context(again.serving()).url
            return forward(urls["hub"], request)

        peer = stack.enter_context(ScriptedPeer(script).serving())
        export_to(station, peer.url, kinds="event")
        exporter = MeteorExporter(station, timeouts=SHORT)

        assert exporter.run_round() == 1
        exporter.close()

    assert hub_db.get_event(event.event_id) == event if event.event_id else False
    assert (requests.count("event"), requests.count("data")) == (1, 3)


def forward(url: str, request: Received) -> Answer:
    """Ask the hub what a scripted peer was asked."""
    import requests as http

    headers = {name: request.headers[name] for name in ("Authorization", "Content-Type")}
    answer = http.post(url + request.path, data=request.body, headers=headers, timeout=10)
    reply: Answer = answer.json()
    return reply


@pytest.mark.engines("sqlite")
@pytest.mark.contract("faults/uploads")
@pytest.mark.parametrize("cut_after", [1, 700, 2_500, 20_000, 150_000, 299_000])
def test_connection_cut_in_the_middle_is_made_good_by_the_next_attempt(
    cut_after: int, station: MeteorDatabase, hub: Hub, tmp_path: Path
) -> None:
    add_statuses(station)
    add_file(station, tmp_path, 1, size=300_000)
    with FaultyLine(hub.port) as line:
        export_to(station, f"http://127.0.0.1:{line.port}/import", kinds="file")
        exporter = MeteorExporter(station, defer_on_failure_seconds=0, timeouts=SHORT)
        line.cut_after(cut_after)

        exporter.run_round()
        exporter.close()

    assert line.cuts == 1
    assert holdings(hub.db) == holdings(station)


@pytest.mark.engines("sqlite")
@pytest.mark.contract("faults/uploads", "B-28", "B-30")
def test_content_damaged_at_the_station_never_arrives(
    station: MeteorDatabase, hub: Hub, tmp_path: Path
) -> None:
    add_statuses(station)
    bad, good = add_file(station, tmp_path, 1), add_file(station, tmp_path, 2)
    assert bad.file_id is not None
    assert good.file_id is not None
    path = station.file_path_for_id(bad.file_id)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    export_to(station, hub.url, kinds="file")
    exporter = MeteorExporter(station, defer_on_failure_seconds=0, timeouts=SHORT)

    exporter.run_round()
    exporter.close()

    assert list(hub.db.store.ids()) == [good.file_id]
    assert not hub.db.has_file_id(bad.file_id)
    assert "asks again" in str(station.get_export_states()[0].last_error)


@pytest.mark.engines("sqlite")
@pytest.mark.contract("B-45", "B-27")
def test_peer_with_an_unknown_certificate_is_refused_until_its_authority_is_configured(
    station: MeteorDatabase, tmp_path: Path
) -> None:
    add_statuses(station)
    add_file(station, tmp_path, 1)
    certificates = make_certificates(tmp_path)
    exporter = MeteorExporter(
        station, defer_on_failure_seconds=0, max_failures_before_disable=1, timeouts=SHORT
    )
    with ScriptedPeer([COMPLETE], certificates.server_context()).serving() as peer:
        (configuration,) = export_to(station, peer.url, kinds="file")
        exporter.run_round()
        assert "TLS" in str(station.get_export_states()[0].last_error)
        assert peer.received == []

        assert configuration.config_id is not None
        station.create_or_update_export_configuration(configuration)
        station.set_export_ca_file(configuration.config_id, str(certificates.authority))
        exporter.run_round()

    exporter.close()
    assert peer.kinds == ["file"]


@pytest.mark.contract("B-26")
def test_two_exporter_processes_on_one_database_send_each_task_once(
    station: MeteorDatabase, engine_name: str, tmp_path: Path
) -> None:
    add_statuses(station)
    with ExitStack() as stack:
        peer = stack.enter_context(ScriptedPeer([COMPLETE]).serving())
        export_to(station, peer.url, kinds="file")
        exporters = [
            stack.enter_context(process("export", station.db_path, station.file_store_path, 10))
            for _ in range(2)
        ]
        for exporter in exporters:
            assert word_of(exporter) == "ready"
        records = [add_file(station, tmp_path, number) for number in range(30)]
        wait_until(
            lambda: station.get_export_states()[0].pending == 0 and len(peer.received) >= 30, 60, "export"
        )
        for exporter in exporters:
            exporter.terminate()
            assert exporter.wait(20) == 0

    sent = Counter(request.document["file"]["file_id"] for request in peer.received)
    assert sent == {record.file_id.hex: 1 for record in records if record.file_id}


@pytest.mark.contract("faults/database-gone", "B-25")
@pytest.mark.engines("postgresql")
def test_database_that_goes_away_during_a_round_ends_it_and_the_next_one_goes_on(
    station: MeteorDatabase, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    add_statuses(station)
    for number in range(4):
        add_file(station, tmp_path, number)
    done: list[str] = []

    def script(request: Received) -> Answer:
        if len(done) == 1:
            postgres_server.kill()
        done.append(request.document["file"]["file_id"])
        return COMPLETE

    exporter = MeteorExporter(station, timeouts=SHORT)
    with ScriptedPeer(script).serving() as peer:
        export_to(station, peer.url, kinds="file")
        try:
            with pytest.raises(UnavailableError):
                exporter.run_round()
        finally:
            postgres_server.start()
        wait_until(lambda: runs(exporter) and not station.get_export_states()[0].pending, 60, "the export")
    exporter.close()

    assert len(set(done)) == 4
    assert len(done) <= 5  # the one that could not be noted as complete was sent again


def runs(exporter: MeteorExporter) -> bool:
    try:
        exporter.run_round()
    except UnavailableError:
        return False
    return True


@pytest.mark.engines("sqlite")
@pytest.mark.contract("faults/database-gone")
def test_database_locked_by_somebody_for_a_while_delays_a_round(
    station: MeteorDatabase, hub: Hub, tmp_path: Path
) -> None:
    import sqlite3

    add_night(station, tmp_path, files=3, events=1)
    export_to(station, hub.url)
    exporter = MeteorExporter(station, timeouts=SHORT)
    thread = threading.Thread(target=exporter.run_round)
    with sqlite3.connect(str(station.db_path)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        somebody.rollback()
    thread.join(20)
    exporter.close()

    assert not thread.is_alive()
    assert holdings(hub.db) == holdings(station)
