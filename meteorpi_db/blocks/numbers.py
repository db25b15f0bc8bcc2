"""Numbers of accounts, for other servers that know accounts by nothing else.

A number stays what it is: rows of accounts are never removed, so none is given twice.

Source: A.4 of the storage contract.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select, update

from meteorpi_db.blocks import prefixes
from meteorpi_db.blocks.directory import stored_id
from meteorpi_db.blocks.tables import block_account
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import ConstraintError
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import UnavailableError
from meteorpi_model.values import Clock

_TRIES: Final = 20
_ACCOUNT = block_account


class AccountNumbers:
    """Gives numbers to the accounts of one source, and knows them again. Safe for threads and processes.

    Args:
        transactions: of the node.
        clock: tells the time.
        source: of the accounts, such as ``local``.
    """

    def __init__(self, transactions: Transactions, clock: Clock, source: str) -> None:
        self._transactions = transactions
        self._clock = clock
        self._source = source

    def number_of(self, account_id: str) -> int:
        """The number of an account, given to it now if it has none.

        Raises:
            UnavailableError: others were faster again and again.
        """
        key = stored_id(self._source, account_id)
        with self._transactions.reading() as connection:
            found = _number(connection, key)
        if found is not None:
            return found
        for _ in range(_TRIES):
            try:
                return self._transactions.write(lambda connection: self._give(connection, key))
            except ConstraintError:  # another account was given that number meanwhile
                continue
        raise UnavailableError("no number could be given to an account")

    def account_numbered(self, number: int) -> str | None:
        """The account with this number, None when there is none."""
        statement = select(_ACCOUNT.c.account_id).where(
            _ACCOUNT.c.number == number, _ACCOUNT.c.source == self._source
        )
        if number > 2**31 - 1:
            return None
        with self._transactions.reading() as connection:
            found: str | None = connection.execute(statement).scalar_one_or_none()
        return None if found is None else found.partition(":")[2]

    def _give(self, connection: Connection, key: str) -> int:
        prefixes.ensure_account(connection, key, self._source, utc_datetime_to_milliseconds(self._clock()))
        found = _number(connection, key)
        if found is not None:
            return found
        highest: int | None = connection.execute(select(func.max(_ACCOUNT.c.number))).scalar_one()
        number = (highest or 0) + 1
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.account_id == key).values(number=number))
        return number


def _number(connection: Connection, key: str) -> int | None:
    statement = select(_ACCOUNT.c.number).where(_ACCOUNT.c.account_id == key)
    found: int | None = connection.execute(statement).scalar_one_or_none()
    return found
