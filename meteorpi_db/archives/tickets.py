"""Tickets: the plan of an archive under an id that nobody can guess, until it expires."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, not_, select, update

from meteorpi_db import limits
from meteorpi_db.archives.tables import (
    ETAG_LENGTH,
    HASH_LENGTH,
    archive_downloads,
    archive_plans,
    archive_queue,
    archive_tickets,
)
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import JsonObject, milliseconds_to_utc_datetime

IDEMPOTENCY_SECONDS: Final = 3600
MAX_ERRORS: Final = 1000
"""Failures that a ticket keeps; a source that fails for good fails in every download."""

_TICKET = archive_tickets
_PLAN = archive_plans
_TYPE_LENGTH: Final = 10


@dataclass(frozen=True)
class Owner:
    """Who made a ticket: a client, an account of the node, or, where searching is open to all, nobody.

    Attributes:
        client_id: of the client, or None.
        user_id: of the account, or None.
    """

    client_id: UUID | None = None
    user_id: str | None = None

    @property
    def key(self) -> str:
        """One text for each owner."""
        if self.client_id is not None:
            return f"client:{self.client_id.hex}"
        return "" if self.user_id is None else f"user:{self.user_id}"


@dataclass(frozen=True, kw_only=True)
class NewTicket:
    """What a ticket is made of.

    Attributes:
        ticket_type: ``zip`` or ``stream``.
        plan: the frozen plan, as bytes.
        entries: number of entries.
        expires_at: until when it is good; UTC.
        owner: who makes it.
        options: what was asked for, as a JSON object; no secrets.
        etag: equal exactly when the bytes of two archives are; None when they are not known.
        size_bytes: of the archive; None when it is not known.
        max_downloads: complete downloads after which it is used up; 0 for any number.
        published_as: name under which it is found as well, or None.
        idempotency_key: a repetition of the owner's request with the same key gets the same ticket.
        ticket_id: of a ticket that has been given out elsewhere; None makes one.
    """

    ticket_type: str
    plan: bytes = field(repr=False)
    entries: int
    expires_at: datetime
    owner: Owner = Owner()
    options: JsonObject = field(default_factory=dict)
    etag: str | None = None
    size_bytes: int | None = None
    max_downloads: int = 0
    published_as: str | None = None
    idempotency_key: str | None = None
    ticket_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A ticket without its plan.

    Attributes:
        ticket_id: the link to it.
        owner, ticket_type, options, etag, size_bytes, entries, max_downloads, published_as: as made.
        created_at, expires_at: UTC.
        is_withdrawn: whether its owner took it back.
        available_until: once it is used up, until when what was begun may be resumed; UTC.
        downloads: complete ones.
        bytes_sent: in all downloads.
        entries_done: the most that one download has sent whole.
        errors: failures of sources, each with index, name, reason and bytes.
    """

    ticket_id: UUID
    owner: Owner
    ticket_type: str
    options: JsonObject
    etag: str | None
    size_bytes: int | None
    entries: int
    created_at: datetime
    expires_at: datetime
    is_withdrawn: bool
    available_until: datetime | None
    max_downloads: int
    downloads: int
    bytes_sent: int
    entries_done: int
    errors: Sequence[JsonObject]
    published_as: str | None

    @property
    def is_used_up(self) -> bool:
        """Whether only what was begun may be gone on with."""
        return self.available_until is not None

    def outcome(self, now: datetime) -> str | None:
        """What became of it: ``withdrawn``, ``expired``, ``done`` or ``failed``; None for nothing yet."""
        if self.is_withdrawn:
            return "withdrawn"
        if self.expires_at <= now:
            return "expired"
        if self.is_used_up or self.downloads:
            return "done"
        return "failed" if self.errors else None

    def is_gone(self, now: datetime) -> bool:
        """Whether the link is as good as none: expired, withdrawn, or used up and not to be resumed."""
        is_over = self.available_until is not None and self.available_until <= now
        return self.is_withdrawn or is_over or self.expires_at <= now


def create(connection: Connection, new: NewTicket, now: int) -> Ticket:
    """Make a ticket, or give the one that the same request made within the hour."""
    idempotency = _idempotency(new)
    if idempotency is not None:
        same = connection.execute(select(_TICKET).where(_TICKET.c.idempotency == idempotency)).first()
        if same is not None and same.created_at > now - 1000 * IDEMPOTENCY_SECONDS:
            return _ticket_of(same)
        _forget_request(connection, _TICKET.c.idempotency == idempotency)
    ticket_id = new.ticket_id or uuid4()
    connection.execute(insert(_TICKET).values(_row_of(new, ticket_id, idempotency, now)))
    plan = base64.b64encode(new.plan).decode("ascii")
    connection.execute(insert(_PLAN).values(ticket_id=ticket_id, plan=plan))
    return find(connection, ticket_id)


