"""The list of contents of a snapshot: for each file record the SHA-256, size and id, in the order of digests.

Ordered so, lists of several snapshots can be merged, and equal contents of several records met together,
without holding a list in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Table, select

from meteorpi_db.backup.parts import read_lines
from meteorpi_db.backup.rows import FETCHED_ROWS
from meteorpi_model.errors import BackupDamagedError


class ContentLine(NamedTuple):
    """The content of one record."""

    sha256: str
    size: int
    file_id: UUID


def contents_of(connection: Connection, file_record: Table) -> Iterator[ContentLine]:
    """What the database at hand lists."""
    columns = file_record.c
    statement = select(columns.sha256, columns.file_size, columns.file_id)
    options = {"yield_per": FETCHED_ROWS}
    ordered = statement.order_by(columns.sha256, columns.id)
    with connection.execute(ordered, execution_options=options) as result:
        yield from (ContentLine(*row) for row in result)


def content_line_text(line: ContentLine) -> bytes:
    """A content as a line of the list."""
    return json.dumps([line.sha256, line.size, line.file_id.hex]).encode("ascii") + b"\n"


def read_contents(path: Path) -> Iterator[ContentLine]:
    """What a list in a backup says.

    Raises:
        BackupDamagedError: it cannot be read.
    """
    for text in read_lines(path):
        try:
            sha256, size, file_id = json.loads(text)
            line = ContentLine(str(sha256), int(size), UUID(hex=file_id))
        except (ValueError, TypeError, AttributeError) as error:
            raise BackupDamagedError(f"{path.name} of the backup is damaged", path=str(path)) from error
        yield line
