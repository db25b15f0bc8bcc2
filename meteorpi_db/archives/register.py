"""`ArchiveRegister`: clients and tickets, for any number of threads and processes on one database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from sqlalchemy import delete

from meteorpi_db.archives import checksums, clients, tickets
from meteorpi_db.archives.clients import Client, Limits, Rights
from meteorpi_db.archives.downloads import DOWNLOAD_SECONDS
from meteorpi_db.archives.tables import TABLES
from meteorpi_db.archives.tickets import NewTicket, Owner, Ticket
from meteorpi_db.connections import Transactions
from meteorpi_model.values import Clock, JsonObject, now, utc_datetime_to_milliseconds

PAGE_TICKETS: Final = 10
RESUME_GRACE_SECONDS: Final = 3600.0


class ArchiveRegister:
    """Who may ask for archives, and what links were given out; each call is one short transaction.

    Args:
        transactions: of the node's database, or of another one with its schema.
        clock: tells the time.
    """

    def __init__(self, transactions: Transactions, clock: Clock = now) -> None:
        self._transactions = transactions
        self._clock = clock

    # --- clients ---------------------------------------------------------------------------------------

    def add_client(
        self,
        name: str,
        rights: Rights | None = None,
        limits: Limits | None = None,
        *,
        secret: str | None = None,
        signing: bool = False,
    ) -> str:
        """Make a client; see :func:`meteorpi_db.archives.clients.create`.

        Returns:
            Its secret, for the only time.

        Raises:
            InvalidDocumentError: the name or the secret cannot be used.
            ConflictError: there is a client of that name, or with that secret.
        """
        return self._transactions.write(
            lambda connection: clients.create(
                connection,
                name,
                rights or Rights(),
                limits or Limits(),
                self._now(),
                secret=secret,
                signing=signing,
            )
        )

    def client(self, name: str) -> Client | None:
        """The client of that name, enabled or not; None when there is none."""
        with self._transactions.reading() as connection:
            return clients.find(connection, name)

    def client_of_id(self, client_id: UUID) -> Client | None:
        """The client with that identity, enabled or not; None when there is none."""
        with self._transactions.reading() as connection:
            return clients.of_id(connection, client_id)

    def client_of_secret(self, secret: str) -> Client | None:
        """The enabled client whose secret this is; None when there is none."""
        with self._transactions.reading() as connection:
            return clients.of_secret(connection, secret)

    def clients(self) -> list[Client]:
        """Every client, by name."""
        with self._transactions.reading() as connection:
            return clients.all_clients(connection)

    def drop_client(self, name: str) -> None:
        """Delete a client and all its tickets.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._transactions.write(lambda connection: clients.drop(connection, name))

    def regenerate_client(self, name: str) -> str:
        """Give a client another secret, which is returned; the old one is worth nothing from now on.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._transactions.write(lambda connection: clients.regenerate(connection, name))

    def set_client_enabled(self, name: str, is_enabled: bool) -> None:
        """Accept the secret of a client, or do not.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._transactions.write(lambda connection: clients.set_enabled(connection, name, is_enabled))

    def clear(self) -> int:
        """Delete every client, ticket, and place in the queue; gives the number of rows."""
        return self._transactions.write(
            lambda connection: sum(connection.execute(delete(table)).rowcount for table in reversed(TABLES))
        )

    # --- tickets ---------------------------------------------------------------------------------------

    def add_ticket(self, new: NewTicket) -> Ticket:
        """Make a ticket, or give the one that the same request of the same owner made within the hour.

        Raises:
            ConstraintError: the owner does not exist (any more), or `published_as` is taken.
        """
        return self._transactions.write(lambda connection: tickets.create(connection, new, self._now()))

    def ticket(self, ticket_id: UUID) -> Ticket:
        """A ticket, whatever has become of it: see :meth:`Ticket.is_gone`.

        Raises:
            NotFoundError: there is none with that id.
        """
        with self._transactions.reading() as connection:
            return tickets.find(connection, ticket_id)

    def published_ticket(self, published_as: str) -> Ticket:
        """A ticket by the name under which it was published, whatever has become of it.

        Raises:
            NotFoundError: there is none.
        """
        with self._transactions.reading() as connection:
            return tickets.find_published(connection, published_as)

    def ticket_plan(self, ticket_id: UUID) -> bytes:
        """The plan of a ticket.

        Raises:
            NotFoundError: there is none, or the ticket was withdrawn or is used up.
        """
        with self._transactions.reading() as connection:
            return tickets.plan_of(connection, ticket_id)

    def replace_plan(self, ticket_id: UUID, plan: bytes, *, etag: str | None, size_bytes: int | None) -> None:
        """Keep what a finished pass has found out, such as checksums.

        Raises:
            NotFoundError: there is no plan any more.
        """
        self._transactions.write(
            lambda connection: tickets.replace_plan(connection, ticket_id, plan, etag, size_bytes)
        )

    def live_ticket(self, owner: Owner, etag: str, options: JsonObject) -> Ticket | None:
        """The owner's ticket for the same bytes with the same options that lives longest, or None."""
        with self._transactions.reading() as connection:
            return tickets.find_live(connection, owner, etag, options, self._now())

    def tickets(
        self, owner: Owner | None = None, *, limit: int = PAGE_TICKETS, offset: int = 0
    ) -> list[Ticket]:
        """Tickets of `owner`, or of all, newest first."""
        with self._transactions.reading() as connection:
            return tickets.page(connection, owner, limit, offset)

    def count_tickets(self, owner: Owner | None = None) -> int:
        """How many tickets `owner` has, or all have."""
        with self._transactions.reading() as connection:
            return tickets.count(connection, owner)

    def withdraw(self, ticket_id: UUID) -> None:
        """Take a ticket back: its link and its plan are gone at once, and its slot is free.

        Raises:
            NotFoundError: there is none with that id.
        """
        self._transactions.write(lambda connection: tickets.withdraw(connection, ticket_id))

    def drop_ticket(self, ticket_id: UUID) -> None:
        """Delete a ticket, as if it had never been.

        Raises:
            NotFoundError: there is none with that id.
        """
        self._transactions.write(lambda connection: tickets.drop(connection, ticket_id))

    def drop_all_tickets(self) -> int:
        """Delete every ticket; gives their number."""
        return self._transactions.write(tickets.drop_all)

    def sweep(self) -> int:
        """Delete what expired and is not being downloaded, and old checksums; gives the number of tickets."""
        now = self._now()
        seen_after = now - round(1000 * DOWNLOAD_SECONDS)
        self._transactions.write(lambda connection: checksums.sweep(connection, now))
        return self._transactions.write(lambda connection: tickets.sweep(connection, now, seen_after))

    def note_download(
        self,
        ticket_id: UUID,
        *,
        bytes_sent: int = 0,
        entries_done: int = 0,
        errors: Iterable[JsonObject] = (),
        is_complete: bool = False,
        resume_grace_seconds: float = RESUME_GRACE_SECONDS,
    ) -> None:
        """Add what a download has done since it was noted last; nothing happens when the ticket is gone.

        Args:
            ticket_id: what is downloaded.
            bytes_sent: more bytes.
            entries_done: entries that this download has sent whole so far.
            errors: further failures of sources: objects with index, name, reason and bytes.
            is_complete: the last byte of the whole archive was handed over by a download from its start.
            resume_grace_seconds: how long a ticket that is used up by it may be resumed.
        """
        completed_at = self._now() if is_complete else None
        kept = list(errors)
        self._transactions.write(
            lambda connection: tickets.note_download(
                connection,
                ticket_id,
                bytes_sent=bytes_sent,
                entries_done=entries_done,
                errors=kept,
                completed_at=completed_at,
                resume_grace=round(1000 * resume_grace_seconds),
            )
        )

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())
