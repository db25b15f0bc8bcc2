"""While somebody reads the contents of a whole snapshot, none that is released goes.

A record of a file never changes; an object may get another content while a backup is on its way to the first.
Without a hold the backup would have neither.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, Executable, delete, insert, select, update

from meteorpi_db.connections import Transactions
from meteorpi_db.tables import lease
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import UnavailableError

logger = logging.getLogger("meteorpi.db.blocks")

HOLD_PREFIX: Final = "block contents "
"""Names of holds in the table of leases begin so."""

_SECONDS: Final = 3600.0
"""A hold of a process that was killed ends after so long."""

_RENEWED_SECONDS: Final = 600.0

_LEFT_MILLISECONDS: Final = 24 * 3600 * 1000
"""A hold that ended so long ago is of a process that was killed, and none that prolongs it late."""


@contextmanager
def held(transactions: Transactions, now: datetime) -> Iterator[Callable[[], None]]:
    """Keep every content that is released from now on until the block ends.

    Args:
        transactions: the database.
        now: the time.

    Yields:
        To be called now and then by one thread at a time; it prolongs the hold where that is due.
    """
    hold = _Hold(transactions, utc_datetime_to_milliseconds(now))
    try:
        yield hold.prolong
    finally:
        hold.end()


def is_held(connection: Connection, now: int) -> bool:
    """Whether contents that are released have to stay for now; `now` in milliseconds."""
    condition = (lease.c.name.startswith(HOLD_PREFIX), lease.c.expires_at > now)
    return connection.execute(select(lease.c.name).where(*condition).limit(1)).first() is not None


class _Hold:
    def __init__(self, transactions: Transactions, now: int) -> None:
        self._transactions = transactions
        self._name = f"{HOLD_PREFIX}{uuid4().hex}"
        self._begun, self._begun_at = time.monotonic(), now
        self._due = self._begun + _RENEWED_SECONDS
        transactions.write(self._begin)

    def _begin(self, connection: Connection) -> None:
        is_left = (
            lease.c.name.startswith(HOLD_PREFIX),
            lease.c.expires_at <= self._begun_at - _LEFT_MILLISECONDS,
        )
        connection.execute(delete(lease).where(*is_left))
        values = {"name": self._name, "owner": "backup", "expires_at": self._end()}
        connection.execute(insert(lease).values(values))

    def _end(self) -> int:
        return self._begun_at + int((time.monotonic() - self._begun + _SECONDS) * 1000)

    def prolong(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _RENEWED_SECONDS
        self._change(update(lease).where(lease.c.name == self._name).values(expires_at=self._end()))

    def end(self) -> None:
        self._change(delete(lease).where(lease.c.name == self._name))

    def _change(self, statement: Executable) -> None:
        """A database that is away for a while ends no backup: the hold has an hour, and ends by itself."""
        try:
            self._transactions.write(lambda connection: connection.execute(statement))
        except UnavailableError as error:
            logger.warning("hold on contents of blocks stays as it is reason=%s", error)
