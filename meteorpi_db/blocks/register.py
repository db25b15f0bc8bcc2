"""Blocks as whoever serves them needs them: each method is one transaction.

Source: F.2 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from meteorpi_db.blocks import (
    changes,
    contents,
    leaving,
    links,
    listing,
    prefixes,
    reservations,
    rows,
    traffic,
)
from meteorpi_db.blocks.changes import Stored, Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.blocks.leaving import Removed
from meteorpi_db.blocks.listing import Page
from meteorpi_db.blocks.rows import ObjectRow, PrefixRow
from meteorpi_db.blocks.totals import BlockTotals, totals_of
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import ConnectionLostError
from meteorpi_db.filestore import ContentFacts
from meteorpi_db.migrations.runner import schema_version
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import Clock

T = TypeVar("T")

UNRESERVED_BYTES: Final = 1 << 20
"""Up to this size a refusal at the end costs less than the transaction, and its flush, that keeps room."""


class BlockRegister:
    """Accounts, prefixes and objects in the node's database; safe for threads.

    Args:
        transactions: of the node.
        clock: tells the time.
    """

    def __init__(self, transactions: Transactions, clock: Clock) -> None:
        self._transactions = transactions
        self._clock = clock

    def check(self) -> None:
        """Return when the database answers.

        Raises:
            UnavailableError: it does not.
        """
        self._read(schema_version)

    def announce(self, upload: Upload, size: int | None, terms: Terms, content_id: UUID) -> None:
        """Refuse an upload whose bytes need not come, reserve room for others unless they are small.

        Raises as :func:`meteorpi_db.blocks.changes.require_upload`.
        """
        if terms.account_id is not None and size is not None and size <= UNRESERVED_BYTES:
            self._read(lambda c: changes.require_likely(c, upload, size, terms, self._now()))
            return

        def operation(connection: Connection) -> None:
            if terms.account_id is None:
                prefixes.ensure_ownerless(connection, upload.prefix, self._now())
            changes.require_upload(connection, upload, size, terms, self._now(), content_id)

        self._transactions.write(operation)

    def store(self, upload: Upload, content_id: UUID, facts: ContentFacts, terms: Terms) -> Stored:
        """Make a content the object; raises as :func:`meteorpi_db.blocks.changes.store`."""
        return self._transactions.write(
            lambda c: changes.store(c, upload, content_id, facts, terms, self._now())
        )

    def give_up(self, upload: Upload, content_id: UUID) -> bool:
        """End the reservation of an upload that failed; whether its content is needed nevertheless.

        That is so when the transaction took effect and only its answer was lost. It may even be at it still,
        in the database server, where nobody waits for it any more; so this comes after it.
        """

        def operation(connection: Connection) -> bool:
            prefixes.await_turn(connection, upload.prefix)
            reservations.give_back(connection, upload.upload_id)
            return bool(contents.held_ids(connection, [content_id]))

        return self._transactions.write(operation)

    def remove(self, prefix: str, path: str, demands: Demands, terms: Terms) -> BlockEvent | None:
        """Remove an object; None when there was none. Raises as :func:`meteorpi_db.blocks.changes.remove`."""
        return self._transactions.write(
            lambda c: changes.remove(c, prefix, path, demands, terms, self._now())
        )

    def find_prefix(self, name: str) -> PrefixRow | None:
        """The prefix, None when there is none of this name."""
        return self._read(lambda c: rows.find_prefix(c, name))

    def find(self, prefix: str, path: str) -> tuple[PrefixRow, ObjectRow]:
        """An object and its prefix.

        Raises:
            NotFoundError: there is none.
        """
        place, found = self.look(prefix, path)
        if place is None or found is None:
            raise NotFoundError("there is no such object")
        return place, found

    def look(self, prefix: str, path: str) -> tuple[PrefixRow | None, ObjectRow | None]:
        """A prefix and an object below it, as far as there are any; none of what is being removed."""
        place, found = self._read(lambda c: (rows.find_prefix(c, prefix), rows.find_object(c, prefix, path)))
        return (None, None) if place is None or place.is_leaving else (place, found)

    def list_page(
        self, prefix: str, terms: Terms, *, start: str, after: str, limit: int, delimiter: str
    ) -> Page:
        """A page of what is below a prefix, for its owner; see :mod:`meteorpi_db.blocks.listing`.

        Raises:
            NotFoundError: there is no such prefix.
            NotAllowedError: it is another account's.
        """

        def operation(connection: Connection) -> Page:
            place = rows.find_prefix(connection, prefix)
            if place is None or place.is_leaving:
                raise NotFoundError("there is no such prefix")
            if terms.account_id is not None:
                prefixes.require_owner(place, terms.account_id)
            return listing.list_page(
                connection, prefix, start=start, after=after, limit=limit, delimiter=delimiter
            )

        return self._read(operation)

    def create_prefix(self, account_id: str, source: str, max_prefixes: int = 0) -> PrefixRow:
        """A new prefix of an account, which is made when this is its first.

        Raises:
            QuotaReachedError: it has as many as it may have.
        """

        def operation(connection: Connection) -> PrefixRow:
            prefixes.ensure_account(connection, account_id, source, self._now())
            return prefixes.create_prefix(connection, account_id, self._now(), max_prefixes=max_prefixes)

        return self._transactions.write(operation)

    def prefixes_of(self, account_id: str) -> list[PrefixRow]:
        """Those of an account, in order of their names."""
        return self._read(lambda c: prefixes.prefixes_of(c, account_id))

    def delete_prefix(self, name: str, terms: Terms) -> None:
        """Remove a prefix without objects.

        Raises:
            NotFoundError: there is no such prefix.
            NotAllowedError: it is another account's.
            ConflictError: there are objects below it.
        """

        def operation(connection: Connection) -> None:
            prefixes.require_owner(prefixes.take_turn(connection, name).prefix, terms.account_id)
            prefixes.delete_prefix(connection, name)

        self._transactions.write(operation)

    def begin_leaving(self, name: str, terms: Terms) -> bool:
        """Take a prefix away; see :func:`meteorpi_db.blocks.leaving.begin`, also for what it raises."""
        return self._transactions.write(lambda c: leaving.begin(c, name, terms, self._now()))

    def leaving(self) -> list[str]:
        """Names of the prefixes that are being removed, where something can be done for it now."""
        return self._read(lambda c: leaving.leaving(c, self._now()))

    def remove_some(self, name: str) -> Removed:
        """Go on with a removal; see :func:`meteorpi_db.blocks.leaving.remove_some`."""
        return self._transactions.write(lambda c: leaving.remove_some(c, name, self._now()))

    def create_link(self, prefix: str, path: str, uses: int, expires_at: int) -> str:
        """Keep how often a new link may be used; gives its id."""
        return self._transactions.write(lambda c: links.create(c, prefix, path, uses, expires_at))

    def use_link(self, link_id: str, prefix: str, path: str) -> bool:
        """Use a link once; False when it cannot be used any more."""
        return self._transactions.write(lambda c: links.use(c, link_id, prefix, path, self._now()))

    def require_own(self, name: str, terms: Terms) -> None:
        """Return when the prefix is the account's.

        Raises:
            NotFoundError: there is no such prefix.
            NotAllowedError: it is another account's.
        """
        place = self._read(lambda c: rows.find_prefix(c, name))
        if place is None or place.is_leaving:
            raise NotFoundError("there is no such prefix")
        prefixes.require_owner(place, terms.account_id)

    def change_prefix(self, name: str, terms: Terms, changes: Mapping[str, object]) -> PrefixRow:
        """Set some of `prefixes.CHANGEABLE`; gives the prefix as it is then.

        Raises:
            NotFoundError: there is no such prefix.
            NotAllowedError: it is another account's, and the caller is no administrator.
        """

        def operation(connection: Connection) -> PrefixRow:
            place = prefixes.take_turn(connection, name).prefix
            if place.is_leaving:
                raise NotFoundError("there is no such prefix")
            if not terms.is_administrator:
                prefixes.require_owner(place, terms.account_id)
            return prefixes.change_prefix(connection, name, **changes)

        return self._transactions.write(operation)

    def used_by(self, account_id: str) -> int:
        """Bytes of all objects of an account."""
        found = self._read(lambda c: rows.find_account(c, account_id))
        return 0 if found is None else found.used

    def totals(self) -> BlockTotals:
        """What is kept of everybody; takes a while where that is much."""
        return self._read(lambda c: totals_of(c, self._now()))

    def this_month(self) -> int:
        """The month of UTC as a number, such as 202611."""
        return traffic.month_of(self._clock())

    def sent_this_month(self, account_id: str) -> int:
        """Bytes that were read of an account this month, as far as they are written."""
        return self._read(lambda c: traffic.sent_in(c, account_id, self.this_month()))

    def add_traffic(self, sent: Mapping[str, int]) -> None:
        """Add bytes that were read, by account."""
        self._transactions.write(lambda c: traffic.add(c, sent, self.this_month()))

    def forget_passed(self, traffic_months: int) -> None:
        """Forget links whose time is over, and what was read more than so many months ago."""
        oldest = traffic.months_before(self.this_month(), traffic_months)

        def operation(connection: Connection) -> None:
            links.forget_expired(connection, self._now())
            traffic.forget_before(connection, oldest)

        self._transactions.write(operation)

    def _read(self, operation: Callable[[Connection], T]) -> T:
        """What `operation` finds; asked once more when the connection turns out to be broken (K-410)."""
        try:
            return self._read_once(operation)
        except ConnectionLostError:
            return self._read_once(operation)

    def _read_once(self, operation: Callable[[Connection], T]) -> T:
        with self._transactions.reading() as connection:
            return operation(connection)

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())
