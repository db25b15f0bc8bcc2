"""The schema as older releases had it, made from the present one: steps so far only added tables."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData

from meteorpi_db import tables
from meteorpi_db.archives import tables as archive_tables
from meteorpi_db.backup.shape import describe_table, metadata_from
from meteorpi_db.blocks import tables as block_tables
from meteorpi_db.migrations import SCHEMA, Schema
from meteorpi_db.migrations.history import FIRST_VERSION

ADDED: Final = {2: archive_tables.TABLES, 3: block_tables.TABLES}
"""Tables by the version that brought them."""


def metadata_of_version(version: int) -> MetaData:
    """The tables of a version."""
    later = {table.name for since, added in ADDED.items() if since > version for table in added}
    old = {name: table for name, table in tables.metadata.tables.items() if name not in later}
    return metadata_from({name: describe_table(table) for name, table in old.items()})


def schema_of_version(version: int) -> Schema:
    """A schema that ends with a version, for databases of its time."""
    return Schema(metadata_of_version(version), SCHEMA.steps[: version - FIRST_VERSION])
