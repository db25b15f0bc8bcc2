"""The exporter against a peer that answers as it is told: states, failure rule, suspension, lease."""

from __future__ import annotations

import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import EventExportTask, FileExportTask, MeteorExporter, Timeouts
from meteorpi_db.exporting.lanes import ExportLanes
from meteorpi_db.exporting.peer import CONCURRENCY_HEADER
from meteorpi_db.exporting.rule import FailureRule
from meteorpi_db.testing.processes import wait_until
from meteorpi_model import Event, FileRecord, now
from meteorpi_model.errors import MeteorError
from tests.system.replication import add_event, add_file, add_statuses, content_of, export_to
from tests.system.scripted_peer import (
    COMPLETE,
    CONTINUE,
    Answer,
    HangUp,
    Raw,
    Received,
    ScriptedPeer,
    Silence,
)

pytestmark = pytest.mark.engines("sqlite")
every_engine = pytest.mark.engines("sqlite", "firebird", "firebird-embedded", "postgresql")
SHORT = Timeouts(connect=2, read=0.3, reply=1)
FAILED: Answer = {"state": "failed", "message": "no room"}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, 12)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock(db: MeteorDatabase) -> Clock:
    clock = Clock()
    db.clock = clock
    return clock


@pytest.fixture
def station(db: MeteorDatabase, clock: Clock, tmp_path: Path) -> MeteorDatabase:
    """A node with camera statuses and a clock that the test moves."""
    add_statuses(db)
    return db


@pytest.fixture
def exporter(station: MeteorDatabase) -> Iterator[MeteorExporter]:
    exporter = MeteorExporter(station, defer_on_failure_seconds=1800, timeouts=SHORT)
    yield exporter
    exporter.close()


@contextmanager
def peer_of(script: Callable[[Received], Answer] | list[Answer]) -> Iterator[ScriptedPeer]:
    with ScriptedPeer(script).serving() as peer:
        yield peer


def id_of(entity: Event | FileRecord) -> str:
    found = entity.event_id if isinstance(entity, Event) else entity.file_id
    assert found is not None
    return found.hex


def announced_id(request: Received) -> str:
    """The entity that a request is about."""
    document = request.document
    if document["type"] == "cached_entity":
        return str(document["cached_entity_id"])
    return str(document[document["type"]][f"{document['type']}_id"])


# --- handle_next_export


@pytest.mark.contract("5/handle_next_export")
def test_nothing_to_do_gives_none(exporter: MeteorExporter) -> None:
    assert exporter.handle_next_export() is None


