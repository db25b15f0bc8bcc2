"""What is changed in a restored database before anybody sees it, in the transaction that loads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, MetaData, delete, update

from meteorpi_db.blocks.recounting import recount_all
from meteorpi_db.dialects import in_chunks
from meteorpi_db.exporting.marking_progress import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Adjustments:
    """What is to be changed.

    Attributes:
        dropped_files, dropped_events: records deleted while the backup was made, to be left out; among the
            files are contents of objects of blocks.
        lost_files: records whose content is not in the backup; reads say so until it comes back. The same.
        disables_exports: let nothing be exported until somebody enables it.
    """

    dropped_files: Sequence[UUID]
    dropped_events: Sequence[UUID]
    lost_files: Sequence[UUID]
    disables_exports: bool


def adjust(connection: Connection, metadata: MetaData, adjustments: Adjustments) -> int:
    """Make the changes; gives the number of export configurations that were disabled."""
    record, event = metadata.tables["file_record"], metadata.tables["event"]
    for chunk in in_chunks(connection, adjustments.dropped_files):
        connection.execute(delete(record).where(record.c.file_id.in_(chunk)))
    for chunk in in_chunks(connection, adjustments.dropped_events):
        connection.execute(delete(event).where(event.c.event_id.in_(chunk)))
    for chunk in in_chunks(connection, adjustments.lost_files):
        connection.execute(update(record).where(record.c.file_id.in_(chunk)).values(is_corrupt=True))
    if "block_content" in metadata.tables:
        _adjust_blocks(connection, metadata, adjustments)
    forget_marking(connection, metadata)
    config = metadata.tables["export_config"]
    if not adjustments.disables_exports:
        return 0
    statement = update(config).where(config.c.is_enabled.is_(True)).values(is_enabled=False)
    return connection.execute(statement).rowcount


def _adjust_blocks(connection: Connection, metadata: MetaData, adjustments: Adjustments) -> None:
    content, block = metadata.tables["block_content"], metadata.tables["block_object"]
    for chunk in in_chunks(connection, adjustments.dropped_files):
        connection.execute(delete(block).where(block.c.content_id.in_(chunk)))
        connection.execute(delete(content).where(content.c.content_id.in_(chunk)))
    for chunk in in_chunks(connection, adjustments.lost_files):
        connection.execute(update(content).where(content.c.content_id.in_(chunk)).values(is_corrupt=True))
    if adjustments.dropped_files:
        recount_all(connection, metadata)


def forget_marking(connection: Connection, metadata: MetaData) -> None:
    """Have marking look at everything: row numbers above the highest are given a second time."""
    config = metadata.tables["export_config"]
    values = {name: value for name, value in UNKNOWN.items() if name in config.c}
    if values:
        connection.execute(update(config).values(values))


def ids(texts: Iterable[str]) -> Iterator[UUID]:
    """Ids from their digits."""
    return (UUID(hex=text) for text in texts)
