"""Two nodes over real HTTP: a night arrives whole, also from and at nodes of the first generation."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_model import NSString
from tests.system.old_node import OldExporter, OldReceiver
from tests.system.replication import (
    PASSWORD,
    SHORT,
    START,
    USER,
    Hub,
    add_event,
    add_file,
    add_night,
    add_statuses,
    content_of,
    export_to,
    holdings,
)

OpenDatabase = Callable[..., MeteorDatabase]


@pytest.fixture
def station(db: MeteorDatabase) -> MeteorDatabase:
    return db


@pytest.fixture
def hub(
    open_database: OpenDatabase, new_database: Callable[[], str], file_store_at: Callable[[str], str]
) -> Iterator[Hub]:
    db = open_database(new_database(), file_store_path=file_store_at("hub_files"))
    with Hub(db).serving() as hub:
        yield hub


@pytest.fixture
def exporter(station: MeteorDatabase) -> Iterator[MeteorExporter]:
    exporter = MeteorExporter(station, timeouts=SHORT)
    yield exporter
    exporter.close()


@pytest.mark.contract("6.3/transcript", "issue-2.5", "B-31")
@pytest.mark.stores("local", "s3")
def test_night_arrives_whole(
    station: MeteorDatabase, hub: Hub, exporter: MeteorExporter, tmp_path: Path
) -> None:
    add_night(station, tmp_path, files=5, events=3)
    export_to(station, hub.url)

    assert exporter.run_round() == 8
    assert exporter.run_round() == 0

    assert holdings(hub.db) == holdings(station)
    assert sorted(hub.db.get_cameras()) == sorted(station.get_cameras())
    for camera_id in station.get_cameras():
        (original,) = station.get_status_history(camera_id)
        assert hub.db.get_status_history(camera_id) == [original]


@pytest.mark.engines("sqlite")
def test_night_travels_on_from_hub_to_hub(
    station: MeteorDatabase,
    hub: Hub,
    exporter: MeteorExporter,
    open_database: OpenDatabase,
    new_database: Callable[[], str],
    tmp_path: Path,
) -> None:
    add_night(station, tmp_path, files=2, events=2)
    db = open_database(new_database(), file_store_path=str(tmp_path / "far_files"))
    with Hub(db).serving() as far:
        export_to(station, hub.url)
        export_to(hub.db, far.url)
        onward = MeteorExporter(hub.db, timeouts=SHORT)

        exporter.run_round()
        onward.run_round()
        onward.close()

    assert holdings(db) == holdings(station)


@pytest.mark.engines("sqlite")
@pytest.mark.contract("0.1/scheduler", "5/round-mark")
def test_scheduler_sends_what_comes_without_being_asked(
    station: MeteorDatabase, hub: Hub, tmp_path: Path
) -> None:
    add_statuses(station)
    export_to(station, hub.url)
    exporter = MeteorExporter(db=station, mark_interval_seconds=0.05, timeouts=SHORT)
    exporter.scheduler.start()

    records = []
    for number in range(3):
        records.append(add_file(station, tmp_path, number))
        wait_until(lambda: hub.db.has_file_id(records[-1].file_id))  # type: ignore[arg-type]
    exporter.scheduler.shutdown()
    exporter.close()

    assert holdings(hub.db) == holdings(station)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail("it did not happen in time")


@pytest.mark.engines("sqlite")
@pytest.mark.contract("B-57")
def test_large_file_is_streamed_with_little_memory(
    station: MeteorDatabase, hub: Hub, exporter: MeteorExporter, tmp_path: Path
) -> None:
    import tracemalloc

    add_statuses(station)
    add_file(station, tmp_path, 1, size=60_000_000)
    export_to(station, hub.url, kinds="file")
    tracemalloc.start()
    try:
        assert exporter.run_round() == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert holdings(hub.db) == holdings(station)
    assert peak < 30_000_000  # exporter and receiver together, in this one process


@pytest.mark.contract("B-21", "B-29", "B-38")
def test_several_senders_pushing_the_same_events_at_once_store_each_once(
    station: MeteorDatabase, hub: Hub, tmp_path: Path
) -> None:
    """The events share files and statuses, and every request of one sender races with those of the others."""
    add_statuses(station)
    shared = add_file(station, tmp_path, 500)
    events = []
    for number in range(6):
        own = add_file(station, tmp_path, number)
        events.append(station.register_event("camera_north", START, NSString("meteorpi"), [shared, own], []))
    statuses = {
        status.status_id.hex: status.as_dict()
        for camera_id in station.get_cameras()
        for status in station.get_status_history(camera_id)
        if status.status_id
    }
    contents = {file_id.hex: content_of(station, file_id) for file_id in station.store.ids()}
    names = [f"sender_{number}" for number in range(3)]
    for name in names:
        hub.db.create_or_update_user(name, PASSWORD, ["import"])

    def push(name: str) -> list[str]:
        return [
            OldExporter(hub.url, name, PASSWORD, statuses, contents).push("event", event.as_dict())
            for event in events
        ]

    with ThreadPoolExecutor(len(names)) as pool:
        results = list(pool.map(push, names))

    assert results == [["complete"] * len(events)] * len(names)
    assert holdings(hub.db) == holdings(station)
    imported = [entry.subject for entry in hub.db.get_audit_log(100) if entry.action == "import.event"]
    assert sorted(imported) == sorted(event.event_id.hex for event in events if event.event_id)


# --- nodes of the first generation


@pytest.mark.engines("sqlite")
@pytest.mark.contract("6.3/event", "6.3/file", "issue-2.5")
def test_old_exporter_can_push_to_a_new_node(station: MeteorDatabase, hub: Hub, tmp_path: Path) -> None:
    add_statuses(station)
    record, event = add_file(station, tmp_path, 1), add_event(station, tmp_path, 2)
    statuses = [station.get_status_history(camera_id)[0] for camera_id in station.get_cameras()]
    old = OldExporter(
        hub.url,
        USER,
        PASSWORD,
        {status.status_id.hex: status.as_dict() for status in statuses if status.status_id},
        {file_id.hex: content_of(station, file_id) for file_id in station.store.ids()},
    )

    assert old.push("event", event.as_dict()) == "complete"
    assert old.push("file", record.as_dict()) == "complete"
    assert old.push("event", event.as_dict()) == "complete"

    assert holdings(hub.db) == holdings(station)


@pytest.mark.engines("sqlite")
@pytest.mark.contract("6.3/data")
def test_old_exporter_with_damaged_content_is_asked_again_and_stores_nothing(
    station: MeteorDatabase, hub: Hub, tmp_path: Path
) -> None:
    """It would go on for ever; the new receiver answers as it should each time."""
    add_statuses(station)
    record = add_file(station, tmp_path, 1)
    assert record.file_id is not None
    status = station.get_camera_status_by_id(record.status_id)
    assert status is not None
    old = OldExporter(
        hub.url, USER, PASSWORD, {record.status_id.hex: status.as_dict()}, {record.file_id.hex: b"damaged"}
    )

    assert old.push("file", record.as_dict(), most_requests=20) == "gave up"

    assert holdings(hub.db)["contents"] == {}


@pytest.mark.engines("sqlite")
@pytest.mark.contract("6.1/1", "6.1/2", "6.1/3", "6.1/4", "6.1/5", "issue-2.5")
def test_new_exporter_can_push_to_an_old_node(
    station: MeteorDatabase, exporter: MeteorExporter, tmp_path: Path
) -> None:
    add_night(station, tmp_path, files=3, events=2)
    receiver = OldReceiver(USER, PASSWORD)
    with receiver.serving() as url:
        export_to(station, url)

        assert exporter.run_round() == 5

    held = holdings(station)
    assert json.loads(json.dumps(held["events"])) == receiver.events
    digests = {file_id: hashlib.sha256(content).hexdigest() for file_id, content in receiver.contents.items()}
    assert digests == held["contents"]


@pytest.mark.engines("sqlite")
def test_old_node_that_lost_its_memory_in_the_middle_fails_the_task_only(
    station: MeteorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers 500 whenever that entity is named, until it is restarted once more."""
    add_statuses(station)
    add_file(station, tmp_path, 1)
    receiver = OldReceiver(USER, PASSWORD)
    take_content = receiver._take_content

    def forgetful(*arguments: Any) -> None:
        take_content(*arguments)
        receiver.forget()
        monkeypatch.undo()

    monkeypatch.setattr(receiver, "_take_content", forgetful)
    exporter = MeteorExporter(station, defer_on_failure_seconds=0, timeouts=SHORT)
    with receiver.serving() as url:
        export_to(station, url, kinds="file")

        first = exporter.handle_next_export() or handle_marked(exporter)
        receiver.forget()
        second = exporter.handle_next_export()
    exporter.close()

    assert first is not None
    assert (first.state, second.state if second else None) == ("failed", "complete")
    assert "500" in str(first.reason)


def handle_marked(exporter: MeteorExporter) -> Any:
    for configuration in exporter.db.get_export_configurations():
        exporter.db.mark_entities_to_export(configuration)
    return exporter.handle_next_export()


@pytest.mark.engines("sqlite")
def test_old_node_is_probed_with_a_request_it_answers(station: MeteorDatabase) -> None:
    from meteorpi_db.exporting.peer import Peer

    receiver = OldReceiver(USER, PASSWORD)
    with receiver.serving() as url:
        peer = Peer(url, USER, PASSWORD)
        peer.probe()
        peer.close()

    assert receiver.requests == ["probe"]
