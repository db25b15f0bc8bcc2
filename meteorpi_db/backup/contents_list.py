"""The list of contents of a snapshot: SHA-256, size and id of each that a file record or a block has.

In the order of digests lists of several snapshots can be merged, and equal contents of several records met
together, without holding a list in memory.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, MetaData, Select, select

from meteorpi_db.backup.parts import read_lines
from meteorpi_db.backup.rows import FETCHED_ROWS
from meteorpi_model.errors import BackupDamagedError


class ContentLine(NamedTuple):
    """The content of one record, or of a block; `file_id` is its name in the store."""

    sha256: str
    size: int
    file_id: UUID


def contents_of(connection: Connection, metadata: MetaData) -> Iterator[ContentLine]:
    """What the database at hand lists."""
    statements = [_of_files(metadata)]
    if "block_content" in metadata.tables:  # which came with version 3
        statements.append(_of_blocks(metadata))
    lists = [_lines(connection, statement) for statement in statements]
    return heapq.merge(*lists, key=attrgetter("sha256"))


def _of_files(metadata: MetaData) -> Select[Any]:
    columns = metadata.tables["file_record"].c
    statement = select(columns.sha256, columns.file_size, columns.file_id)
    return statement.order_by(columns.sha256, columns.id)


def _of_blocks(metadata: MetaData) -> Select[Any]:
    """Without those that are released, whose bytes may be gone."""
    columns = metadata.tables["block_content"].c
    statement = select(columns.sha256, columns.size_bytes, columns.content_id).where(columns.uses > 0)
    return statement.order_by(columns.sha256, columns.content_id)


def _lines(connection: Connection, statement: Select[Any]) -> Iterator[ContentLine]:
    with connection.execute(statement, execution_options={"yield_per": FETCHED_ROWS}) as result:
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
