"""Contents that objects name, and those that no object names any more.

Source: K-141, K-405 and S-150 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update

from meteorpi_db.blocks.tables import block_content, block_upload
from meteorpi_db.dialects import in_chunks
from meteorpi_db.filestore import ContentFacts

_CONTENT = block_content


def add(connection: Connection, content_id: UUID, facts: ContentFacts, now: int) -> None:
    """Record a content that is complete in the store, with one use."""
    connection.execute(
        insert(_CONTENT).values(
            content_id=content_id,
            size_bytes=facts.size,
            sha256=facts.sha256,
            md5=facts.md5,
            crc32=facts.crc32,
            uses=1,
            stored_at=now,
            is_corrupt=False,
        )
    )


def release(connection: Connection, content_id: UUID, now: int) -> None:
    """Take one use away; with the last one its bytes may be removed."""
    this = _CONTENT.c.content_id == content_id
    connection.execute(update(_CONTENT).where(this).values(uses=_CONTENT.c.uses - 1))
    unused = update(_CONTENT).where(this, _CONTENT.c.uses == 0, _CONTENT.c.released_at.is_(None))
    connection.execute(unused.values(released_at=now))


def released(connection: Connection, limit: int, before: int | None = None) -> list[UUID]:
    """Contents whose bytes may be removed, those first that wait longest.

    Args:
        limit: how many at most.
        before: only those released earlier than this, in milliseconds; None for all.
    """
    is_due = _CONTENT.c.released_at.is_not(None) if before is None else _CONTENT.c.released_at < before
    statement = select(_CONTENT.c.content_id).where(is_due, _CONTENT.c.uses == 0)
    ordered = statement.order_by(_CONTENT.c.released_at, _CONTENT.c.content_id).limit(limit)
    return list(connection.execute(ordered).scalars())


def forget(connection: Connection, content_ids: Iterable[UUID]) -> None:
    """Remove the rows of released contents whose bytes are gone."""
    for chunk in in_chunks(connection, content_ids):
        connection.execute(delete(_CONTENT).where(_CONTENT.c.content_id.in_(chunk), _CONTENT.c.uses == 0))


def held_ids(connection: Connection, content_ids: Iterable[UUID]) -> set[UUID]:
    """Those that blocks need, or may come to need: with a row, or of an upload under way."""
    found: set[UUID] = set()
    for chunk in in_chunks(connection, content_ids):
        for column in (_CONTENT.c.content_id, block_upload.c.content_id):
            found.update(connection.execute(select(column).where(column.in_(chunk))).scalars())
    return found
