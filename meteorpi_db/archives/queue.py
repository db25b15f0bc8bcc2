"""`ArchiveQueue`: which tickets may be downloaded now, agreed among all processes of a database.

A ticket that may be downloaded has a *slot*: reserved for a short while when its turn comes, active while at
least one connection takes bytes. Ranges of one ticket share its slot. Everything that a process holds here
has to be renewed, so what it held is free again soon after it was killed.

Whoever changes the queue first counts up the row of `archive_turns`, which makes the changes happen one after
the other on every engine: a transaction that was overtaken there is repeated. Times are those of the
processes that ask; their clocks must agree to a few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Connection

from meteorpi_db.archives import downloads
from meteorpi_db.archives import queue_rows as rows
from meteorpi_db.archives.downloads import Download, link_digest
from meteorpi_db.archives.forecast import seconds_until_turn
from meteorpi_db.archives.queue_state import Place, QueueRules, QueueState, Refusal, Standing, milliseconds
from meteorpi_db.archives.turns import in_order
from meteorpi_db.connections import Transactions
from meteorpi_model.errors import ConflictError, NotFoundError
from meteorpi_model.values import Clock, now, utc_datetime_to_milliseconds

_REFRESHES: Final = 3  # in the time that a waiter is believed to be there without a word from it


class AlreadyWaitingError(ConflictError):
    """Another waiter of the same ticket is there."""


class ArchiveQueue:
    """The slots and who waits for them; each call is one short transaction.

    Args:
        transactions: of the database with the tickets.
        rules: the same in every process.
        clock: tells the time.
    """

    def __init__(self, transactions: Transactions, rules: QueueRules, clock: Clock = now) -> None:
        self._transactions = transactions
        self.rules = rules
        self._clock = clock

    # --- waiting ---------------------------------------------------------------------------------------

    def enter(self, ticket_id: UUID, waiter: str) -> Standing:
        """Wait with a ticket, or go on waiting in the place that it has.

        Args:
            ticket_id: which one.
            waiter: names the one who waits, differently for each.

        Raises:
            NotFoundError: there is no such ticket.
            AlreadyWaitingError: somebody else waits with it.
        """

        def operation(connection: Connection) -> Standing:
            owner = _owner_of(connection, ticket_id)
            self._settle(connection)
            row = rows.row_of(connection, ticket_id)
            if row is None and self.rules.is_queued:
                rows.add_waiting(
                    connection, ticket_id, owner, waiter, rows.next_number(connection), self._now()
                )
                self._hand_out(connection)
            elif row is not None and row.is_waiting:
                if row.waiter not in ("", waiter):
                    raise AlreadyWaitingError("somebody waits with this ticket already")
                rows.see_waiter(connection, ticket_id, waiter, self._now())
            return self._standing(connection, ticket_id)

        return self._transactions.write(operation)

    def look(self, ticket_id: UUID, waiter: str) -> Standing:
        """How things are, for a waiter that has entered; meant to be asked about once a second.

        It mostly reads. Now and then it lets the others know that the waiter is there, and it gives free
        slots, also to others, as soon as there are any. A ticket that is outside again has to enter anew.
        """
        with self._transactions.reading() as connection:
            state = self._state(connection)
            standing = self._with_forecast(connection, state, state.standing(ticket_id), ticket_id)
        row = state.row_of(ticket_id)
        is_due = row is not None and row.seen_at + self._refresh() <= state.time and row.waiter == waiter
        if not is_due and not state.over() and state.next() is None:
            return standing

        def operation(connection: Connection) -> Standing:
            rows.next_number(connection)
            rows.see_waiter(connection, ticket_id, waiter, self._now(), only_if=waiter)
            self._settle(connection)
            return self._standing(connection, ticket_id)

        return self._transactions.write(operation)

    def pause(self, ticket_id: UUID, waiter: str) -> None:
        """Let the waiter go and keep the place for `waiter_seconds`, in case that it asks again."""
        self._transactions.write(lambda connection: rows.release_waiter(connection, ticket_id, waiter))

    def leave(self, ticket_id: UUID, waiter: str) -> None:
        """Give up the place; nothing happens when another waits, or when the ticket has its slot."""

        def operation(connection: Connection) -> None:
            self._settle(connection)
            rows.remove_waiting(connection, ticket_id, waiter)

        self._transactions.write(operation)

    def standing(self, ticket_id: UUID) -> Standing:
        """How things are with a ticket, for somebody who does not wait with it; changes nothing."""
        with self._transactions.reading() as connection:
            return self._standing(connection, ticket_id)

    def waited_seconds(self, ticket_id: UUID) -> float | None:
        """How long a ticket has waited for the slot that is reserved for it; None when there is none."""
        with self._transactions.reading() as connection:
            row = rows.row_of(connection, ticket_id)
        if row is None or row.slot_until is None:
            return None
        return (row.slot_until - milliseconds(self.rules.lease_seconds) - row.enqueued_at) / 1000

    def length(self) -> int:
        """How many tickets wait."""
        with self._transactions.reading() as connection:
            return len(self._state(connection).waiting())

    # --- downloading -----------------------------------------------------------------------------------

    def start(self, ticket_id: UUID, process: str) -> UUID | Refusal:
        """Begin to download a ticket, or another range of it.

        Args:
            ticket_id: which one.
            process: names the process, for whoever looks at the database.

        Returns:
            The download, to be renewed and ended, or why it must not begin.

        Raises:
            NotFoundError: there is no such ticket, or it was withdrawn.
        """

        def operation(connection: Connection) -> UUID | Refusal:
            owner = _owner_of(connection, ticket_id)
            self._settle(connection)
            refusal = self._state(connection, {owner}).refusal(ticket_id, owner)
            if refusal is not None:
                return refusal
            link, time = link_digest(str(ticket_id)), self._now()
            begun = Download(
                download_id=uuid4(), process=process, link=link, owner=owner, ticket_id=ticket_id
            )
            rows.set_active(connection, ticket_id, owner, rows.next_number(connection), time)
            downloads.add(connection, begun, time)
            return begun.download_id

        return self._transactions.write(operation)

    def renew(
        self, download_ids: Iterable[UUID], progress: Mapping[UUID, Download] | None = None
    ) -> set[UUID]:
        """Give a sign of life of downloads, well within `download_seconds`.

        Args:
            download_ids: which ones.
            progress: how far they are, as far as that is known.

        Returns:
            Those that have to end, because the ticket was withdrawn or deleted, or because they were taken to
            be dead and somebody else may have the slot.
        """
        wanted = list(download_ids)
        found = progress or {}
        return self._transactions.write(
            lambda connection: downloads.renew(connection, wanted, self._now(), found)
        )

    def end(self, download_id: UUID) -> None:
        """End a download; its slot goes on at once when it was the last one of its ticket."""

        def operation(connection: Connection) -> None:
            rows.next_number(connection)
            downloads.remove(connection, download_id)
            self._settle(connection)

        self._transactions.write(operation)

    def settle(self) -> None:
        """Free what was held by waiters and processes that are gone, and hand it on, if there is any."""
        with self._transactions.reading() as connection:
            state = self._state(connection)
        if state.over() or state.next() is not None:
            self._transactions.write(self._settle)

    # --- inside a transaction --------------------------------------------------------------------------

    def _settle(self, connection: Connection) -> None:
        rows.next_number(connection)  # first: the time that is asked next must not be older than the rows
        downloads.remove_dead(connection, self._dead_since())
        rows.remove(connection, self._state(connection).over())
        self._hand_out(connection)

    def _hand_out(self, connection: Connection) -> None:
        """Reserve slots that are free for whoever is next."""
        if not rows.all_rows(connection):
            rows.forget_turns(connection)
        until = self._now() + milliseconds(self.rules.lease_seconds)
        while (one := self._state(connection).next()) is not None:
            rows.reserve(connection, one, until, rows.next_number(connection))

    def _standing(self, connection: Connection, ticket_id: UUID) -> Standing:
        state = self._state(connection)
        return self._with_forecast(connection, state, state.standing(ticket_id), ticket_id)

    def _with_forecast(
        self, connection: Connection, state: QueueState, standing: Standing, ticket_id: UUID
    ) -> Standing:
        if standing.place is not Place.WAITING:
            return standing
        order = [one.ticket_id for one in in_order(state.waiting(), state.turns)]
        seconds = seconds_until_turn(
            order[: order.index(ticket_id)],
            [row.ticket_id for row in state.rows if not row.is_waiting],
            downloads.running(connection, self._dead_since()),
            rows.sizes_of(connection, [row.ticket_id for row in state.rows]),
        )
        return replace(standing, eta_seconds=seconds)

    def _state(self, connection: Connection, owners: Iterable[str] = ()) -> QueueState:
        found = rows.all_rows(connection)
        wanted = {row.owner for row in found if row.is_waiting}.union(owners)
        return QueueState(
            rules=self.rules,
            rows=found,
            connections=downloads.connections(connection, self._dead_since()),
            turns=rows.last_turns(connection),
            limits=rows.limits_of(connection, wanted),
            time=self._now(),
        )

    def _dead_since(self) -> int:
        return self._now() - milliseconds(self.rules.download_seconds)

    def _refresh(self) -> int:
        return milliseconds(self.rules.waiter_seconds / _REFRESHES)

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())


def _owner_of(connection: Connection, ticket_id: UUID) -> str:
    owner = rows.owner_of(connection, ticket_id)
    if owner is None:
        raise NotFoundError("no such ticket", entity_id=ticket_id)
    return owner
