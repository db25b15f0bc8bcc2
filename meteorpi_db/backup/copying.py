"""From one database to another, of any engine: the rows of one snapshot, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from meteorpi_db import tables
from meteorpi_db.backup.adjusting import forget_marking
from meteorpi_db.backup.dumping import carried_tables
from meteorpi_db.backup.loading import fill
from meteorpi_db.backup.rows import rows_of
from meteorpi_db.backup.targets import require_fit_database
from meteorpi_db.blocks.holding import HOLD_PREFIX
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import refresh_statistics
from meteorpi_db.migrations import SCHEMA, ensure_schema
from meteorpi_model.errors import ConflictError

Progress = Callable[[int, int], object]
"""Called with the rows that are copied, and all of them."""


@dataclass(frozen=True)
class CopyReport:
    """What was copied.

    Attributes:
        tables: number of rows by table.
    """

    tables: dict[str, int]

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(self.tables.values())


def copy_database(source: Transactions, target: Transactions, progress: Progress | None = None) -> CopyReport:
    """Copy all records; what is registered meanwhile is not among them.

    Args:
        source: a database of the present schema.
        target: a database that is missing, or has no rows.
        progress: told how far it is.

    Raises:
        ConflictError: the target is not empty; nothing was changed.
        MeteorError: the target gives other rows back than it was given; nothing was changed.
    """
    require_fit_database(target, SCHEMA, SCHEMA)
    ensure_schema(target, create=True)
    with source.reading() as reading:
        total = _row_count(reading)

        def operation(connection: Connection) -> CopyReport:
            done = [0]

            def advance(rows: int) -> None:
                done[0] += rows
                if progress is not None:
                    progress(done[0], total)

            carried = carried_tables(SCHEMA.metadata)
            kept = fill(connection, carried, lambda table: rows_of(reading, table), advance)
            forget_marking(connection, SCHEMA.metadata)
            return CopyReport({name: digest.rows for name, digest in kept.items()})

        report = target.write(operation)
    target.write(refresh_statistics)
    return report


def require_no_exporter(source: Transactions, now: int) -> None:
    """Make sure that nobody exports from the database; `now` in milliseconds.

    Raises:
        ConflictError: an exporter is at work.
    """
    lease = tables.lease
    is_taken = (lease.c.owner.is_not(None), lease.c.expires_at > now)
    statement = select(lease.c.owner).where(*is_taken, ~lease.c.name.startswith(HOLD_PREFIX))
    with source.reading() as connection:
        owner = connection.execute(statement).scalar()
    if owner is not None:
        raise ConflictError(
            f"the exporter of {owner.split(':')[0]} is at work on this database: stop the node first, or say"
            " --online when what is recorded from now on may stay behind"
        )


def _row_count(connection: Connection) -> int:
    counts = [select(func.count()).select_from(table) for table in carried_tables(SCHEMA.metadata)]
    return sum(int(connection.execute(count).scalar_one()) for count in counts)
