"""Removing a prefix with everything below it, a few objects in each transaction.

From the first transaction on nothing below the prefix can be seen or written; the rest is work that any
process does, and goes on with where another one was killed. What is counted is right after each step. The
row of the prefix stays as long as its events are kept, so that listeners hear of every removal.

Source: the table of routes in part C, K-141, K-151 and K-214 of the storage contract.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, delete, func, or_, select, update

from meteorpi_db.blocks import contents, events, prefixes
from meteorpi_db.blocks.changes import Terms, require_removable
from meteorpi_db.blocks.tables import block_event, block_object, block_prefix
from meteorpi_model.errors import NotFoundError

OBJECTS_AT_ONCE: Final = 100

_OBJECT = block_object
_PREFIX = block_prefix
_EVENT = block_event


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What one step did.

    Attributes:
        events: of the objects that were removed, in order.
        is_over: whether there is nothing more to do now.
    """

    events: list[events.BlockEvent]
    is_over: bool


def begin(connection: Connection, name: str, terms: Terms, now: int) -> bool:
    """Take a prefix away from everybody; whether there is anything below it to be removed.

    Raises:
        NotFoundError: there is no such prefix, or it is being removed already.
        NotAllowedError: it is another account's, or something below it has to stay.
    """
    turn = prefixes.take_turn(connection, name)
    prefixes.require_owner(turn.prefix, terms.account_id)
    if turn.prefix.is_leaving:
        raise NotFoundError("this prefix is being removed")
    newest = select(func.max(_OBJECT.c.modified_at)).where(_OBJECT.c.prefix == name)
    require_removable(turn, connection.execute(newest).scalar_one(), terms, now)
    connection.execute(update(_PREFIX).where(_PREFIX.c.name == name).values(is_leaving=True))
    return turn.prefix.objects > 0


def leaving(connection: Connection, now: int) -> list[str]:
    """Names of the prefixes that are being removed, and where something can be done for it now."""
    recent = (_EVENT.c.prefix == _PREFIX.c.name, _EVENT.c.occurred_at >= now - events.KEPT_MILLISECONDS)
    has_work = or_(_PREFIX.c.objects > 0, ~select(_EVENT.c.number).where(*recent).exists())
    statement = select(_PREFIX.c.name).where(_PREFIX.c.is_leaving.is_(True), has_work)
    return list(connection.execute(statement.order_by(_PREFIX.c.name)).scalars())


def remove_some(connection: Connection, name: str, now: int, limit: int = OBJECTS_AT_ONCE) -> Removed:
    """Remove up to `limit` objects below a prefix that is being removed; at last the prefix itself."""
    try:
        turn = prefixes.take_turn(connection, name)
    except NotFoundError:  # somebody else has come to the end of it, perhaps while this waited
        return Removed(events=[], is_over=True)
    if not turn.prefix.is_leaving:
        return Removed(events=[], is_over=True)
    ordered = select(_OBJECT.c.path, _OBJECT.c.content_id, _OBJECT.c.size_bytes).where(
        _OBJECT.c.prefix == name
    )
    rows = connection.execute(ordered.order_by(_OBJECT.c.path).limit(limit)).all()
    for row in rows:
        connection.execute(delete(_OBJECT).where(_OBJECT.c.prefix == name, _OBJECT.c.path == row.path))
        contents.release(connection, row.content_id, now)
    prefixes.count(connection, turn, -sum(row.size_bytes for row in rows), -len(rows))
    told = [
        replace(
            events.record(connection, name, row.path, "DELETE", now),
            change=0 if turn.account is None else -row.size_bytes,
        )
        for row in rows
    ]
    if len(rows) == limit:
        return Removed(events=told, is_over=False)
    _forget_when_old(connection, name, now)
    return Removed(events=told, is_over=True)


def _forget_when_old(connection: Connection, name: str, now: int) -> None:
    """Remove the row of a prefix that is empty once nobody can ask for its events any more."""
    newest = select(func.max(_EVENT.c.occurred_at)).where(_EVENT.c.prefix == name)
    last = connection.execute(newest).scalar_one()
    if last is None or now - last > events.KEPT_MILLISECONDS:
        connection.execute(delete(_PREFIX).where(_PREFIX.c.name == name))
