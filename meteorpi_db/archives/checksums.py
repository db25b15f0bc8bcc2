"""CRC-32 of files in directories that archives are made of: each is read once, and not once a process.

Those of records stand with the records. A file in a directory has no identity but what the file system says
of it; whoever asks makes a key of that, and a changed file has another key. What was found more than 90 days
ago is forgotten: files go away, and those that stay are worth reading now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final

from sqlalchemy import Connection, delete, select

from meteorpi_db.archives.tables import archive_dir_crc
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import in_chunks, insert_ignore
from meteorpi_model.values import Clock, now, utc_datetime_to_milliseconds

KEPT_MILLISECONDS: Final = 90 * 86_400_000

_TABLE = archive_dir_crc
_ROWS_AT_ONCE: Final = 500  # a write that lasts keeps the other writers of an embedded database waiting


class FileChecksums:
    """Sums by key, for any number of threads and processes on one database.

    Args:
        transactions: of the node's database.
        clock: tells the time.
    """

    def __init__(self, transactions: Transactions, clock: Clock = now) -> None:
        self._transactions = transactions
        self._clock = clock

    def known(self, keys: Sequence[str]) -> dict[str, int]:
        """The sums that are kept of `keys`, which have 64 hexadecimal digits each."""
        if not keys:
            return {}
        oldest = self._now() - KEPT_MILLISECONDS
        with self._transactions.reading() as connection:
            return {
                row.file_key: row.crc32
                for chunk in in_chunks(connection, keys)
                for row in connection.execute(
                    select(_TABLE).where(_TABLE.c.file_key.in_(chunk), _TABLE.c.checked_at > oldest)
                )
            }

    def keep(self, found: Mapping[str, int]) -> None:
        """Keep sums that were found by reading; what was kept of the same keys is replaced."""
        rows = iter(found.items())
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            self._transactions.write(partial(_replace, rows=part, time=self._now()))

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what turned out to be wrong."""
        wrong = list(keys)
        self._transactions.write(lambda connection: _forget(connection, wrong))

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())


def sweep(connection: Connection, now: int) -> int:
    """Delete what is not good any more; gives the number of sums.

    Args:
        connection: to write with.
        now: milliseconds.
    """
    return connection.execute(delete(_TABLE).where(_TABLE.c.checked_at <= now - KEPT_MILLISECONDS)).rowcount


def _replace(connection: Connection, rows: Sequence[tuple[str, int]], time: int) -> None:
    _forget(connection, [key for key, _ in rows])
    for key, crc in rows:  # one by one: another process may be keeping the same
        insert_ignore(connection, _TABLE, {"file_key": key, "crc32": crc, "checked_at": time})


def _forget(connection: Connection, keys: Sequence[str]) -> None:
    for chunk in in_chunks(connection, keys):
        connection.execute(delete(_TABLE).where(_TABLE.c.file_key.in_(chunk)))
