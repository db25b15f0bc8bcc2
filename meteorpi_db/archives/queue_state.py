"""What follows from the rows of the queue: who is over, who is next, how things are; no database here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final
from uuid import UUID

from meteorpi_db.archives.downloads import DOWNLOAD_SECONDS
from meteorpi_db.archives.queue_rows import QueueRow
from meteorpi_db.archives.turns import Waiting, in_order, next_of

PARALLEL_CONNECTIONS: Final = 4


@dataclass(frozen=True, kw_only=True)
class QueueRules:
    """How many may download, and how long anybody is waited for.

    Attributes:
        is_queued: whether tickets wait for their turn; else whoever comes while a slot is free has it.
        slots: tickets that are downloaded, or reserved, at once.
        lease_seconds: how long a reserved slot waits for its download.
        waiter_seconds: after so long without a word from its waiter a ticket is out of the queue.
        download_seconds: after so long without a sign of life a download is taken to be dead.
        connections: of one ticket at once.
    """

    is_queued: bool = False
    slots: int = 2
    lease_seconds: float = 30.0
    waiter_seconds: float = 30.0
    download_seconds: float = DOWNLOAD_SECONDS
    connections: int = PARALLEL_CONNECTIONS


class Place(Enum):
    """Where a ticket is."""

    OUTSIDE = "outside"
    WAITING = "waiting"
    RESERVED = "reserved"
    ACTIVE = "active"


@dataclass(frozen=True)
class Standing:
    """How things are with one ticket.

    Attributes:
        place: where it is.
        position: rank in the queue + slots in use - slots, at least 0 while it waits; negative means that it
            may be downloaded.
        connections: that take bytes now.
        eta_seconds: how long it will wait yet, as far as that can be told; that alone is no change.
    """

    place: Place
    position: int
    connections: int = 0
    eta_seconds: float | None = field(default=None, compare=False)

    @property
    def is_available(self) -> bool:
        """Whether the ticket may be downloaded now."""
        return self.position < 0


class Refusal(StrEnum):
    """Why a download must not begin."""

    BUSY = "busy"
    """All slots are in use."""
    OWNER_BUSY = "owner-busy"
    """The client has as many downloads as it may have."""
    TOO_PARALLEL = "too-parallel"
    """As many connections take ranges of the ticket as may."""
    NO_SLOT = "no-slot"
    """The ticket has to wait for its turn."""


@dataclass(frozen=True)
class QueueState:
    """The queue at one instant.

    Attributes:
        rules: that hold.
        rows: every ticket that waits or has a slot.
        connections: number of live downloads by ticket.
        turns: number of the last turn of each owner that had one.
        limits: slots that owners may have at most, where they have a limit of their own.
        time: milliseconds.
    """

    rules: QueueRules
    rows: Sequence[QueueRow]
    connections: Mapping[UUID, int]
    turns: Mapping[str, int]
    limits: Mapping[str, int]
    time: int

    def is_over(self, row: QueueRow) -> bool:
        """Whether a waiter or a slot is to be removed."""
        if row.is_active:
            return row.ticket_id not in self.connections
        if row.slot_until is not None:
            return row.slot_until <= self.time
        return row.seen_at + milliseconds(self.rules.waiter_seconds) <= self.time

    def over(self) -> list[UUID]:
        """The tickets to be removed."""
        return [row.ticket_id for row in self.rows if self.is_over(row)]

    def waiting(self) -> list[Waiting]:
        """The tickets without a slot."""
        return [row.as_waiting() for row in self.rows if row.is_waiting]

    def slot_owners(self) -> list[str]:
        """The owner of each slot in use."""
        return [row.owner for row in self.rows if not row.is_waiting]

    def next(self) -> Waiting | None:
        """The ticket that a free slot is for; None when there is no slot, or nobody for it."""
        used = self.slot_owners()
        if len(used) >= self.rules.slots:
            return None
        return next_of(self.waiting(), self.turns, lambda owner: not self._is_at_limit(owner, used))

    def _is_at_limit(self, owner: str, used: Sequence[str]) -> bool:
        most = self.limits.get(owner)
        return most is not None and used.count(owner) >= most

    def row_of(self, ticket_id: UUID) -> QueueRow | None:
        """The row of a ticket, None when it is outside."""
        return next((row for row in self.rows if row.ticket_id == ticket_id), None)

    def standing(self, ticket_id: UUID) -> Standing:
        """How things are with a ticket."""
        connections = self.connections.get(ticket_id, 0)
        row = self.row_of(ticket_id)
        used = len(self.slot_owners())
        if row is None or self.is_over(row):
            position = max(0, len(self.rows) - self.rules.slots) if self.rules.is_queued else -1
            return Standing(Place.OUTSIDE, position, connections)
        if not row.is_waiting:
            return Standing(Place.ACTIVE if row.is_active else Place.RESERVED, -1, connections)
        rank = [one.ticket_id for one in in_order(self.waiting(), self.turns)].index(ticket_id)
        return Standing(Place.WAITING, max(0, rank + used - self.rules.slots), connections)

    def refusal(self, ticket_id: UUID, owner: str) -> Refusal | None:
        """Why a download of the ticket must not begin; None when it may."""
        row = self.row_of(ticket_id)
        if row is not None and not row.is_waiting:
            is_full = self.connections.get(ticket_id, 0) >= self.rules.connections
            return Refusal.TOO_PARALLEL if is_full else None
        if self.rules.is_queued:
            return Refusal.NO_SLOT
        used = self.slot_owners()
        if len(used) >= self.rules.slots:
            return Refusal.BUSY
        return Refusal.OWNER_BUSY if self._is_at_limit(owner, used) else None


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(1000 * seconds)
