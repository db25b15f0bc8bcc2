"""The audit log: who changed what, when, from where (B-59). Entries are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from meteorpi_db import limits, tables
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_model.errors import InvalidDocumentError

_ENTRY = tables.audit_entry
_ACTION_LENGTH = 64
_ADDRESS_LENGTH = 64


@dataclass(frozen=True)
class AuditEntry:
    """One thing that somebody did.

    Attributes:
        entry_id: grows with time; the `before_id` of the next page.
        recorded_at: UTC.
        actor: account, or what stands for nobody.
        action: such as ``user.delete``.
        subject: what it was done to.
        detail: more for a person, or None.
        address: where the request came from, or None.
    """

    entry_id: int
    recorded_at: datetime
    actor: str
    action: str
    subject: str
    detail: str | None
    address: str | None


def record(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: str | None,
    address: str | None,
    now: int,
) -> None:
    """Add an entry. What is too long is cut: an audit log does not refuse what has happened."""
    connection.execute(
        insert(_ENTRY).values(
            recorded_at=now,
            actor=limits.fitting_text(actor, tables.NAME_LENGTH),
            action=limits.fitting_text(action, _ACTION_LENGTH),
            subject=limits.fitting_text(subject, tables.NAME_LENGTH),
            detail=None if detail is None else limits.fitting_text(detail, tables.TEXT_LENGTH),
            address=None if address is None else limits.fitting_text(address, _ADDRESS_LENGTH),
        )
    )


def entries(connection: Connection, limit: int, before_id: int | None) -> list[AuditEntry]:
    """The last `limit` entries, newest first; those before entry `before_id` when it is given."""
    if limit < 1:
        raise InvalidDocumentError(f"limit must be at least 1, not {limit}", pointer="/limit")
    statement = select(_ENTRY).order_by(_ENTRY.c.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(_ENTRY.c.id < before_id)
    return [
        AuditEntry(
            entry_id=row.id,
            recorded_at=milliseconds_to_utc_datetime(row.recorded_at),
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            detail=row.detail,
            address=row.address,
        )
        for row in connection.execute(statement)
    ]


def last_time_of(connection: Connection, action: str, since: int) -> int | None:
    """When `action` was recorded last, not before `since`; both in milliseconds."""
    statement = select(func.max(_ENTRY.c.recorded_at))
    wanted = statement.where(_ENTRY.c.recorded_at >= since, _ENTRY.c.action == action)
    found: int | None = connection.execute(wanted).scalar()
    return found
