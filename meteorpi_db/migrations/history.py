"""The steps from the first schema to the present one.

Version 1 is the first schema. A change of :mod:`meteorpi_db.tables` comes with a :class:`Step`, appended to
`STEPS`, that brings a database of the version before to the same shape; an empty database is made in its
present shape at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import MetaData

from meteorpi_db import tables
from meteorpi_db.archives import tables as archive_tables
from meteorpi_db.blocks import tables as block_tables
from meteorpi_db.migrations.editor import SchemaEditor

FIRST_VERSION = 1


@dataclass(frozen=True)
class Step:
    """One change of the schema.

    Attributes:
        description: what it is for, in a few words; kept in the database.
        upgrade: makes the change. Schema first, data after: on Firebird each change of the schema is
            committed by itself, so a step that was cut off is run again from its start.
    """

    description: str
    upgrade: Callable[[SchemaEditor], None]


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


def _add_archives(editor: SchemaEditor) -> None:
    for table in archive_tables.TABLES:
        editor.create_table(table)


def _add_blocks(editor: SchemaEditor) -> None:
    for table in block_tables.TABLES:
        editor.create_table(table)


STEPS: tuple[Step, ...] = (
    Step("archives: clients, tickets and their queue", _add_archives),
    Step("blocks: accounts, prefixes and objects", _add_blocks),
)
SCHEMA = Schema(tables.metadata, STEPS)
