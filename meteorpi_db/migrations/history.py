"""The steps from the first schema to the present one.

Version 1 is the first schema. A change of :mod:`meteorpi_db.tables` comes with a :class:`Step`, appended to
`STEPS`, that brings a database of the version before to the same shape; an empty database is made in its
present shape at once. Every step has a way back, which keeps the data or says beforehand what goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import MetaData, Table, func, inspect, select

from meteorpi_db import tables
from meteorpi_db.archives import tables as archive_tables
from meteorpi_db.blocks import tables as block_tables
from meteorpi_db.migrations.editor import SchemaEditor

FIRST_VERSION = 1


def _nothing(_editor: SchemaEditor) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True)
class Step:
    """One change of the schema.

    Attributes:
        description: what it is for, in a few words; kept in the database.
        upgrade: makes the change. Schema first, data after: on Firebird each change of the schema is
            committed by itself, so a step that was cut off is run again from its start.
        downgrade: undoes it, and may be repeated, also where it finds nothing to undo; None for no way back.
        losses: the numbers of rows that cannot be made again and that the way back takes, by what they are;
            looks at the tables as they are, which need not be there, and keeps others from adding any.
        is_tolerated: whether software of the version before works on, harming nothing, while this step has
            been made already.
    """

    description: str
    upgrade: Callable[[SchemaEditor], None]
    downgrade: Callable[[SchemaEditor], None] | None = None
    losses: Callable[[SchemaEditor], Mapping[str, int]] = _nothing
    is_tolerated: bool = False


@dataclass(frozen=True)
class Schema:
    """A schema with its history.

    Attributes:
        metadata: all tables in their present shape.
        steps: the first one leads from version 1 to 2, and so on.
    """

    metadata: MetaData
    steps: tuple[Step, ...] = ()

    @property
    def version(self) -> int:
        """The present version."""
        return FIRST_VERSION + len(self.steps)

    def steps_after(self, version: int) -> list[tuple[int, Step]]:
        """The steps that lead on from `version`, each with the version that it reaches."""
        numbered = enumerate(self.steps, start=FIRST_VERSION + 1)
        return [(reached, step) for reached, step in numbered if reached > version]

    def oldest_for(self, version: int) -> int:
        """The oldest version whose software works with a database of `version`."""
        while version > FIRST_VERSION and self.steps[version - FIRST_VERSION - 1].is_tolerated:
            version -= 1
        return version


def added(
    description: str,
    tables: Sequence[Table],
    *,
    passing: Collection[Table] = (),
    is_tolerated: bool = False,
) -> Step:
    """The step that brings `tables`, parents first.

    Args:
        description: see :class:`Step`.
        tables: all of them new, and referred to by no older one.
        passing: those among them whose rows nobody misses.
        is_tolerated: see :class:`Step`.
    """

    def upgrade(editor: SchemaEditor) -> None:
        for table in tables:
            editor.create_table(table)

    def downgrade(editor: SchemaEditor) -> None:
        for table in reversed(tables):
            editor.drop_table(table)

    def losses(editor: SchemaEditor) -> Mapping[str, int]:
        present = set(inspect(editor.connection).get_table_names())
        kept = [table for table in tables if table not in passing and table.name in present]
        editor.hold(kept)
        counted = {
            table.name: editor.connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in kept
        }
        return {name: count for name, count in counted.items() if count}

    return Step(description, upgrade, downgrade, losses, is_tolerated)


STEPS: tuple[Step, ...] = (
    added(
        "archives: clients, tickets and their queue",
        archive_tables.TABLES,
        passing=(
            archive_tables.archive_queue,
            archive_tables.archive_downloads,
            archive_tables.archive_turns,
            archive_tables.archive_dir_crc,
        ),
        is_tolerated=True,
    ),
    # Not tolerated: software that knows no blocks takes their contents in the store for abandoned ones.
    added(
        "blocks: accounts, prefixes and objects",
        block_tables.TABLES,
        passing=(block_tables.block_content, block_tables.block_event),
    ),
)
SCHEMA = Schema(tables.metadata, STEPS)
