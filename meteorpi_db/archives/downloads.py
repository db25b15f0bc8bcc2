"""The connections that take bytes of archives now, of all processes: who they belong to, how far they are."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_db.archives.tables import OWNER_LENGTH, archive_downloads, archive_tickets
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import in_chunks
from meteorpi_model.values import Clock, now, utc_datetime_to_milliseconds

DOWNLOAD_SECONDS: Final = 120.0
"""After so long without a sign of life a download is taken to be dead: its process was killed."""

_DOWNLOAD = archive_downloads
_TICKET = archive_tickets


@dataclass(frozen=True, kw_only=True)
class Download:
    """One connection; times in milliseconds.

    Attributes:
        download_id: identity.
        process: the process that sends.
        link: equal for the connections of one archive; see :func:`link_digest`.
        owner: key of whoever made the link.
        ticket_id: of the ticket, or None for an archive without one.
        started_at: when it began.
        seen_at: its last sign of life.
        sent_bytes: how much it has been sent by then.
        total_bytes: how much it will be sent, or None.
    """

    download_id: UUID
    process: str
    link: str
    owner: str
    ticket_id: UUID | None = None
    started_at: int = 0
    seen_at: int = 0
    sent_bytes: int = 0
    total_bytes: int | None = None


def link_digest(link: str) -> str:
    """What connections of one archive have in common; nobody can download by it."""
    return hashlib.sha256(link.encode(errors="surrogatepass")).hexdigest()


class Downloads:
    """The connections of archives for which no turn has to be waited for; each call is one transaction.

    Those that had to wait are in the same table, with :class:`~meteorpi_db.archives.queue.ArchiveQueue`.

    Args:
        transactions: of the database.
        clock: tells the time.
    """

    def __init__(self, transactions: Transactions, clock: Clock = now) -> None:
        self._transactions = transactions
        self._clock = clock

    def renew(self, going_on: Collection[Download]) -> set[UUID]:
        """Note that connections are there and how far they are; times of `going_on` are not looked at.

        Those that are not in the table are added, unless their ticket was withdrawn. What gave no sign of
        life for `DOWNLOAD_SECONDS` is removed.

        Returns:
            Those that have to end: their ticket was withdrawn or deleted.
        """

        def operation(connection: Connection) -> set[UUID]:
            time = utc_datetime_to_milliseconds(self._clock())
            over = {each.download_id for each in going_on if not _ticket_is_there(connection, each.ticket_id)}
            for each in going_on:
                if each.download_id in over:
                    remove(connection, each.download_id)
                elif not see(connection, each, time):
                    add(connection, each, time)
            remove_dead(connection, time - round(1000 * DOWNLOAD_SECONDS))
            return over

        return self._transactions.write(operation)

    def end(self, download_ids: Iterable[UUID]) -> None:
        """Note that connections have ended."""
        ended = list(download_ids)

        def operation(connection: Connection) -> None:
            for download_id in ended:
                remove(connection, download_id)

        self._transactions.write(operation)

    def running(self) -> list[Download]:
        """The connections of all processes, as far as they give signs of life."""
        since = utc_datetime_to_milliseconds(self._clock()) - round(1000 * DOWNLOAD_SECONDS)
        with self._transactions.reading() as connection:
            return running(connection, since)


# --- rows ----------------------------------------------------------------------------------------------


def add(connection: Connection, download: Download, time: int) -> None:
    """Note a connection that begins."""
    connection.execute(
        insert(_DOWNLOAD).values(
            download_id=download.download_id,
            ticket_id=download.ticket_id,
            process=limits.checked_text(download.process, "process", tables.NAME_LENGTH),
            link=download.link,
            owner=limits.checked_text(download.owner, "owner", OWNER_LENGTH, may_be_empty=True),
            started_at=time,
            seen_at=time,
            sent_bytes=download.sent_bytes,
            total_bytes=download.total_bytes,
        )
    )


def see(connection: Connection, download: Download, time: int) -> bool:
    """Note that a connection goes on and how far it is; False when nothing is known of it."""
    statement = update(_DOWNLOAD).where(_DOWNLOAD.c.download_id == download.download_id)
    values = {
        "seen_at": time,
        "sent_bytes": download.sent_bytes,
        "total_bytes": download.total_bytes,
    }
    return bool(connection.execute(statement.values(values)).rowcount)


def renew(
    connection: Connection, download_ids: Collection[UUID], time: int, progress: Mapping[UUID, Download]
) -> set[UUID]:
    """Note that connections go on; gives those that must not."""
    alive: set[UUID] = set()
    for chunk in in_chunks(connection, download_ids):
        is_mine = _DOWNLOAD.c.download_id.in_(chunk)
        connection.execute(update(_DOWNLOAD).where(is_mine).values(seen_at=time))
        of_ticket = and_(_TICKET.c.ticket_id == _DOWNLOAD.c.ticket_id, _TICKET.c.is_withdrawn.is_(False))
        going_on = select(_DOWNLOAD.c.download_id).where(is_mine, of_ticket)
        alive.update(connection.execute(going_on).scalars())
    for download_id in alive & progress.keys():
        see(connection, progress[download_id], time)
    return set(download_ids) - alive


def remove(connection: Connection, download_id: UUID) -> None:
    """Note that a connection has ended."""
    connection.execute(delete(_DOWNLOAD).where(_DOWNLOAD.c.download_id == download_id))


def remove_dead(connection: Connection, seen_until: int) -> None:
    """Delete connections without a sign of life since then."""
    connection.execute(delete(_DOWNLOAD).where(_DOWNLOAD.c.seen_at <= seen_until))


def running(connection: Connection, seen_after: int) -> list[Download]:
    """Connections with a sign of life since then."""
    rows = connection.execute(select(_DOWNLOAD).where(_DOWNLOAD.c.seen_at > seen_after))
    return [_download_of(row) for row in rows]


def connections(connection: Connection, seen_after: int) -> dict[UUID, int]:
    """Number of connections with a sign of life since then, of each ticket that has any."""
    statement = (
        select(_DOWNLOAD.c.ticket_id, func.count().label("number"))
        .where(_DOWNLOAD.c.seen_at > seen_after, _DOWNLOAD.c.ticket_id.is_not(None))
        .group_by(_DOWNLOAD.c.ticket_id)
    )
    return {row.ticket_id: row.number for row in connection.execute(statement)}


def _ticket_is_there(connection: Connection, ticket_id: UUID | None) -> bool:
    if ticket_id is None:
        return True
    statement = select(_TICKET.c.is_withdrawn).where(_TICKET.c.ticket_id == ticket_id)
    return connection.execute(statement).scalar() is False


def _download_of(row: Row[Any]) -> Download:
    return Download(
        download_id=row.download_id,
        process=row.process,
        link=row.link,
        owner=row.owner,
        ticket_id=row.ticket_id,
        started_at=row.started_at,
        seen_at=row.seen_at,
        sent_bytes=row.sent_bytes,
        total_bytes=row.total_bytes,
    )
