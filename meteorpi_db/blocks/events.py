"""What happened below a prefix, in order, kept for a day so that those who were away can catch up.

Source: A.9, K-151 and K-152 of the storage contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from meteorpi_db.blocks.tables import block_event, block_prefix

KEPT_MILLISECONDS: Final = 24 * 3600 * 1000

Operation = Literal["POST", "DELETE"]
_EVENT = block_event
_PREFIX = block_prefix


@dataclass(frozen=True, kw_only=True)
class BlockEvent:
    """One change.

    Attributes:
        prefix, path: of the object.
        number: of the prefix, from 1 on, without gaps.
        operation: ``POST`` or ``DELETE``, as published clients know them.
        sha256, size: of the new bytes; None for a removal.
        occurred_at: milliseconds.
        change: bytes by which it changed what an account uses; not kept.
    """

    prefix: str
    path: str
    number: int
    operation: str
    sha256: str | None
    size: int | None
    occurred_at: int
    change: int = field(default=0, compare=False)


def record(
    connection: Connection,
    prefix: str,
    path: str,
    operation: Operation,
    now: int,
    sha256: str | None = None,
    size: int | None = None,
) -> BlockEvent:
    """Number and keep an event; whoever calls has the turn of the prefix."""
    this = _PREFIX.c.name == prefix
    connection.execute(update(_PREFIX).where(this).values(sequence=_PREFIX.c.sequence + 1))
    number = connection.execute(select(_PREFIX.c.sequence).where(this)).scalar_one()
    connection.execute(
        insert(_EVENT).values(
            prefix=prefix,
            number=number,
            operation=operation,
            path=path,
            sha256=sha256,
            size_bytes=size,
            occurred_at=now,
        )
    )
    return BlockEvent(
        prefix=prefix,
        path=path,
        number=number,
        operation=operation,
        sha256=sha256,
        size=size,
        occurred_at=now,
    )


def events_after(connection: Connection, prefix: str, number: int, limit: int) -> list[BlockEvent]:
    """The first `limit` events of a prefix after that of `number`."""
    statement = (
        select(_EVENT)
        .where(_EVENT.c.prefix == prefix, _EVENT.c.number > number)
        .order_by(_EVENT.c.number)
        .limit(limit)
    )
    return [
        BlockEvent(
            prefix=row.prefix,
            path=row.path,
            number=row.number,
            operation=row.operation,
            sha256=row.sha256,
            size=row.size_bytes,
            occurred_at=row.occurred_at,
        )
        for row in connection.execute(statement)
    ]


def oldest_number(connection: Connection, prefix: str) -> int | None:
    """Number of the oldest event that is kept, None when none is."""
    statement = select(func.min(_EVENT.c.number)).where(_EVENT.c.prefix == prefix)
    found: int | None = connection.execute(statement).scalar_one()
    return found


def forget_before(connection: Connection, time: int) -> int:
    """Remove events older than `time`, in milliseconds; gives their number."""
    return connection.execute(delete(_EVENT).where(_EVENT.c.occurred_at < time)).rowcount
