"""The rows of the queue: plain reading and writing, without any rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, delete, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_db.archives import clients
from meteorpi_db.archives.tables import archive_queue, archive_tickets, archive_turns
from meteorpi_db.archives.tickets import Owner
from meteorpi_db.archives.turns import Waiting
from meteorpi_db.dialects import in_chunks, insert_ignore

WAITING: Final = 0
RESERVED: Final = 1
ACTIVE: Final = 2
CLIENT_PREFIX: Final = "client:"

_QUEUE = archive_queue
_TURN = archive_turns
_ALL: Final = "*"


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """A ticket that waits or has a slot; times in milliseconds.

    Attributes:
        ticket_id, owner, number: see `Waiting`.
        place: one of `WAITING`, `RESERVED` and `ACTIVE`.
        waiter: who waits with it; empty for nobody just now.
        seen_at: the waiter's last word.
        slot_until: how long a reserved slot waits, else None.
        enqueued_at: when it came.
    """

    ticket_id: UUID
    owner: str
    place: int
    number: int
    waiter: str
    seen_at: int
    slot_until: int | None
    enqueued_at: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether it has no slot yet."""
        return self.place == WAITING

    @property
    def is_active(self) -> bool:
        """Whether it is being downloaded."""
        return self.place == ACTIVE

    def as_waiting(self) -> Waiting:
        """What decides when its turn comes."""
        return Waiting(self.ticket_id, self.owner, self.number)


def next_number(connection: Connection) -> int:
    """A number above all that were given before; who asks is alone with the queue until it commits."""
    counted = update(_TURN).where(_TURN.c.name == _ALL).values(number=_TURN.c.number + 1)
    if not connection.execute(counted).rowcount:
        insert_ignore(connection, _TURN, {"name": _ALL, "number": 0})
        connection.execute(counted)
    return int(connection.execute(select(_TURN.c.number).where(_TURN.c.name == _ALL)).scalar_one())


def last_turns(connection: Connection) -> dict[str, int]:
    """The number of the last turn of each owner that had one."""
    return {row.name: row.number for row in connection.execute(select(_TURN).where(_TURN.c.name != _ALL))}


def forget_turns(connection: Connection) -> None:
    """Forget who had the last turns; when nobody waits they mean nothing any more."""
    connection.execute(delete(_TURN).where(_TURN.c.name != _ALL))


def all_rows(connection: Connection) -> list[QueueRow]:
    """Every row."""
    return [_row_of(row) for row in connection.execute(select(_QUEUE)).all()]


def row_of(connection: Connection, ticket_id: UUID) -> QueueRow | None:
    """The row of a ticket; None when it neither waits nor has a slot."""
    row = connection.execute(select(_QUEUE).where(_QUEUE.c.ticket_id == ticket_id)).first()
    return None if row is None else _row_of(row)


def _row_of(row: Row[Any]) -> QueueRow:
    return QueueRow(
        ticket_id=row.ticket_id,
        owner=row.owner,
        place=row.place,
        number=row.number,
        waiter=row.waiter,
        seen_at=row.seen_at,
        slot_until=row.slot_until,
        enqueued_at=row.enqueued_at,
    )


def owner_of(connection: Connection, ticket_id: UUID) -> str | None:
    """Key of the owner of a ticket that was not withdrawn; None when there is none."""
    ticket = archive_tickets
    statement = select(ticket.c.client_id, ticket.c.user_id).where(
        ticket.c.ticket_id == ticket_id, ticket.c.is_withdrawn.is_(False)
    )
    row = connection.execute(statement).first()
    return None if row is None else Owner(row.client_id, row.user_id).key


def limits_of(connection: Connection, owners: Collection[str]) -> dict[str, int]:
    """How many slots those of `owners` may have that have a limit of their own."""
    ids = {owner: UUID(hex=owner.removeprefix(CLIENT_PREFIX)) for owner in owners if _is_client(owner)}
    found = clients.limits_of(connection, ids.values())
    most = {owner: found[client_id].downloads for owner, client_id in ids.items() if client_id in found}
    return {owner: number for owner, number in most.items() if number is not None}


