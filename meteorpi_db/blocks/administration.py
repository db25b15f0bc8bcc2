"""Blocks as whoever runs the node looks after them: tokens, accounts, prefixes and what they use.

Each method is one transaction. Nobody's ownership is asked for: this is for the command line.

Source: K-503 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy import Connection, inspect, select, update

from meteorpi_db.accounts import users
from meteorpi_db.blocks import leaving, prefixes, rows, tokens, traffic
from meteorpi_db.blocks.ancestor import is_ancestor
from meteorpi_db.blocks.changes import Terms
from meteorpi_db.blocks.directory import LOCAL, stored_id
from meteorpi_db.blocks.rows import AccountRow, PrefixRow
from meteorpi_db.blocks.tables import block_account, block_prefix
from meteorpi_db.blocks.tokens import BlockToken
from meteorpi_db.connections import Transactions
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import ConflictError, NotFoundError
from meteorpi_model.values import Clock

T = TypeVar("T")

SOURCES: Final = (LOCAL, "remote", "dummy")
CHANGEABLE: Final = frozenset({"is_active", "quota", "traffic_quota", "max_objects", "max_prefixes"})


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was read of an account in a month, beside what it keeps.

    Attributes:
        account: as it is now.
        month: year and month of UTC, such as 202611.
        sent: bytes that were read of it.
    """

    account: AccountRow
    month: int
    sent: int


def account_named(name: str) -> str:
    """The account that a person means: a user of the node, unless the source is named, as in ``remote:5``."""
    source, colon, _ = name.partition(":")
    return name if colon and source in SOURCES else stored_id(LOCAL, name)