def _idempotency(new: NewTicket) -> str | None:
    if new.idempotency_key is None:
        return None
    key = f"{new.owner.key}\n{new.idempotency_key}".encode(errors="surrogatepass")
    return hashlib.sha256(key).hexdigest()


def _forget_request(connection: Connection, condition: ColumnElement[bool]) -> None:
    connection.execute(update(_TICKET).where(condition).values(idempotency=None))


def _row_of(new: NewTicket, ticket_id: UUID, idempotency: str | None, now: int) -> dict[str, Any]:
    return {
        "ticket_id": ticket_id,
        "client_id": new.owner.client_id,
        "user_id": new.owner.user_id,
        "ticket_type": limits.checked_text(new.ticket_type, "type", _TYPE_LENGTH),
        "options": json.dumps(new.options),
        "etag": limits.checked_optional_text(new.etag, "etag", ETAG_LENGTH),
        "size_bytes": new.size_bytes,
        "entries": new.entries,
        "created_at": now,
        "expires_at": limits.checked_time(new.expires_at, "expires"),
        "max_downloads": new.max_downloads,
        "errors": "[]",
        "published_as": limits.checked_optional_text(new.published_as, "hash", HASH_LENGTH),
        "idempotency": idempotency,
    }


def find(connection: Connection, ticket_id: UUID) -> Ticket:
    """A ticket, whatever has become of it.

    Raises:
        NotFoundError: there is none with that id.
    """
    row = connection.execute(select(_TICKET).where(_TICKET.c.ticket_id == ticket_id)).first()
    if row is None:
        raise _unknown(ticket_id)
    return _ticket_of(row)


def find_published(connection: Connection, published_as: str) -> Ticket:
    """A ticket by the name under which it was published.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(_TICKET).where(_TICKET.c.published_as == published_as)).first()
    if row is None:
        raise NotFoundError("no such archive")
    return _ticket_of(row)


def plan_of(connection: Connection, ticket_id: UUID) -> bytes:
    """The plan of a ticket.

    Raises:
        NotFoundError: there is none, or the ticket was withdrawn or is used up.
    """
    found = connection.execute(select(_PLAN.c.plan).where(_PLAN.c.ticket_id == ticket_id)).scalar()
    if found is None:
        raise _unknown(ticket_id)
    return base64.b64decode(found)


def replace_plan(
    connection: Connection, ticket_id: UUID, plan: bytes, etag: str | None, size_bytes: int | None
) -> None:
    """Keep what a finished pass has found out.

    Raises:
        NotFoundError: there is no plan any more.
    """
    text = base64.b64encode(plan).decode("ascii")
    if not connection.execute(update(_PLAN).where(_PLAN.c.ticket_id == ticket_id).values(plan=text)).rowcount:
        raise _unknown(ticket_id)
    statement = update(_TICKET).where(_TICKET.c.ticket_id == ticket_id)
    connection.execute(statement.values(etag=etag, size_bytes=size_bytes))


def find_live(
    connection: Connection, owner: Owner, etag: str, options: JsonObject, now: int
) -> Ticket | None:
    """The owner's ticket for the same bytes with the same options that lives longest."""
    rows = connection.execute(
        select(_TICKET)
        .where(_TICKET.c.etag == etag, _owned_by(owner), _TICKET.c.expires_at > now)
        .order_by(_TICKET.c.expires_at.desc(), _TICKET.c.ticket_id)
    ).all()
    found = [ticket for ticket in map(_ticket_of, rows) if not (ticket.is_withdrawn or ticket.is_used_up)]
    return next((ticket for ticket in found if ticket.options == options), None)


def _owned_by(owner: Owner) -> ColumnElement[bool]:
    client = _TICKET.c.client_id
    user = _TICKET.c.user_id
    return and_(
        client.is_(None) if owner.client_id is None else client == owner.client_id,
        user.is_(None) if owner.user_id is None else user == owner.user_id,
    )


def page(connection: Connection, owner: Owner | None, limit: int, offset: int) -> list[Ticket]:
    """Tickets of an owner, or of all, newest first."""
    statement = select(_TICKET).order_by(_TICKET.c.created_at.desc(), _TICKET.c.ticket_id.desc())
    if owner is not None:
        statement = statement.where(_owned_by(owner))
    return [_ticket_of(row) for row in connection.execute(statement.limit(limit).offset(offset)).all()]


