"""The events of blocks as listeners need them: each method is one transaction, and none is held in between.

Source: K-151 and K-152 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from meteorpi_db.blocks import events
from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.blocks.tables import block_prefix
from meteorpi_db.connections import Transactions
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.values import Clock

KEPT: Final = timedelta(milliseconds=events.KEPT_MILLISECONDS)
"""Who was away for longer than this has to look at everything again."""

_NAMES_AT_ONCE: Final = 500


class EventLog:
    """What happened below prefixes; safe for threads.

    Args:
        transactions: of the node.
        clock: tells the time.
    """

    def __init__(self, transactions: Transactions, clock: Clock) -> None:
        self._transactions = transactions
        self._clock = clock

    def last_number(self, prefix: str) -> int:
        """Number of the last event below a prefix; 0 when there never was one."""
        return self.last_numbers([prefix]).get(prefix, 0)

    def last_numbers(self, prefixes: Sequence[str]) -> dict[str, int]:
        """The same of several; prefixes that do not exist are left out."""
        found: dict[str, int] = {}
        with self._transactions.reading() as connection:
            for start in range(0, len(prefixes), _NAMES_AT_ONCE):
                some = prefixes[start : start + _NAMES_AT_ONCE]
                statement = select(block_prefix.c.name, block_prefix.c.sequence)
                for name, number in connection.execute(statement.where(block_prefix.c.name.in_(some))):
                    found[name] = number
        return found

    def after(self, prefix: str, number: int, limit: int) -> list[BlockEvent]:
        """The first `limit` events below a prefix after that of `number`, in order."""
        with self._transactions.reading() as connection:
            return events.events_after(connection, prefix, number, limit)

    def is_kept_since(self, prefix: str, number: int) -> bool:
        """Whether every event after that of `number` can still be told.

        That is not so when some were forgotten, nor when `number` is yet to come: then it was given by a
        prefix of the same name that was there before.
        """
        with self._transactions.reading() as connection:
            statement = select(block_prefix.c.sequence).where(block_prefix.c.name == prefix)
            last = connection.execute(statement).scalar() or 0
            oldest = events.oldest_number(connection, prefix)
        return number == last or (number < last and oldest is not None and oldest <= number + 1)

    def forget_old(self) -> int:
        """Remove the events that nobody can ask for any more; gives their number."""
        before = utc_datetime_to_milliseconds(self._clock() - KEPT)
        return self._transactions.write(lambda connection: events.forget_before(connection, before))
