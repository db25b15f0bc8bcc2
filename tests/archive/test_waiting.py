"""Waiting for a turn: answers that come late, streams of events, and what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.queue import AlreadyWaitingError, ArchiveQueue
from meteorpi_db.archives.queue_state import Place, QueueRules
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tickets import NewTicket
from meteorpi_model.errors import NotFoundError, UnavailableError
from meteorpi_server.archive_api.waiting import LOOK_SECONDS, Events, WaitingRoom, waiting_threads
from tests.archive.moving import MovingClock

pytestmark = pytest.mark.engines("sqlite")

MANY_SECONDS = 3600.0


class Steps:
    """Stands in for the pauses of a waiter: each does what comes next."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        assert len(self.pauses) < 1000, "it waits for ever"
        if self.steps:
            self.steps.pop(0)()


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def queue(db: MeteorDatabase, clock: MovingClock) -> ArchiveQueue:
    return ArchiveQueue(db.transactions, QueueRules(is_queued=True, slots=1), clock)


@pytest.fixture
def tickets(db: MeteorDatabase, clock: MovingClock) -> list[UUID]:
    """Three; the first has the slot, and is being downloaded."""
    register = ArchiveRegister(db.transactions, clock)
    new = NewTicket(ticket_type="zip", plan=b"plan", entries=1, expires_at=clock() + timedelta(hours=9))
    return [register.add_ticket(new).ticket_id for _ in range(3)]


@pytest.fixture
def download(queue: ArchiveQueue, tickets: list[UUID]) -> UUID:
    queue.enter(tickets[0], "somebody")
    found = queue.start(tickets[0], "process")
    assert isinstance(found, UUID)
    return found


def room_of(queue: ArchiveQueue, *steps: Callable[[], object], seats: int = 2) -> tuple[WaitingRoom, Steps]:
    pauses = Steps(*steps)
    return WaitingRoom(queue, seats, ping_seconds=MANY_SECONDS, pause=pauses), pauses


def told(event: bytes) -> dict[str, object]:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    found = json.loads(event.removeprefix(b"data: "))
    assert isinstance(found, dict)
    return found


def test_poll_answers_at_once_when_the_slot_is_free(queue: ArchiveQueue, tickets: list[UUID]) -> None:
    room, pauses = room_of(queue)

    standing = room.poll(tickets[0], MANY_SECONDS)

    assert (standing.is_available, pauses.pauses) == (True, [])
    assert queue.standing(tickets[0]).place is Place.RESERVED


@pytest.mark.contract("archive-3.9/wait")
def test_poll_answers_when_its_turn_has_come(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID
) -> None:
    room, pauses = room_of(queue, lambda: None, lambda: queue.end(download))

    standing = room.poll(tickets[1], MANY_SECONDS)

    assert standing.is_available
    assert pauses.pauses == [LOOK_SECONDS] * 2


@pytest.mark.contract("archive-3.9/wait")
def test_poll_answers_when_its_position_changes(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID
) -> None:
    queue.enter(tickets[1], "another")
    room, _ = room_of(queue, lambda: queue.leave(tickets[1], "another"))

    assert room.poll(tickets[2], MANY_SECONDS).position == 0


@pytest.mark.contract("archive-3.9/wait")
def test_poll_ends_with_its_time_and_keeps_the_place_for_the_next(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID, clock: MovingClock
) -> None:
    room, pauses = room_of(queue)

    first = room.poll(tickets[1], 0)
    queue.enter(tickets[2], "another")
    clock.move(20)

    assert (first.position, room.poll(tickets[1], 0).position) == (0, 0)
    assert pauses.pauses == []


