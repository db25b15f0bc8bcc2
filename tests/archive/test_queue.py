"""Slots and waiting for them, step by step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.clients import Limits
from meteorpi_db.archives.downloads import DOWNLOAD_SECONDS
from meteorpi_db.archives.queue import AlreadyWaitingError, ArchiveQueue
from meteorpi_db.archives.queue_state import Place, QueueRules, Refusal
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tickets import NewTicket, Owner
from meteorpi_db.testing.processes import wait_until
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import Clock, now
from tests.archive.moving import MovingClock
from tests.archive.queue_workers import LONG_SECONDS, RULES, queue_worker
from tests.db.workers import next_line, say

DEADLINE_SECONDS = 60
NOBODY = Owner()
# The model in test_queue_model.py has every engine execute the same statements.
on_any_engine = pytest.mark.engines("sqlite")


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def register(db: MeteorDatabase, clock: MovingClock) -> ArchiveRegister:
    return ArchiveRegister(db.transactions, clock)


@pytest.fixture
def queue(db: MeteorDatabase, clock: MovingClock) -> ArchiveQueue:
    """One slot, and a queue in front of it."""
    return ArchiveQueue(db.transactions, QueueRules(is_queued=True, slots=1), clock)


@pytest.fixture
def open_slots(db: MeteorDatabase, clock: MovingClock) -> ArchiveQueue:
    """Two slots, and no queue."""
    return ArchiveQueue(db.transactions, QueueRules(slots=2), clock)


def new_ticket(register: ArchiveRegister, clock: Clock, owner: Owner = NOBODY) -> UUID:
    new = NewTicket(
        ticket_type="zip", plan=b"plan", entries=1, expires_at=clock() + timedelta(hours=9), owner=owner
    )
    return register.add_ticket(new).ticket_id


@pytest.fixture
def tickets(register: ArchiveRegister, clock: MovingClock) -> list[UUID]:
    return [new_ticket(register, clock) for _ in range(4)]


def started(queue: ArchiveQueue, ticket_id: UUID) -> UUID:
    download_id = queue.start(ticket_id, "process")
    assert isinstance(download_id, UUID)
    return download_id


# --- with a queue --------------------------------------------------------------------------------------


@on_any_engine
@pytest.mark.contract("archive-3.9/queue", "archive-defect-16")
def test_first_comes_first_and_the_rest_waits(queue: ArchiveQueue, tickets: list[UUID]) -> None:
    first, second, third, _ = tickets

    assert queue.start(first, "process") is Refusal.NO_SLOT
    assert queue.enter(first, "a").place is Place.RESERVED
    assert queue.enter(second, "b").position == 0
    assert queue.enter(third, "c").position == 1
    assert queue.start(second, "process") is Refusal.NO_SLOT
    download = started(queue, first)
    assert queue.standing(first).place is Place.ACTIVE
    assert queue.length() == 2

    queue.end(download)

    assert queue.standing(first).place is Place.OUTSIDE
    assert queue.standing(second).is_available
    assert (queue.standing(third).place, queue.standing(third).position) == (Place.WAITING, 0)


@on_any_engine
@pytest.mark.contract("archive-3.9/queue")
def test_slot_that_is_not_used_goes_to_the_next(
    queue: ArchiveQueue, tickets: list[UUID], clock: MovingClock
) -> None:
    queue.enter(tickets[0], "a")
    queue.enter(tickets[1], "b")
    clock.move(29)
    assert not queue.look(tickets[1], "b").is_available

    clock.move(1)

    assert queue.look(tickets[1], "b").place is Place.RESERVED
    assert queue.start(tickets[0], "process") is Refusal.NO_SLOT
    assert queue.enter(tickets[0], "a").place is Place.WAITING


@on_any_engine
@pytest.mark.contract("archive-3.9/queue", "archive-defect-16")
@pytest.mark.parametrize("way", ["says so", "is silent"])
def test_waiter_that_left_is_out_of_the_queue(
    queue: ArchiveQueue, tickets: list[UUID], clock: MovingClock, way: str
) -> None:
    for ticket, waiter in zip(tickets[:3], "abc", strict=True):
        queue.enter(ticket, waiter)
    download = started(queue, tickets[0])

    if way == "says so":
        queue.leave(tickets[1], "b")
    else:
        for _ in range(30):
            clock.move(1)
            queue.look(tickets[2], "c")
            queue.renew([download])

    assert queue.standing(tickets[1]).place is Place.OUTSIDE
    assert queue.look(tickets[2], "c").position == 0


@on_any_engine
@pytest.mark.contract("archive-defect-16")
def test_idle_queue_has_no_memory(queue: ArchiveQueue, tickets: list[UUID], clock: MovingClock) -> None:
    for ticket in tickets:
        queue.enter(ticket, "gone")
    clock.move(3600)

    assert queue.enter(tickets[-1], "here").is_available
    assert queue.length() == 0


@on_any_engine
def test_waiter_keeps_its_place_between_questions(
    queue: ArchiveQueue, tickets: list[UUID], clock: MovingClock
) -> None:
    for ticket, waiter in zip(tickets[:3], "abc", strict=True):
        queue.enter(ticket, waiter)

    queue.pause(tickets[1], "b")
    clock.move(20)

    assert queue.enter(tickets[1], "another connection").position == 0
    with pytest.raises(AlreadyWaitingError):
        queue.enter(tickets[1], "b")


@on_any_engine
@pytest.mark.contract("archive-3.9/queue")
def test_clients_have_their_turns(queue: ArchiveQueue, register: ArchiveRegister, clock: MovingClock) -> None:
    owners = []
    for name in ("greedy", "modest"):
        register.add_client(name)
        client = register.client(name)
        assert client is not None
        owners.append(Owner(client.client_id))
    greedy = [new_ticket(register, clock, owners[0]) for _ in range(3)]
    modest = new_ticket(register, clock, owners[1])
    for ticket in (*greedy, modest):
        queue.enter(ticket, ticket.hex)

    assert [queue.standing(ticket).position for ticket in (*greedy, modest)] == [-1, 1, 2, 0]
    served = []
    for _ in range(4):
        (ticket,) = [one for one in (*greedy, modest) if queue.standing(one).place is Place.RESERVED]
        served.append(ticket)
        queue.end(started(queue, ticket))
    assert served == [greedy[0], modest, greedy[1], greedy[2]]


@on_any_engine
def test_limit_of_a_client_holds_in_the_queue(
    db: MeteorDatabase, register: ArchiveRegister, clock: MovingClock
) -> None:
    queue = ArchiveQueue(db.transactions, QueueRules(is_queued=True, slots=3), clock)
    register.add_client("limited", limits=Limits(downloads=1))
    client = register.client("limited")
    assert client is not None
    mine = [new_ticket(register, clock, Owner(client.client_id)) for _ in range(2)]
    other = new_ticket(register, clock)

    standings = [queue.enter(ticket, ticket.hex) for ticket in (*mine, other)]

    assert [found.place for found in standings] == [Place.RESERVED, Place.WAITING, Place.RESERVED]
    queue.end(started(queue, mine[0]))
    assert queue.look(mine[1], mine[1].hex).is_available


def test_withdrawn_ticket_does_not_wait(
    queue: ArchiveQueue, register: ArchiveRegister, tickets: list[UUID]
) -> None:
    queue.enter(tickets[0], "a")
    queue.enter(tickets[1], "b")

    register.withdraw(tickets[0])

    assert queue.look(tickets[1], "b").is_available
    with pytest.raises(NotFoundError):
        queue.enter(tickets[0], "a")


# --- without one ---------------------------------------------------------------------------------------


def test_without_a_queue_the_limit_holds(open_slots: ArchiveQueue, tickets: list[UUID]) -> None:
    assert open_slots.enter(tickets[0], "a").is_available
    downloads = [started(open_slots, ticket) for ticket in tickets[:2]]

    assert open_slots.start(tickets[2], "process") is Refusal.BUSY
    open_slots.end(downloads[0])
    started(open_slots, tickets[2])


def test_without_a_queue_the_limit_of_a_client_holds(
    open_slots: ArchiveQueue, register: ArchiveRegister, clock: MovingClock
) -> None:
    register.add_client("limited", limits=Limits(downloads=1))
    client = register.client("limited")
    assert client is not None
    first, second = [new_ticket(register, clock, Owner(client.client_id)) for _ in range(2)]
    started(open_slots, first)

    assert open_slots.start(second, "process") is Refusal.OWNER_BUSY
    started(open_slots, first)


@on_any_engine
@pytest.mark.contract("archive-3.9/parallel")
def test_ranges_of_a_ticket_share_its_slot(open_slots: ArchiveQueue, tickets: list[UUID]) -> None:
    downloads = [started(open_slots, tickets[0]) for _ in range(4)]

    assert open_slots.start(tickets[0], "process") is Refusal.TOO_PARALLEL
    assert open_slots.standing(tickets[0]).connections == 4
    other = started(open_slots, tickets[1])
    for download in downloads[1:]:
        open_slots.end(download)
    assert open_slots.start(tickets[2], "process") is Refusal.BUSY  # one range goes on
    open_slots.end(downloads[0])
    open_slots.end(other)
    assert open_slots.standing(tickets[0]).place is Place.OUTSIDE


@on_any_engine
def test_download_of_an_unknown_ticket_is_refused(open_slots: ArchiveQueue) -> None:
    with pytest.raises(NotFoundError):
        open_slots.start(uuid4(), "process")


@on_any_engine
@pytest.mark.contract("archive-defect-17")
def test_slot_of_a_dead_process_is_free_again(
    open_slots: ArchiveQueue, tickets: list[UUID], clock: MovingClock
) -> None:
    dead, alive = started(open_slots, tickets[0]), started(open_slots, tickets[1])
    clock.move(DOWNLOAD_SECONDS * 2 / 3)
    assert open_slots.renew([alive]) == set()
    clock.move(DOWNLOAD_SECONDS / 3)

    replacement = started(open_slots, tickets[2])

    assert open_slots.renew([dead, alive, replacement]) == {dead}  # should it live, it has to end
    assert open_slots.start(tickets[0], "process") is Refusal.BUSY


def test_downloads_of_a_withdrawn_ticket_are_told_to_end(
    open_slots: ArchiveQueue, register: ArchiveRegister, tickets: list[UUID]
) -> None:
    downloads = [started(open_slots, ticket) for ticket in tickets[:2]]

    register.withdraw(tickets[0])
    register.drop_ticket(tickets[1])

    assert open_slots.renew(downloads) == set(downloads)
    with pytest.raises(NotFoundError):
        open_slots.start(tickets[0], "process")
    for download in downloads:
        open_slots.end(download)


def test_ticket_that_expires_stays_while_it_is_downloaded(
    open_slots: ArchiveQueue, register: ArchiveRegister, tickets: list[UUID], clock: MovingClock
) -> None:
    download = started(open_slots, tickets[0])
    clock.move(9 * 3600)
    assert open_slots.renew([download]) == set()

    assert register.sweep() == 3
    open_slots.end(download)
    assert register.sweep() == 1


# --- at the same time ----------------------------------------------------------------------------------


@pytest.mark.contract("archive-defect-16", "archive-defect-17")
def test_limit_holds_whatever_happens_at_once(db: MeteorDatabase, open_database: Callable[..., Any]) -> None:
    """Threads with databases of their own, as processes have; real transactions that overtake each other."""
    register = ArchiveRegister(db.transactions)
    tickets = [new_ticket(register, now) for _ in range(8)]
    rules = QueueRules(is_queued=True, slots=2, lease_seconds=600, waiter_seconds=600, download_seconds=600)
    running: set[UUID] = set()
    most: list[int] = []
    failures: list[BaseException] = []
    mutex = threading.Lock()

    def work(queue: ArchiveQueue, mine: list[UUID]) -> None:
        try:
            for ticket in mine:
                queue.enter(ticket, ticket.hex)
                wait_until(lambda: queue.look(ticket, ticket.hex).is_available, DEADLINE_SECONDS, "a slot")  # noqa: B023
                download = started(queue, ticket)
                with mutex:
                    running.add(ticket)
                    most.append(len(running))
                with mutex:
                    running.remove(ticket)
                queue.end(download)
        except BaseException as error:  # noqa: BLE001 (handed to the main thread)
            failures.append(error)

    queues = [ArchiveQueue(open_database().transactions, rules) for _ in range(4)]
    threads = [
        threading.Thread(target=work, args=(queue, tickets[number::4])) for number, queue in enumerate(queues)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(most) == len(tickets)
    assert max(most) <= 2
    assert {queues[0].standing(ticket).place for ticket in tickets} == {Place.OUTSIDE}


@pytest.mark.contract("archive-3.9/queue", "archive-3.7/restart", "archive-defect-17")
def test_slot_of_a_killed_process_goes_on_to_a_waiter_in_another(db: MeteorDatabase, db_path: str) -> None:
    ahead = timedelta()
    register = ArchiveRegister(db.transactions)
    first, second = [new_ticket(register, now) for _ in range(2)]
    queue = ArchiveQueue(db.transactions, RULES, lambda: now() + ahead)
    with queue_worker(db_path, first) as other:
        assert next_line(other) == "started"
        assert queue.enter(second, "here").place is Place.WAITING
        say(other, "renew")
        assert next_line(other) == "0"
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert not queue.look(second, "here").is_available

    for ahead in (timedelta(seconds=LONG_SECONDS / 2), timedelta(seconds=LONG_SECONDS + 1)):  # noqa: B007
        queue.look(second, "here")

    assert queue.standing(second).place is Place.RESERVED