@pytest.mark.contract("5/handle_next_export", "5/state-cache", "5/complete", "6.1/2", "6.2/complete")
@every_engine
def test_file_is_announced_in_full_and_completed(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    record = add_file(station, tmp_path, 1)
    with peer_of([COMPLETE]) as peer:
        (configuration,) = export_to(station, peer.url, kinds="file")
        station.mark_entities_to_export(configuration)

        result = exporter.handle_next_export()

    assert result is not None
    assert isinstance(result, MeteorExporter.ExportStateCache)
    assert (result.state, result.config_id, result.entity_id) == (
        "complete",
        configuration.config_id,
        id_of(record),
    )
    assert result.export_task is None
    assert not result.use_cache
    assert result.entity_dict == peer.received[0].document == {"type": "file", "file": record.as_dict()}
    assert station.get_next_entity_to_export() is None


@pytest.mark.contract(
    "6.1/1",
    "6.1/3",
    "6.1/4",
    "6.1/5",
    "5/state-cache",
    "6.2/need_status",
    "6.2/need_file_data",
    "6.2/continue",
    "6.2/any-order",
    "3.10/target_url",
)
def test_event_is_pushed_with_everything_the_peer_asks_for(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    event = add_event(station, tmp_path, 1, files=2)
    first, second = event.file_records
    answers: list[Answer] = [
        {"state": "need_status", "status_id": event.status_id.hex},
        CONTINUE,
        {"state": "need_file_data", "file_id": id_of(first)},
        CONTINUE,
        {"state": "need_file_data", "file_id": id_of(second)},
        CONTINUE,
        {"state": "need_status", "status_id": second.status_id.hex},
        CONTINUE,
        COMPLETE,
    ]
    with peer_of(answers) as peer:
        (configuration,) = export_to(station, peer.url, kinds="event")
        station.mark_entities_to_export(configuration)

        result = exporter.handle_next_export()

    assert result is not None
    assert (result.state, result.use_cache) == ("complete", True)
    kinds = ["event", "status", "cached_entity", "data", "cached_entity", "data", "cached_entity", "status"]
    assert peer.kinds == [*kinds, "cached_entity"]
    status = station.get_camera_status_by_id(event.status_id)
    assert status is not None
    assert peer.received[1].document == {"type": "status", "status": status.as_dict()}
    assert peer.received[2].document == {"type": "cached_entity", "cached_entity_id": id_of(event)}
    assert peer.received[3].path == f"/data/{id_of(first)}/{first.md5}"
    assert content_of(station, first.file_id) in peer.received[3].body


@pytest.mark.contract("6.2/continue-nocache", "6.2/any-order")
def test_peer_without_memory_gets_the_entity_in_full_again(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    record = add_file(station, tmp_path, 1)
    answers: list[Answer] = [
        {"state": "need_file_data", "file_id": id_of(record)},
        CONTINUE,
        {"state": "continue-nocache"},
        CONTINUE,
        COMPLETE,
    ]
    with peer_of(answers) as peer:
        mark(station, peer, "file")

        result = exporter.handle_next_export()

    assert result is not None
    assert result.state == "complete"
    assert peer.kinds == ["file", "data", "cached_entity", "file", "cached_entity"]


def mark(station: MeteorDatabase, peer: ScriptedPeer, kinds: str) -> UUID:
    """Export everything to `peer` and mark it; gives the id of the first configuration."""
    configurations = export_to(station, peer.url, kinds=kinds)
    for configuration in configurations:
        station.mark_entities_to_export(configuration)
    assert configurations[0].config_id is not None
    return configurations[0].config_id


@pytest.mark.contract(
    "5/failed", "5/confused", "5/direct", "6.2/need_status", "6.2/need_file_data", "6.2/failed", "6.2/other"
)
@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (FAILED, "failed", "no room"),
        (Raw(500, b"<html>"), "failed", "500"),
        (Raw(403, b'{"message": "lacks role"}'), "failed", "lacks role"),
        (HangUp(), "failed", "cannot be reached"),
        (Silence(), "failed", "in time"),
        ({"state": "need_status", "status_id": "0" * 31 + "1"}, "failed", "unknown camera status"),
        ({"state": "need_file_data", "file_id": "0" * 31 + "1"}, "failed", "unknown file"),
        ({"state": "dance"}, "confused", "dance"),
        ({"state": "need_status"}, "confused", "need_status"),
        ({}, "confused", "state"),
        (Raw(200, b"<html>"), "confused", "html"),
        (Raw(302), "confused", "302"),
        (CONTINUE, "failed", "keeps asking"),
        ({"state": "continue-nocache"}, "failed", "keeps asking"),
    ],
    ids=str,
)
def test_answers_that_end_a_task_badly(
    answer: Answer, state: str, reason: str, exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    with peer_of([answer]) as peer:
        mark(station, peer, "file")

        result = exporter.handle_next_export()
        again = station.get_next_entity_to_export()

    assert result is not None
    assert (result.state, result.export_task) == (state, None)
    assert reason in str(result.reason)
    assert again is not None  # called directly, it never defers


@pytest.mark.contract("B-27")
@pytest.mark.parametrize("answer", [FAILED, Raw(500), Raw(413), {"state": "dance"}, HangUp()], ids=str)
@pytest.mark.parametrize("need", ["status", "file_data"])
def test_replies_to_statuses_and_uploads_are_checked(
    answer: Answer, need: str, exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    record = add_file(station, tmp_path, 1)
    needs: Answer = (
        {"state": "need_status", "status_id": record.status_id.hex}
        if need == "status"
        else {"state": "need_file_data", "file_id": id_of(record)}
    )
    with peer_of([needs, answer, answer, COMPLETE]) as peer:
        mark(station, peer, "file")

        result = exporter.handle_next_export()

    assert result is not None
    assert result.state == ("confused" if answer == {"state": "dance"} else "failed")
    assert len(peer.received) <= 3  # a connection that was hung up is tried once more


@pytest.mark.contract("B-28")
@pytest.mark.parametrize("need", ["status", "file_data"])
def test_item_asked_for_again_after_delivery_fails_the_task(
    need: str, exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    record = add_file(station, tmp_path, 1)
    needs: Answer = (
        {"state": "need_status", "status_id": record.status_id.hex}
        if need == "status"
        else {"state": "need_file_data", "file_id": id_of(record)}
    )
    said: Answer = {"state": "continue", "message": "wrong MD5"}
    with peer_of([needs, said, needs]) as peer:
        mark(station, peer, "file")

        result = exporter.handle_next_export()

    assert result is not None
    assert result.state == "failed"
    assert "asks again" in str(result.reason)
    assert "wrong MD5" in str(result.reason)
    assert len(peer.received) == 3


@pytest.mark.contract("B-55")
def test_task_whose_entity_was_deleted_does_not_disturb(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    gone, kept = add_file(station, tmp_path, 1), add_file(station, tmp_path, 2)
    with peer_of([COMPLETE]) as peer:
        mark(station, peer, "file")
        assert gone.file_id is not None
        station.delete_file(gone.file_id)

        assert exporter.run_round() <= 2

    assert [announced_id(request) for request in peer.received] == [id_of(kept)]


@pytest.mark.contract("B-55")
def test_entity_that_vanishes_while_its_task_is_taken_completes_it_with_a_note(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = add_file(station, tmp_path, 1)
    with peer_of([COMPLETE]) as peer:
        mark(station, peer, "file")
        task = station.get_next_entity_to_export()
        assert record.file_id is not None
        station.delete_file(record.file_id)
        monkeypatch.setattr(station, "get_next_entity_to_export", lambda: task)

        result = exporter.handle_next_export()

    assert result is not None
    assert result.state == "complete"
    assert "no longer exists" in str(result.reason)
    assert peer.received == []


# --- rounds


@pytest.mark.contract("0.1/without-routes", "5/round-mark", "5/round-drain")
@every_engine
def test_round_marks_and_sends_until_nothing_is_left(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    files = [add_file(station, tmp_path, number) for number in range(3)]
    event = add_event(station, tmp_path, 9)
    with peer_of([COMPLETE]) as peer:
        export_to(station, peer.url)

        assert exporter.run_round() == 4
        assert exporter.run_round() == 0

    assert {announced_id(request) for request in peer.received} == {id_of(event), *map(id_of, files)}


@pytest.mark.contract("5/round-drain")
def test_round_repeats_at_once_for_what_came_meanwhile(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)

    def script(request: Received) -> Answer:
        if len(peer.received) == 1:
            add_file(station, tmp_path, 2)
        return COMPLETE

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 2


@pytest.mark.contract("5/defer", "B-24")
@every_engine
def test_failure_defers_all_tasks_of_the_configuration_and_is_remembered(
    exporter: MeteorExporter, station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    for number in range(3):
        add_file(station, tmp_path, number)
    with peer_of([FAILED]) as peer:
        (configuration,) = export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 1
        clock.advance(1799)
        assert exporter.run_round() == 0
        clock.advance(1)
        assert exporter.run_round() == 1

    (state,) = station.get_export_states()
    assert (state.config_id, state.failures, state.last_error) == (configuration.config_id, 2, "no room")
    assert state.last_failure_at == clock()


@pytest.mark.contract("5/others")
def test_other_configurations_are_unaffected(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    for number in range(3):
        add_file(station, tmp_path, number)
    with peer_of([FAILED]) as bad, peer_of([COMPLETE]) as good:
        export_to(station, bad.url, kinds="file")
        export_to(station, good.url, kinds="file")

        assert exporter.run_round() == 4

    assert len(good.received) == 3


@pytest.mark.contract("5/reset")
def test_success_resets_the_count(
    exporter: MeteorExporter, station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    with peer_of([FAILED, FAILED, FAILED, COMPLETE]) as peer:
        export_to(station, peer.url, kinds="file")
        for _ in range(4):
            exporter.run_round()
            clock.advance(1800)

    (state,) = station.get_export_states()
    assert state.failures == 0
    assert station.get_export_configurations()[0].enabled


@pytest.mark.contract("5/disable", "B-24")
@every_engine
def test_too_many_failures_suspend_the_configuration_also_across_restarts(
    station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    """Each round is done by an exporter of its own, as after a restart."""
    add_file(station, tmp_path, 1)
    with peer_of([FAILED]) as peer:
        (configuration,) = export_to(station, peer.url, kinds="file")
        for _ in range(4):
            exporter = MeteorExporter(station, max_failures_before_disable=4, timeouts=SHORT)
            exporter.run_round()
            exporter.close()
            clock.advance(1800)

    assert configuration.config_id is not None
    found = station.get_export_configuration(configuration.config_id)
    assert found is not None
    assert not found.enabled
    (state,) = station.get_export_states()
    assert state.suspended
    assert state.failures == 0
    assert state.last_error == "no room"


def suspend(exporter: MeteorExporter, clock: Clock) -> None:
    """Fail until the only configuration is suspended."""
    while exporter.db.get_export_configurations()[0].enabled:
        exporter.run_round()
        if exporter.db.get_export_configurations()[0].enabled:
            clock.advance(1800)


@pytest.mark.contract("issue-2.5")
def test_suspended_configuration_is_probed_at_growing_intervals_and_heals(
    exporter: MeteorExporter, station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    answers: list[Answer] = [Raw(503)]
    with peer_of(lambda _request: answers[0]) as peer:
        export_to(station, peer.url, kinds="file")
        suspend(exporter, clock)
        pauses = []
        for _ in range(8):
            before = len(peer.received)
            waited = 0
            while len(peer.received) == before:
                clock.advance(30)
                waited += 30
                assert exporter.run_round() == 0
            pauses.append(waited // 60)

        answers[0] = COMPLETE
        clock.advance(3600)
        handled = exporter.run_round()

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert peer.kinds[-2:] == ["probe", "file"]
    assert handled == 1
    assert station.get_export_configurations()[0].enabled
    assert not station.get_export_states()[0].suspended


@pytest.mark.contract("issue-2.5")
def test_what_a_person_disabled_stays_disabled(
    exporter: MeteorExporter, station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    with peer_of([FAILED]) as peer:
        export_to(station, peer.url, kinds="file")
        suspend(exporter, clock)
        configuration = station.get_export_configurations()[0]
        assert not configuration.enabled
        station.create_or_update_export_configuration(configuration)
        asked = len(peer.received)

        clock.advance(24 * 3600)
        exporter.run_round()

    assert len(peer.received) == asked
    assert not station.get_export_configurations()[0].enabled


@pytest.mark.contract("5/disable", "issue-2.5")
def test_person_can_take_a_suspended_configuration_up_again_with_a_full_set_of_attempts(
    exporter: MeteorExporter, station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    with peer_of([FAILED]) as peer:
        export_to(station, peer.url, kinds="file")
        suspend(exporter, clock)
        configuration = station.get_export_configurations()[0]
        configuration.enabled = True
        station.create_or_update_export_configuration(configuration)
        for _ in range(3):
            exporter.run_round()
            clock.advance(1800)

    assert station.get_export_configurations()[0].enabled
    assert not station.get_export_states()[0].suspended


@pytest.mark.contract("B-25")
def test_one_poisonous_entity_does_not_stop_the_others_of_its_configuration(
    exporter: MeteorExporter, station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    poison = id_of(add_file(station, tmp_path, 0))
    healthy = [id_of(add_file(station, tmp_path, number)) for number in range(1, 5)]
    done: set[str] = set()

    def script(request: Received) -> Answer:
        if announced_id(request) == poison:
            return Raw(400, b'{"message": "cannot be read"}')
        done.add(announced_id(request))
        return COMPLETE

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")
        exporter.run_round()
        clock.advance(1800)
        exporter.run_round()
        assert done == set(healthy)

        for number in range(10, 20):
            clock.advance(900)
            healthy.append(id_of(add_file(station, tmp_path, number)))
            exporter.run_round()
        clock.advance(1800)
        exporter.run_round()

    assert done == set(healthy)
    assert station.get_export_configurations()[0].enabled


@pytest.mark.contract("B-25")
def test_poisonous_entities_that_suspend_their_configuration_go_last_once_it_is_resumed(
    exporter: MeteorExporter, station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    poison = {id_of(add_file(station, tmp_path, number)) for number in range(4)}
    healthy = {id_of(add_file(station, tmp_path, number)) for number in range(10, 14)}
    done: set[str] = set()

    def script(request: Received) -> Answer:
        if request.kind == "probe" or announced_id(request) in poison:
            return FAILED
        done.add(announced_id(request))
        return COMPLETE

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")
        suspend(exporter, clock)
        assert done == set()

        clock.advance(60)
        exporter.run_round()

    assert done == healthy


@pytest.mark.contract("5/loggers", "B-25")
def test_unexpected_exception_counts_as_failure_of_its_task_and_the_round_goes_on(
    exporter: MeteorExporter,
    station: MeteorDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_file(station, tmp_path, 1)
    add_event(station, tmp_path, 2)

    def broken(self: FileExportTask) -> FileRecord:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(FileExportTask, "get_file", broken)
    with peer_of([COMPLETE]) as peer, caplog.at_level(logging.ERROR, "meteorpi.db.export"):
        export_to(station, peer.url)

        assert exporter.run_round() == 2

    assert peer.kinds == ["event"]
    assert "ZeroDivisionError" in caplog.text
    assert {record.name for record in caplog.records} == {"meteorpi.db.export"}
    reasons = [state.last_error for state in station.get_export_states() if state.failures]
    assert reasons == ["unexpected ZeroDivisionError; see the log"]


def test_what_the_work_raises_ends_the_round_in_place_of_keeping_it_waiting(
    station: MeteorDatabase, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    export_to(station, "http://localhost:9/import", kinds="file")
    for configuration in station.get_export_configurations():
        station.mark_entities_to_export(configuration)

    def work(task: FileExportTask | EventExportTask, check: Callable[[], None]) -> NoReturn:
        raise LookupError("a fault of our own")

    rule = FailureRule(station, max_failures=1, defer_seconds=1)

    with pytest.raises(LookupError, match="a fault of our own"):
        ExportLanes(station, work, rule, check=lambda: None).run()


def test_content_damaged_here_is_not_sent(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    record = add_file(station, tmp_path, 1, size=5000)
    assert record.file_id is not None
    path = station.file_path_for_id(record.file_id)
    path.chmod(0o644)
    path.write_bytes(b"short")
    with peer_of([{"state": "need_file_data", "file_id": id_of(record)}, COMPLETE]) as peer:
        mark(station, peer, "file")

        result = exporter.handle_next_export()

    assert result is not None
    assert result.state == "failed"
    assert "file store" in str(result.reason)
    assert peer.kinds == ["file"]


# --- several at the same time


def reply_of_new_node(document: dict[str, str]) -> Raw:
    """An answer as our import routes give it: four entities at the same time are welcome."""
    return Raw(body=json.dumps(document).encode(), headers=((CONCURRENCY_HEADER, "4"),))


def test_peer_that_takes_several_at_once_gets_them_after_a_first_success(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    for number in range(9):
        add_file(station, tmp_path, number)
    together = threading.Barrier(4)

    def script(request: Received) -> Answer:
        if len(peer.received) > 1:
            together.wait(20)
        return reply_of_new_node({"state": "complete"})

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 9

    assert not together.broken
    assert len({announced_id(request) for request in peer.received}) == 9


def test_peer_that_says_nothing_gets_one_at_a_time(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    for number in range(6):
        add_file(station, tmp_path, number)
    busy = threading.Lock()
    overlaps: list[bool] = []

    def script(request: Received) -> Answer:
        overlaps.append(not busy.acquire(blocking=False))
        threading.Event().wait(0.02)
        busy.release()
        return COMPLETE

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 6

    assert overlaps == [False] * 6
    assert len({request.connection for request in peer.received}) == 1


@pytest.mark.contract("5/defer")
def test_failures_of_tasks_under_way_together_count_once(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    for number in range(9):
        add_file(station, tmp_path, number)
    together = threading.Barrier(4)

    def script(request: Received) -> Answer:
        if len(peer.received) == 1:
            return reply_of_new_node({"state": "complete"})
        together.wait(20)
        return Raw(503)

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 5

    (state,) = station.get_export_states()
    assert (state.failures, state.enabled, state.pending) == (1, True, 8)
    assert station.get_next_entity_to_export() is None


@pytest.mark.contract("5/others", "B-25")
def test_silent_peer_does_not_hold_up_other_configurations(
    station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    for number in range(3):
        add_file(station, tmp_path, number)
    exporter = MeteorExporter(station, timeouts=Timeouts(read=30))
    thread = threading.Thread(target=exporter.run_round)
    with peer_of([COMPLETE]) as healthy, peer_of([Silence()]) as silent:
        export_to(station, healthy.url, kinds="file")
        export_to(station, silent.url, kinds="file")
        thread.start()
        wait_until(lambda: len(healthy.received) == 3, 20, "the export to the healthy peer")
        assert thread.is_alive()
        assert len(silent.received) == 1
    thread.join(20)
    exporter.close()

    assert not thread.is_alive()


# --- the lease


@pytest.mark.contract("B-26")
@every_engine
def test_second_exporter_finds_nothing_to_do_while_the_first_works(
    exporter: MeteorExporter, station: MeteorDatabase, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    second = MeteorExporter(station, timeouts=SHORT)
    during: list[object] = []

    def script(request: Received) -> Answer:
        during.append(second.handle_next_export())
        during.append(second.run_round())
        return COMPLETE

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 1

    assert during == [None, 0]
    assert len(peer.received) == 1
    second.close()


@pytest.mark.contract("B-26")
def test_exporter_that_lost_its_lease_stops_at_once_and_leaves_the_task(
    station: MeteorDatabase, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = add_file(station, tmp_path, 1)
    exporter = MeteorExporter(station, lease_seconds=3, timeouts=Timeouts(read=60))
    taken = threading.Event()

    def script(request: Received) -> Answer:
        if request.kind == "file" and not taken.is_set():
            clock.advance(60)
            assert station.acquire_lease("exporter", "another process", 60)
            taken.set()
            wait_until_lost(exporter)
            return {"state": "need_file_data", "file_id": id_of(record)}
        return COMPLETE

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 0
        assert exporter.handle_next_export() is None
        exporter.close()

    assert peer.kinds == ["file"]
    assert "lease was lost" in caplog.text
    assert station.get_export_states()[0].failures == 0
    assert station.get_next_entity_to_export() is not None


@pytest.mark.contract("B-58")
def test_exporter_told_to_stop_ends_its_work_at_the_next_step_and_begins_nothing(
    station: MeteorDatabase, tmp_path: Path
) -> None:
    record = add_file(station, tmp_path, 1)
    exporter = MeteorExporter(station, timeouts=SHORT)

    def script(request: Received) -> Answer:
        exporter.stop()
        return {"state": "need_file_data", "file_id": id_of(record)}

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 0
        assert exporter.run_round() == 0
        assert exporter.handle_next_export() is None
        exporter.close()

    assert peer.kinds == ["file"]
    assert station.get_export_states()[0].failures == 0
    assert station.acquire_lease("exporter", "another process", 60)


def wait_until_lost(exporter: MeteorExporter) -> None:
    def is_lost() -> bool:
        try:
            exporter._lease.check()
        except MeteorError:
            return True
        return False

    wait_until(is_lost, 30, "the loss of the lease")


@pytest.mark.contract("B-26")
def test_lease_is_renewed_while_a_peer_keeps_the_exporter_waiting(
    station: MeteorDatabase, tmp_path: Path
) -> None:
    station.clock = now
    add_file(station, tmp_path, 1)
    exporter = MeteorExporter(station, lease_seconds=1, timeouts=Timeouts(read=60))
    attempts: list[bool] = []

    def script(request: Received) -> Answer:
        for _ in range(10):
            threading.Event().wait(0.2)
            attempts.append(station.acquire_lease("exporter", "another process", 60))
        return COMPLETE

    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")

        assert exporter.run_round() == 1
        exporter.close()

    assert attempts == [False] * 10


@pytest.mark.contract("B-26")
def test_killed_exporter_is_succeeded_once_its_lease_has_run_out(
    station: MeteorDatabase, clock: Clock, tmp_path: Path
) -> None:
    add_file(station, tmp_path, 1)
    assert station.acquire_lease("exporter", "a process that was killed", 20)
    exporter = MeteorExporter(station, timeouts=SHORT)
    with peer_of([COMPLETE]) as peer:
        export_to(station, peer.url, kinds="file")

        clock.advance(19)
        assert exporter.run_round() == 0
        clock.advance(2)
        assert exporter.run_round() == 1

    exporter.close()


@pytest.mark.contract("B-26", "issue-3.3/take-over")
def test_what_a_killed_exporter_left_undone_is_taken_over_before_the_next_round_is_due(
    station: MeteorDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    station.clock = now
    add_file(station, tmp_path, 1)
    assert station.acquire_lease("exporter", "a process that was killed", 0.3)
    exporter = MeteorExporter(station, mark_interval_seconds=3600, lease_seconds=3, timeouts=SHORT)
    with peer_of([COMPLETE]) as peer:
        export_to(station, peer.url, kinds="file")
        exporter.scheduler.start()

        wait_until(
            lambda: station.get_export_states()[0].pending == 0 and bool(peer.received), 30, "the push"
        )
        exporter.close()
        exporter.scheduler.shutdown()

    assert "export taken over" in caplog.text
    assert peer.kinds == ["file"]


@pytest.mark.contract("B-26")
def test_lease_is_abandoned_when_its_time_is_up_and_nobody_gave_it_back(
    station: MeteorDatabase, clock: Clock
) -> None:
    assert not station.is_lease_abandoned("exporter")
    assert station.acquire_lease("exporter", "one", 10)
    assert not station.is_lease_abandoned("exporter")
    clock.advance(11)
    assert station.is_lease_abandoned("exporter")
    assert station.acquire_lease("exporter", "two", 10)
    assert not station.is_lease_abandoned("exporter")
    assert station.release_lease("exporter", "two")
    clock.advance(11)
    assert not station.is_lease_abandoned("exporter")


# --- the scheduler


@pytest.mark.contract("0.1/exporter", "5/scheduler")
def test_constructing_starts_nothing(station: MeteorDatabase) -> None:
    before = threading.active_count()

    exporter = MeteorExporter(
        db=station, mark_interval_seconds=1, max_failures_before_disable=4, defer_on_failure_seconds=3
    )

    (job,) = exporter.scheduler.get_jobs()
    assert job.id == "meteorpi_export"
    assert job.trigger.interval == timedelta(seconds=1)
    assert isinstance(exporter.scheduler, BackgroundScheduler)
    assert not exporter.scheduler.running
    assert threading.active_count() == before


@pytest.mark.contract("5/constructor")
def test_parameters_have_the_published_order_and_defaults() -> None:
    published = {
        "mark_interval_seconds": 300,
        "max_failures_before_disable": 4,
        "defer_on_failure_seconds": 1800,
        "scheduler": None,
    }

    parameters = list(inspect.signature(MeteorExporter).parameters.values())

    assert [parameter.name for parameter in parameters[:5]] == ["db", *published]
    assert {parameter.name: parameter.default for parameter in parameters[1:5]} == published
    assert {parameter.kind for parameter in parameters[5:]} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.contract("5/scheduler")
def test_first_round_comes_after_one_interval_on_the_scheduler_given(station: MeteorDatabase) -> None:
    scheduler = BackgroundScheduler(timezone="UTC")
    exporter = MeteorExporter(station, 300, 4, 1800, scheduler)
    before = datetime.now(UTC)

    assert exporter.scheduler is scheduler
    scheduler.start(paused=True)
    first = scheduler.get_job("meteorpi_export").next_run_time
    scheduler.shutdown()
    exporter.close()

    assert abs(first - before - timedelta(seconds=300)) < timedelta(seconds=10)


@pytest.mark.contract("1/db", "1/exporter")
def test_tasks_can_be_imported_from_both_places() -> None:
    import meteorpi_db

    assert meteorpi_db.FileExportTask is FileExportTask
    assert meteorpi_db.EventExportTask is EventExportTask


@pytest.mark.contract("5/round-pause")
def test_job_is_paused_during_a_round_and_resumed_whatever_happens(
    station: MeteorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_file(station, tmp_path, 1)
    exporter = MeteorExporter(station, mark_interval_seconds=0.1, timeouts=SHORT)
    paused: list[bool] = []
    ended = threading.Event()

    def script(request: Received) -> Answer:
        paused.append(exporter.scheduler.get_job("meteorpi_export").next_run_time is None)
        monkeypatch.setattr(station, "get_export_configurations", explode)
        return COMPLETE

    def explode() -> list[object]:
        if len(exploded) > 1:
            ended.set()
        exploded.append(1)
        raise ZeroDivisionError("a defect")

    exploded: list[int] = []
    with peer_of(script) as peer:
        export_to(station, peer.url, kinds="file")
        exporter.scheduler.start()

        assert ended.wait(10)
        exporter.scheduler.shutdown()
        exporter.close()

    assert paused == [True]
    assert "export round failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
