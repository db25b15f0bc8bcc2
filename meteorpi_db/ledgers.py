"""The tables that say which contents there have to be: those of recordings, and those of blocks.

What is checked, mended and swept is the same for both, so whoever does that works on ledgers. A content that
no ledger knows is one too many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, Table, func, select, true, update

from meteorpi_db import tables
from meteorpi_db.blocks import contents as block_contents
from meteorpi_db.blocks.tables import block_content
from meteorpi_db.dialects import in_chunks
from meteorpi_db.filestore.hashing import ContentFacts
from meteorpi_db.records import files

_ROWS_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class RecordedContent:
    """What a ledger says about a content; `is_corrupt`: it is known to be missing or damaged."""

    content_id: UUID
    facts: ContentFacts
    is_corrupt: bool


@dataclass(frozen=True, kw_only=True)
class LedgerFigures:
    """How much a ledger asks for.

    Attributes:
        contents: number of contents.
        size_bytes: of all of them.
        corrupt: number of those that are known to be missing or damaged.
        never_verified: number of those that were not read since they were stored.
        oldest_verification: the longest that one of the others was not read, in milliseconds since 1970.
    """

    contents: int
    size_bytes: int
    corrupt: int
    never_verified: int
    oldest_verification: int | None


@dataclass(frozen=True, eq=False)
class Ledger:
    """One of the tables; all that have columns of the same meaning can be one.

    Args:
        name: of what it has the contents.
        content_id, size, stored_at: columns; the others of contents have the same names in every ledger.
        position: column by which rows were added, or any other that orders them.
        is_due: condition of the rows whose content has to be there.
        held: gives those of some ids that must not be taken for left over.
    """

    name: str
    content_id: Column[UUID]
    size: Column[int]
    stored_at: Column[int]
    position: Column[Any]
    is_due: ColumnElement[bool]
    held: Callable[[Connection, Iterable[UUID]], set[UUID]]

    @property
    def table(self) -> Table:
        """The table."""
        table = self.content_id.table
        assert isinstance(table, Table)
        return table

    @property
    def _last_read(self) -> ColumnElement[int]:
        return func.coalesce(self.table.c.verified_at, self.stored_at, type_=BigInteger)

    def in_order(self, connection: Connection) -> Iterator[tuple[int, UUID]]:
        """Every content as it was added, with a zero."""
        statement = select(self.content_id).where(self.is_due).order_by(self.position)
        found = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(statement)
        return ((0, content_id) for (content_id,) in found)

    def oldest_first(
        self, connection: Connection, read_before: int | None, most: int | None
    ) -> Iterator[tuple[int, UUID]]:
        """Contents that were not read for the longest time, each with when it was, in milliseconds.

        Args:
            read_before: leave out those that were read since.
            most: give only so many.
        """
        statement = select(self._last_read, self.content_id).where(self.is_due)
        if read_before is not None:
            statement = statement.where(self._last_read < read_before)
        statement = statement.order_by(self._last_read, self.position).limit(most)
        found = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(statement)
        return ((last_read, content_id) for last_read, content_id in found)

    def rows(self, connection: Connection, content_ids: Iterable[UUID]) -> dict[UUID, RecordedContent]:
        """What is recorded about those of the contents that have to be there."""
        found: dict[UUID, RecordedContent] = {}
        columns = self.table.c
        wanted = (self.content_id, self.size, columns.md5, columns.sha256, columns.crc32, columns.is_corrupt)
        for chunk in in_chunks(connection, content_ids):
            statement = select(*wanted).where(self.content_id.in_(chunk), self.is_due)
            found.update((row[0], _recorded(row)) for row in connection.execute(statement))
        return found

    def equal_to(self, connection: Connection, content: RecordedContent, limit: int = 5) -> list[UUID]:
        """Other contents that are recorded as equal and not known to be damaged."""
        columns = self.table.c
        statement = select(self.content_id).where(
            columns.sha256 == content.facts.sha256,
            self.content_id != content.content_id,
            columns.is_corrupt.is_(False),
            self.is_due,
        )
        return list(connection.execute(statement.limit(limit)).scalars())

    def mark(self, connection: Connection, content_id: UUID, is_corrupt: bool, verified_at: int) -> None:
        """Note whether a content can be trusted; nothing happens when it is not in this ledger."""
        statement = update(self.table).where(self.content_id == content_id)
        connection.execute(statement.values(is_corrupt=is_corrupt, verified_at=verified_at))

    def note_sound(self, connection: Connection, content_ids: Iterable[UUID], verified_at: int) -> None:
        """Note that contents were read and are right."""
        for chunk in in_chunks(connection, content_ids):
            statement = update(self.table).where(self.content_id.in_(chunk))
            connection.execute(statement.values(verified_at=verified_at))

    def figures(self, connection: Connection) -> LedgerFigures:
        """How much there has to be; walks over the whole table."""
        columns = self.table.c
        verified = func.count(columns.verified_at)
        statement = select(
            func.count(), func.coalesce(func.sum(self.size), 0), verified, func.min(columns.verified_at)
        )
        count, size_bytes, read, oldest = connection.execute(statement.where(self.is_due)).one()
        corrupt = select(func.count()).where(columns.is_corrupt.is_(True), self.is_due)
        return LedgerFigures(
            contents=count,
            size_bytes=int(size_bytes),
            corrupt=connection.execute(corrupt.select_from(self.table)).scalar_one(),
            never_verified=count - read,
            oldest_verification=oldest,
        )


def _recorded(row: Sequence[Any]) -> RecordedContent:
    content_id, size, md5, sha256, crc32, is_corrupt = row
    return RecordedContent(
        content_id, ContentFacts(size=size, md5=md5, sha256=sha256, crc32=crc32), is_corrupt
    )


FILES: Final = Ledger(
    name="files",
    content_id=tables.file_record.c.file_id,
    size=tables.file_record.c.file_size,
    stored_at=tables.file_record.c.registered_at,
    position=tables.file_record.c.id,
    is_due=true(),
    held=files.held_ids,
)

BLOCKS: Final = Ledger(
    name="blocks",
    content_id=block_content.c.content_id,
    size=block_content.c.size_bytes,
    stored_at=block_content.c.stored_at,
    position=block_content.c.content_id,
    # Bytes of what nobody uses any more may be gone before their row is.
    is_due=block_content.c.released_at.is_(None),
    held=block_contents.held_ids,
)

LEDGERS: Final = (FILES, BLOCKS)
"""All of them; a store that has only the contents of one is checked against that one."""