class BlockAdministration:
    """Tokens, accounts and prefixes of a node.

    Args:
        transactions: of the node.
        clock: tells the time.
    """

    def __init__(self, transactions: Transactions, clock: Clock) -> None:
        self._transactions = transactions
        self._clock = clock

    def is_unused(self) -> bool:
        """Whether nobody has a prefix, or ever had one."""
        return self._read(lambda c: c.execute(select(block_prefix.c.name).limit(1)).first() is None)

    def holds_ancestor(self) -> bool:
        """Whether the database is also that of a Qabel block server, with prefixes."""
        return self._read(lambda c: is_ancestor(c, inspect(c)))

    def add_token(self, account: str, name: str, expires: datetime | None) -> str:
        """Make a token for a user of the node; gives its secret, which cannot be had again.

        Raises:
            NotFoundError: there is no such user.
            ConflictError: the account is another source's, or it has a token of this name.
        """
        expires_at = None if expires is None else utc_datetime_to_milliseconds(expires)

        def operation(connection: Connection) -> str:
            self._ensure_local(connection, account)
            return tokens.create(connection, account, name, expires_at, self._now())

        return self._transactions.write(operation)

    def tokens_of(self, account: str | None) -> list[BlockToken]:
        """Tokens of an account, or of all; their secrets are not kept."""
        return self._read(lambda c: tokens.tokens_of(c, account))

    def revoke_token(self, account: str, name: str) -> None:
        """Make a token useless from now on.

        Raises:
            NotFoundError: the account has none of this name.
        """
        self._transactions.write(lambda c: tokens.revoke(c, account, name))

    def accounts(self) -> list[AccountRow]:
        """Every account that ever had anything to do with blocks, in order of their names."""
        return self._read(lambda c: list(_accounts(c)))

    def change_account(self, account: str, changes: Mapping[str, object]) -> AccountRow:
        """Set some of `CHANGEABLE` for a user of the node; None takes the default of the node.

        Raises:
            NotFoundError: there is no such user.
            ConflictError: the account is another source's, which decides about its limits.
        """
        assert changes.keys() <= CHANGEABLE

        def operation(connection: Connection) -> AccountRow:
            self._ensure_local(connection, account)
            if changes:
                this = update(block_account).where(block_account.c.account_id == account)
                connection.execute(this.values(**changes))
            return _require_account(connection, account)

        return self._transactions.write(operation)

    def prefixes_of(self, account: str | None) -> list[PrefixRow]:
        """Prefixes of an account, or all, those of nobody included, in order of their names."""

        def operation(connection: Connection) -> list[PrefixRow]:
            statement = select(block_prefix).order_by(block_prefix.c.name)
            if account is not None:
                statement = statement.where(block_prefix.c.account_id == account)
            return [rows.prefix_from(row) for row in connection.execute(statement)]

        return self._read(operation)

    def create_prefix(self, account: str, name: str | None, changes: Mapping[str, object]) -> PrefixRow:
        """A new prefix of an account, with some of what can be changed of one.

        Args:
            account: of any source; of those of others it has to exist.
            name: None gives it a UUID.
            changes: as for :meth:`change_prefix`.

        Raises:
            NotFoundError: there is no such account.
            ConflictError: there is a prefix of this name.
        """

        def operation(connection: Connection) -> PrefixRow:
            if account.partition(":")[0] == LOCAL:
                self._ensure_local(connection, account)
            _require_account(connection, account)
            made = prefixes.create_prefix(connection, account, self._now(), name)
            return prefixes.change_prefix(connection, made.name, **changes)

        return self._transactions.write(operation)

    def change_prefix(self, name: str, changes: Mapping[str, object]) -> PrefixRow:
        """Set some of :data:`meteorpi_db.blocks.prefixes.CHANGEABLE`; append-only can be ended here.

        Raises:
            NotFoundError: there is no such prefix, or it is being removed.
        """

        def operation(connection: Connection) -> PrefixRow:
            if prefixes.take_turn(connection, name).prefix.is_leaving:
                raise NotFoundError("this prefix is being removed")
            return prefixes.change_prefix(connection, name, **changes)

        return self._transactions.write(operation)

    def delete_prefix(self, name: str) -> None:
        """Remove a prefix without objects.

        Raises:
            NotFoundError: there is no such prefix.
            ConflictError: there are objects below it.
        """
        self._transactions.write(lambda c: prefixes.delete_prefix(c, name))

    def begin_leaving(self, name: str, *, is_append_only: bool, retain_days: int) -> None:
        """Take a prefix away from everybody, to be removed with everything below it; also if it is already.

        Args:
            name: of the prefix.
            is_append_only, retain_days: what the settings of the node protect.

        Raises:
            NotFoundError: there is no such prefix.
            NotAllowedError: something below it has to stay.
        """

        def operation(connection: Connection) -> None:
            place = prefixes.take_turn(connection, name).prefix
            if not place.is_leaving:
                owner = Terms(
                    account_id=place.account_id, is_append_only=is_append_only, retain_days=retain_days
                )
                leaving.begin(connection, name, owner, self._now())

        self._transactions.write(operation)

    def remove_some(self, name: str) -> tuple[int, bool]:
        """Go on with a removal; the number of objects that went, and whether it is over.

        Whoever serves the node does the same, so this may be left to them at any time.
        """
        removed = self._transactions.write(lambda c: leaving.remove_some(c, name, self._now()))
        return len(removed.events), removed.is_over

    def usage(self, account: str | None) -> list[Usage]:
        """What accounts use, or one: by account and month, the newest first; each has the present month.

        Raises:
            NotFoundError: there is no such account.
        """

        def operation(connection: Connection) -> list[Usage]:
            found = _accounts(connection) if account is None else [_require_account(connection, account)]
            return [each for row in found for each in self._months(connection, row)]

        return self._read(operation)

    def _months(self, connection: Connection, account: AccountRow) -> Iterator[Usage]:
        months = {traffic.month_of(self._clock()): 0} | traffic.months_of(connection, account.account_id)
        for month, sent in sorted(months.items(), reverse=True):
            yield Usage(account=account, month=month, sent=sent)

    def _ensure_local(self, connection: Connection, account: str) -> None:
        source, _, user_id = account.partition(":")
        if source != LOCAL:
            raise ConflictError(
                f"{account} is no user of this node: its limits and tokens are decided elsewhere"
            )
        if users.credentials_of(connection, user_id) is None:
            raise NotFoundError(f"there is no account {user_id!r}", entity_id=user_id)
        prefixes.ensure_account(connection, account, LOCAL, self._now())

    def _read(self, operation: Callable[[Connection], T]) -> T:
        with self._transactions.reading() as connection:
            return operation(connection)

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())


def _accounts(connection: Connection) -> Iterator[AccountRow]:
    names = connection.execute(select(block_account.c.account_id).order_by(block_account.c.account_id))
    for name in list(names.scalars()):
        yield _require_account(connection, name)


def _require_account(connection: Connection, account: str) -> AccountRow:
    found = rows.find_account(connection, account)
    if found is None:
        raise NotFoundError(f"nothing is known of the account {account!r}", entity_id=account)
    return found
