"""Room that is kept for uploads under way.

A reservation is a row with an end. What is reserved is the sum of those that have not lapsed, so that nobody
has to give back what a killed process had reserved.

Source: K-213 of the storage contract.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from meteorpi_db.blocks.tables import block_upload

LAPSE_MILLISECONDS: Final = 3600 * 1000
"""How long an upload of one request may take before its room is given to others."""

_UPLOAD = block_upload


def reserve(
    connection: Connection,
    upload_id: str,
    content_id: UUID,
    account_id: str | None,
    prefix: str,
    path: str,
    reserved: int,
    expires_at: int,
) -> None:
    """Keep room for an upload; whoever calls has the turn of the account and looked whether there is any."""
    connection.execute(
        insert(_UPLOAD).values(
            upload_id=upload_id,
            content_id=content_id,
            account_id=account_id,
            prefix=prefix,
            path=path,
            reserved=reserved,
            demands="",
            begun_at=expires_at - LAPSE_MILLISECONDS,
            expires_at=expires_at,
        )
    )


def give_back(connection: Connection, upload_id: str) -> None:
    """End a reservation; harmless when it ended before."""
    connection.execute(delete(_UPLOAD).where(_UPLOAD.c.upload_id == upload_id))


def forget_lapsed(connection: Connection, now: int) -> int:
    """Remove the rows of uploads whose time is over and that have nothing in the store; how many."""
    has_no_bytes = (_UPLOAD.c.kind == "request") | _UPLOAD.c.finished_as.is_not(None)
    return connection.execute(delete(_UPLOAD).where(_UPLOAD.c.expires_at <= now, has_no_bytes)).rowcount


def reserved_of(connection: Connection, account_id: str, now: int, but: str = "") -> int:
    """Bytes reserved by an account for its uploads, leaving out the upload `but`."""
    return _sum(connection, _UPLOAD.c.account_id == account_id, now, but)


def reserved_below(connection: Connection, prefix: str, now: int, but: str = "") -> int:
    """The same for the uploads below a prefix."""
    return _sum(connection, _UPLOAD.c.prefix == prefix, now, but)


def _sum(connection: Connection, whose: ColumnElement[bool], now: int, but: str) -> int:
    total = func.coalesce(func.sum(_UPLOAD.c.reserved), 0)
    statement = select(total).where(whose, _UPLOAD.c.expires_at > now, _UPLOAD.c.upload_id != but)
    return int(connection.execute(statement).scalar_one())