def test_caller_who_left_during_a_poll_is_out_in_time(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID, clock: MovingClock
) -> None:
    """Looking for it is no sign of life: the place is free `waiter_seconds` after it asked."""

    def some_time() -> None:
        clock.move(5)
        queue.renew([download])

    room, _ = room_of(queue, *[some_time] * 5, lambda: queue.enter(tickets[2], "another"), some_time)

    room.poll(tickets[1], MANY_SECONDS)

    assert queue.standing(tickets[1]).place is Place.OUTSIDE
    assert queue.standing(tickets[2]).position == 0


def test_nobody_polls_for_longer_than_the_time_of_a_ping(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID
) -> None:
    pauses = Steps()
    room = WaitingRoom(queue, 1, ping_seconds=0.0, pause=pauses)

    assert not room.poll(tickets[1], MANY_SECONDS).is_available
    assert pauses.pauses == []


def test_poll_beyond_the_seats_is_answered_at_once(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID
) -> None:
    room, pauses = room_of(queue, seats=1)
    events = room.watch(tickets[1])

    standing = room.poll(tickets[2], MANY_SECONDS)

    assert (standing.position, pauses.pauses) == (1, [])
    events.close()


@pytest.mark.contract("archive-defect-16")
def test_events_tell_every_change_and_end_when_it_is_available(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID
) -> None:
    queue.enter(tickets[1], "another")
    room, _ = room_of(
        queue, lambda: queue.leave(tickets[1], "another"), lambda: None, lambda: queue.end(download)
    )

    events = [told(event) for event in Events(room.watch(tickets[2]))]

    assert events == [
        {"position": 1, "available": False},
        {"position": 0, "available": False},
        {"position": -1, "available": True},
    ]
    assert queue.standing(tickets[2]).place is Place.RESERVED


@pytest.mark.contract("archive-defect-16")
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_reader_of_events_that_leaves_gives_up_place_and_seat(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID, taken: int
) -> None:
    room = WaitingRoom(queue, 1, ping_seconds=0.0, pause=Steps())
    events = room.watch(tickets[1])
    for _ in range(taken):
        next(events)

    events.close()
    events.close()

    assert queue.standing(tickets[1]).place is Place.OUTSIDE
    room.watch(tickets[2]).close()


def test_events_show_that_the_line_is_alive(queue: ArchiveQueue, tickets: list[UUID], download: UUID) -> None:
    room = WaitingRoom(queue, 1, ping_seconds=0.0, pause=Steps())
    events = Events(room.watch(tickets[1]))

    assert [told(next(events)), next(events)] == [
        {"position": 0, "available": False},
        b": still waiting\n\n",
    ]
    events.close()


def test_events_end_after_the_longest_time(queue: ArchiveQueue, tickets: list[UUID], download: UUID) -> None:
    room = WaitingRoom(queue, 1, timeout_seconds=0.0, pause=Steps())

    assert len(list(room.watch(tickets[1]))) == 1
    assert queue.standing(tickets[1]).place is Place.OUTSIDE


@pytest.mark.contract("archive-defect-16")
def test_second_waiter_of_a_ticket_is_refused(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID
) -> None:
    room, _ = room_of(queue, seats=2)
    events = room.watch(tickets[1])

    with pytest.raises(AlreadyWaitingError):
        room.watch(tickets[1])
    with pytest.raises(AlreadyWaitingError):
        room.poll(tickets[1], 0)

    events.close()


def test_seats_are_given_back_whatever_fails(
    queue: ArchiveQueue, tickets: list[UUID], download: UUID
) -> None:
    room, _ = room_of(queue, seats=1)
    for _ in range(3):
        with pytest.raises(NotFoundError):
            room.watch(UUID(int=5))
        with pytest.raises(NotFoundError):
            room.poll(UUID(int=5), 0)

    events = room.watch(tickets[1])

    with pytest.raises(UnavailableError, match="as many wait"):
        room.watch(tickets[2])
    events.close()


def test_few_threads_are_for_those_who_wait() -> None:
    assert [waiting_threads(threads) for threads in (1, 4, 8, 64)] == [1, 1, 2, 16]
