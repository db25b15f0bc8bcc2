"""Bytes that were read, by account and month of UTC.

Source: K-220 and K-223 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from meteorpi_db.blocks.tables import block_traffic
from meteorpi_db.dialects import insert_ignore

_TRAFFIC = block_traffic


def month_of(time: datetime) -> int:
    """The month of a time in UTC as a number, such as 202611."""
    return time.year * 100 + time.month


def months_before(month: int, count: int) -> int:
    """The month that was so many months before another one."""
    index = month // 100 * 12 + month % 100 - 1 - count
    return index // 12 * 100 + index % 12 + 1


def add(connection: Connection, sent: Mapping[str, int], month: int) -> None:
    """Add bytes to what accounts have read this month."""
    for account_id in sorted(sent):  # everybody in the same order, so that nobody waits in a circle
        this = (_TRAFFIC.c.account_id == account_id, _TRAFFIC.c.traffic_month == month)
        more = update(_TRAFFIC).where(*this).values(sent=_TRAFFIC.c.sent + sent[account_id])
        if not connection.execute(more).rowcount:
            insert_ignore(connection, _TRAFFIC, {"account_id": account_id, "traffic_month": month, "sent": 0})
            connection.execute(more)


def sent_in(connection: Connection, account_id: str, month: int) -> int:
    """Bytes that an account has read in a month."""
    statement = select(_TRAFFIC.c.sent).where(
        _TRAFFIC.c.account_id == account_id, _TRAFFIC.c.traffic_month == month
    )
    return connection.execute(statement).scalar_one_or_none() or 0


def months_of(connection: Connection, account_id: str) -> dict[int, int]:
    """Bytes by month, the oldest first."""
    statement = select(_TRAFFIC).where(_TRAFFIC.c.account_id == account_id).order_by(_TRAFFIC.c.traffic_month)
    return {row.traffic_month: row.sent for row in connection.execute(statement)}


def forget_before(connection: Connection, month: int) -> int:
    """Remove what is older than a month; gives the number of rows."""
    return connection.execute(delete(_TRAFFIC).where(_TRAFFIC.c.traffic_month < month)).rowcount
