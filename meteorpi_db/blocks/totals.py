"""What a node holds of blocks, for its metrics.

Source: K-171 of the storage contract.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, FromClause, func, select

from meteorpi_db.blocks.tables import block_account, block_content, block_prefix, block_upload


@dataclass(frozen=True, kw_only=True)
class BlockTotals:
    """Numbers of one moment.

    Attributes:
        accounts, prefixes, objects: that there are.
        used_bytes: of all objects, as they are counted for quota.
        held_bytes: of the contents of objects, and of those that wait to be removed.
        released: contents that wait to be removed.
        damaged: contents that verification found to be others than were stored.
        unverified: contents that it has not looked at.
        verified_at: when it looked at the one that it did not look at for longest, in milliseconds; None for
            none.
        open_uploads: uploads that can be resumed and are not finished.
    """

    accounts: int
    prefixes: int
    objects: int
    used_bytes: int
    held_bytes: int
    released: int
    damaged: int
    unverified: int
    verified_at: int | None
    open_uploads: int


def totals_of(connection: Connection, now: int) -> BlockTotals:
    """Count; `now` is the time in milliseconds."""
    place, content, upload = block_prefix.c, block_content.c, block_upload.c
    prefixes, objects, used = connection.execute(
        select(func.count(), _sum(place.objects), _sum(place.used)).select_from(block_prefix)
    ).one()
    held, verified_at = connection.execute(
        select(_sum(content.size_bytes), func.min(content.verified_at))
    ).one()
    is_open = (upload.kind == "resumable", upload.finished_as.is_(None), upload.expires_at > now)
    return BlockTotals(
        accounts=_count(connection, block_account),
        prefixes=int(prefixes),
        objects=int(objects),
        used_bytes=int(used),
        held_bytes=int(held),
        released=_count(connection, block_content, content.released_at.is_not(None)),
        damaged=_count(connection, block_content, content.is_corrupt.is_(True)),
        unverified=_count(connection, block_content, content.verified_at.is_(None)),
        verified_at=None if verified_at is None else int(verified_at),
        open_uploads=_count(connection, block_upload, *is_open),
    )


def _sum(column: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(column), 0)


def _count(connection: Connection, table: FromClause, *which: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*which)).scalar_one())