def count(connection: Connection, owner: Owner | None) -> int:
    """How many tickets an owner has, or all have."""
    statement = select(func.count()).select_from(_TICKET)
    return connection.execute(statement if owner is None else statement.where(_owned_by(owner))).scalar_one()


def withdraw(connection: Connection, ticket_id: UUID) -> None:
    """Take a ticket back: its link and its plan are gone at once; running downloads are told to end.

    Raises:
        NotFoundError: there is none with that id.
    """
    changed = update(_TICKET).where(_TICKET.c.ticket_id == ticket_id)
    if not connection.execute(changed.values(is_withdrawn=True, idempotency=None)).rowcount:
        raise _unknown(ticket_id)
    for table in (archive_queue, archive_plans):
        connection.execute(delete(table).where(table.c.ticket_id == ticket_id))


def drop(connection: Connection, ticket_id: UUID) -> None:
    """Delete a ticket, as if it had never been; running downloads are told to end.

    Raises:
        NotFoundError: there is none with that id.
    """
    if not connection.execute(delete(_TICKET).where(_TICKET.c.ticket_id == ticket_id)).rowcount:
        raise _unknown(ticket_id)


def drop_all(connection: Connection) -> int:
    """Delete every ticket; gives their number."""
    return connection.execute(delete(_TICKET)).rowcount


def sweep(connection: Connection, now: int, seen_after: int) -> int:
    """Delete what has expired; gives the number of tickets.

    Args:
        connection: to write with.
        now: milliseconds.
        seen_after: tickets with a download that gave a sign of life since then stay until it has ended.
    """
    ticket_id = archive_downloads.c.ticket_id
    running = select(ticket_id).where(archive_downloads.c.seen_at > seen_after, ticket_id.is_not(None))
    is_idle = not_(_TICKET.c.ticket_id.in_(running))
    removed = connection.execute(delete(_TICKET).where(_TICKET.c.expires_at <= now, is_idle)).rowcount
    used_up = select(_TICKET.c.ticket_id).where(_TICKET.c.available_until <= now, is_idle)
    connection.execute(delete(_PLAN).where(_PLAN.c.ticket_id.in_(used_up)))
    _forget_request(
        connection,
        and_(_TICKET.c.idempotency.is_not(None), _TICKET.c.created_at <= now - 1000 * IDEMPOTENCY_SECONDS),
    )
    return removed


def note_download(
    connection: Connection,
    ticket_id: UUID,
    *,
    bytes_sent: int,
    entries_done: int,
    errors: Iterable[JsonObject],
    completed_at: int | None,
    resume_grace: int,
) -> None:
    """Add what a download has done since it was noted last; nothing happens when the ticket is gone.

    Args:
        connection: to write with.
        ticket_id: what was downloaded.
        bytes_sent: more bytes.
        entries_done: entries that it has sent whole, from its start.
        errors: further failures.
        completed_at: when the last byte of the whole archive was handed over, or None; milliseconds.
        resume_grace: how long a ticket that is used up may be resumed; milliseconds.
    """
    row = connection.execute(select(_TICKET).where(_TICKET.c.ticket_id == ticket_id)).first()
    if row is None:
        return
    values: dict[str, Any] = {
        "bytes_sent": row.bytes_sent + bytes_sent,
        "entries_done": max(row.entries_done, entries_done),
    }
    if added := list(errors):
        values["errors"] = json.dumps((json.loads(row.errors) + added)[-MAX_ERRORS:])
    if completed_at is not None:
        values["downloads"] = row.downloads + 1
        if values["downloads"] == row.max_downloads:
            values["available_until"] = min(row.expires_at, completed_at + resume_grace)
    connection.execute(update(_TICKET).where(_TICKET.c.ticket_id == ticket_id).values(values))


def _unknown(ticket_id: UUID) -> NotFoundError:
    return NotFoundError("no such ticket", entity_id=ticket_id)


def _ticket_of(row: Row[Any]) -> Ticket:
    return Ticket(
        ticket_id=row.ticket_id,
        owner=Owner(row.client_id, row.user_id),
        ticket_type=row.ticket_type,
        options=json.loads(row.options),
        etag=row.etag,
        size_bytes=row.size_bytes,
        entries=row.entries,
        created_at=milliseconds_to_utc_datetime(row.created_at),
        expires_at=milliseconds_to_utc_datetime(row.expires_at),
        is_withdrawn=row.is_withdrawn,
        available_until=milliseconds_to_utc_datetime(row.available_until),
        max_downloads=row.max_downloads,
        downloads=row.downloads,
        bytes_sent=row.bytes_sent,
        entries_done=row.entries_done,
        errors=json.loads(row.errors),
        published_as=row.published_as,
    )
