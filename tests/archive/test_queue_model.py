"""The queue against a model: random arrivals, leavers, and crashes of waiters and of processes.

The model says in other words whose turn it is, and remembers when everybody gave its last sign of life. What
it is compared with are the rows of the database, after each call.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.clients import Limits
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_rows import WAITING
from meteorpi_db.archives.queue_state import QueueRules, Refusal
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tables import archive_queue
from meteorpi_db.archives.tickets import NewTicket, Owner
from tests.archive.moving import MovingClock

SLOTS = 2
PROCESSES = 3
STEPS = 70
STEPS_ON_EVERY_ENGINE = 25
LIMITED = "one-at-a-time"
OWNERS = ("ann", "ben", LIMITED, "")
PATIENCE_SECONDS = 30.0
TICK_SECONDS = 2.0
RULES = QueueRules(is_queued=True, slots=SLOTS, download_seconds=PATIENCE_SECONDS)


@dataclass
class Waiter:
    """Somebody who waits; `crashed_at` tells since when nothing is heard of it."""

    ticket: UUID
    owner: str
    crashed_at: float | None = None


@dataclass
class Slot:
    """A slot, its downloads with their processes, and when those of dead processes were heard of last."""

    owner: str
    reserved_at: float
    is_started: bool = False
    downloads: dict[UUID, int] = field(default_factory=dict)
    dead: list[float] = field(default_factory=list)


class World:
    """The queue in three processes, and everybody who uses it."""

    def __init__(self, db: MeteorDatabase, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = MovingClock()
        self.start = self.clock()
        self.db = db
        self.register = ArchiveRegister(db.transactions, self.clock)
        self.queues = [ArchiveQueue(db.transactions, RULES, self.clock) for _ in range(PROCESSES)]
        self.owners = {name: self.owner_named(name) for name in OWNERS}
        self.waiters: list[Waiter] = []  # in the order of their arrival
        self.slots: dict[UUID, Slot] = {}
        self.last_turn: dict[str, int] = {}
        self.turns = 0
        self.passed: dict[tuple[str, str], int] = {}

    def owner_named(self, name: str) -> Owner:
        if not name:
            return Owner()
        self.register.add_client(name, limits=Limits(downloads=1 if name == LIMITED else None))
        client = self.register.client(name)
        assert client is not None
        return Owner(client.client_id)

    @property
    def seconds(self) -> float:
        return (self.clock() - self.start).total_seconds()

    @property
    def queue(self) -> ArchiveQueue:
        return self.random.choice(self.queues)

    # --- what happens ----------------------------------------------------------------------------------

    def step(self) -> None:
        """One thing happens, any."""
        steps = {
            self.arrive: 8,
            self.leave: 1,
            self.crash_waiter: 0.5,
            self.download: 6,
            self.come_too_early: 1,
            self.finish: 10,
            self.crash_process: 1,
            self.pass_time: 3,
        }
        self.random.choices(list(steps), list(steps.values()))[0]()

    def arrive(self) -> None:
        name = self.random.choice(OWNERS)
        expires_at = self.clock() + timedelta(days=9)
        new = NewTicket(
            ticket_type="zip", plan=b"", entries=0, expires_at=expires_at, owner=self.owners[name]
        )
        ticket = self.register.add_ticket(new).ticket_id
        self.settle()
        self.waiters.append(Waiter(ticket, name))
        self.queue.enter(ticket, ticket.hex)
        self.compare()

    def leave(self) -> None:
        self.settle()
        if alive := self.alive():
            waiter = self.random.choice(alive)
            self.queue.leave(waiter.ticket, waiter.ticket.hex)
            self.waiters.remove(waiter)
            self.compare()

    def crash_waiter(self) -> None:
        if alive := self.alive():
            self.random.choice(alive).crashed_at = self.seconds

    def download(self) -> None:
        """Begin to use a slot, or take another range."""
        self.settle()
        if not self.slots:
            return
        ticket, slot = self.random.choice(list(self.slots.items()))
        process = self.random.randrange(PROCESSES)
        begun = self.queues[process].start(ticket, f"process {process}")
        if isinstance(begun, UUID):
            slot.is_started = True
            slot.downloads[begun] = process
        else:
            assert begun is Refusal.TOO_PARALLEL
            assert len(slot.downloads) + len(slot.dead) == RULES.connections
        self.compare()

    def come_too_early(self) -> None:
        self.settle()
        if self.waiters:
            assert self.queue.start(self.random.choice(self.waiters).ticket, "early") is Refusal.NO_SLOT
            self.compare()

    def finish(self) -> None:
        """One connection of a ticket ends, or all of them do."""
        running = [slot for slot in self.slots.values() if slot.downloads]
        if running:
            slot = self.random.choice(running)
            for key in list(slot.downloads)[self.random.choice([0, 0, -1]) :]:
                process = slot.downloads.pop(key)
                self.queues[process].end(key)
                self.compare()

    def crash_process(self) -> None:
        process = self.random.randrange(PROCESSES)
        for slot in self.slots.values():
            gone = [key for key, where in slot.downloads.items() if where == process]
            slot.dead += [self.seconds for key in gone if slot.downloads.pop(key) == process]

    def pass_time(self) -> None:
        """Everybody who is alive asks, and gives signs of life."""
        for _ in range(self.random.choice([1, 1, 2, 16])):
            self.clock.move(TICK_SECONDS)
            running = [key for slot in self.slots.values() for key in slot.downloads]
            assert self.queue.renew(running) == set()
            for waiter in self.alive():
                self.queue.look(waiter.ticket, waiter.ticket.hex)
                self.compare()

    def settle(self) -> None:
        self.queue.settle()
        self.compare()

    def alive(self) -> list[Waiter]:
        return [waiter for waiter in self.waiters if waiter.crashed_at is None]

    # --- what has to be --------------------------------------------------------------------------------

    def compare(self) -> None:
        """Take over what the database says, if it may say so."""
        with self.db.transactions.reading() as connection:
            places = {row.ticket_id: row.place for row in connection.execute(select(archive_queue))}
        self.check_slots(places)
        self.check_waiters(places)
        self.check_turns([one for one in self.waiters if places[one.ticket] != WAITING])
        assert len(self.slots) <= SLOTS
        assert set(places) == set(self.slots) | {one.ticket for one in self.waiters}
        assert len(self.slots) == SLOTS or not self.servable()
        if not places:
            self.last_turn.clear()
            self.passed.clear()

    def check_slots(self, places: dict[UUID, int]) -> None:
        """A slot is free when its downloads have ended, or died, or it was not used in time; not earlier."""
        for ticket, slot in list(self.slots.items()):
            slot.dead = [seen for seen in slot.dead if not self.is_late(seen)]
            is_over = not (slot.downloads or slot.dead)
            if not slot.is_started:
                is_over = self.is_late(slot.reserved_at)
            assert (ticket not in places) == is_over
            if is_over:
                del self.slots[ticket]

    def is_late(self, time: float) -> bool:
        return self.seconds - time >= PATIENCE_SECONDS

    def check_waiters(self, places: dict[UUID, int]) -> None:
        """Who is alive keeps its place; who is not is out at most so long after it was heard of last."""
        for waiter in list(self.waiters):
            if waiter.ticket not in places:
                assert waiter.crashed_at is not None
                self.waiters.remove(waiter)
            elif waiter.crashed_at is not None:
                assert not self.is_late(waiter.crashed_at)

    def check_turns(self, served: list[Waiter]) -> None:
        """Slots went to whoever was next."""
        for _ in served:
            waiter = self.next()
            assert waiter in served
            self.note_passing(waiter.owner)
            self.turns += 1
            self.last_turn[waiter.owner] = self.turns
            self.waiters.remove(waiter)
            self.slots[waiter.ticket] = Slot(waiter.owner, self.seconds)

    def servable(self) -> list[Waiter]:
        used = [slot.owner for slot in self.slots.values()]
        return [one for one in self.waiters if one.owner != LIMITED or LIMITED not in used]

    def next(self) -> Waiter:
        first = {one.owner: one for one in reversed(self.servable())}
        return min(
            first.values(), key=lambda one: (self.last_turn.get(one.owner, 0), self.waiters.index(one))
        )

    def note_passing(self, owner: str) -> None:
        """Nobody starves: no owner has two turns while another one could have had one."""
        for other in {one.owner for one in self.servable()} - {owner}:
            self.passed[other, owner] = self.passed.get((other, owner), 0) + 1
            assert self.passed[other, owner] <= 1
        self.passed = {pair: number for pair, number in self.passed.items() if pair[0] != owner}


@pytest.mark.contract("archive-6.6", "archive-3.9/queue", "archive-defect-16", "archive-defect-17")
def test_queue_does_what_the_model_does(db: MeteorDatabase) -> None:
    play(World(db, seed=0), STEPS_ON_EVERY_ENGINE)


@pytest.mark.contract("archive-6.6")
@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("seed", range(1, 6))
def test_queue_does_what_the_model_does_in_other_worlds(db: MeteorDatabase, seed: int) -> None:
    play(World(db, seed), STEPS)


def play(world: World, steps: int) -> None:
    for _ in range(steps):
        world.step()
    assert world.turns >= SLOTS