def _is_client(owner: str) -> bool:
    return owner.startswith(CLIENT_PREFIX)


def add_waiting(
    connection: Connection, ticket_id: UUID, owner: str, waiter: str, number: int, time: int
) -> None:
    """Add a ticket to the queue."""
    _add(connection, ticket_id, owner, waiter, number, time, WAITING)


def _add(
    connection: Connection, ticket_id: UUID, owner: str, waiter: str, number: int, time: int, place: int
) -> None:
    row = {
        "ticket_id": ticket_id,
        "owner": owner,
        "place": place,
        "number": number,
        "waiter": limits.checked_text(waiter, "waiter", tables.NAME_LENGTH, may_be_empty=True),
        "enqueued_at": time,
        "seen_at": time,
    }
    connection.execute(insert(_QUEUE).values(row))


def see_waiter(
    connection: Connection, ticket_id: UUID, waiter: str, time: int, *, only_if: str | None = None
) -> None:
    """Note that the waiter is there; `only_if` names the one who has to be noted already."""
    statement = update(_QUEUE).where(_QUEUE.c.ticket_id == ticket_id, _QUEUE.c.place == WAITING)
    if only_if is not None:
        statement = statement.where(_QUEUE.c.waiter == only_if)
    connection.execute(statement.values(waiter=waiter, seen_at=time))


def release_waiter(connection: Connection, ticket_id: UUID, waiter: str) -> None:
    """Note that nobody waits with a ticket just now."""
    statement = update(_QUEUE).where(_QUEUE.c.ticket_id == ticket_id, _QUEUE.c.waiter == waiter)
    connection.execute(statement.values(waiter=""))


def remove_waiting(connection: Connection, ticket_id: UUID, waiter: str) -> None:
    """Take a ticket out of the queue that this waiter waits with."""
    connection.execute(
        delete(_QUEUE).where(
            _QUEUE.c.ticket_id == ticket_id, _QUEUE.c.waiter == waiter, _QUEUE.c.place == WAITING
        )
    )


def remove(connection: Connection, ticket_ids: Iterable[UUID]) -> None:
    """Take tickets out of the queue, or their slots from them."""
    for chunk in in_chunks(connection, ticket_ids):
        connection.execute(delete(_QUEUE).where(_QUEUE.c.ticket_id.in_(chunk)))


def reserve(connection: Connection, one: Waiting, until: int, turn: int) -> None:
    """Reserve a slot for a ticket; it is the last turn of its owner."""
    reserved = update(_QUEUE).where(_QUEUE.c.ticket_id == one.ticket_id)
    connection.execute(reserved.values(place=RESERVED, slot_until=until, waiter=""))
    if not connection.execute(update(_TURN).where(_TURN.c.name == one.owner).values(number=turn)).rowcount:
        connection.execute(insert(_TURN).values(name=one.owner, number=turn))


def set_active(connection: Connection, ticket_id: UUID, owner: str, number: int, time: int) -> None:
    """Give a ticket an active slot, whether it has one, waits, or comes from outside."""
    changed = update(_QUEUE).where(_QUEUE.c.ticket_id == ticket_id)
    if not connection.execute(changed.values(place=ACTIVE, slot_until=None, waiter="")).rowcount:
        _add(connection, ticket_id, owner, "", number, time, ACTIVE)


def sizes_of(connection: Connection, ticket_ids: Collection[UUID]) -> dict[UUID, int | None]:
    """Bytes of the archives of tickets, None where that is not known."""
    found: dict[UUID, int | None] = {}
    ticket = archive_tickets
    for chunk in in_chunks(connection, ticket_ids):
        rows = connection.execute(
            select(ticket.c.ticket_id, ticket.c.size_bytes).where(ticket.c.ticket_id.in_(chunk))
        )
        found |= {row.ticket_id: row.size_bytes for row in rows}
    return found
