"""Removing what blocks have left: bytes that no object has any more, and uploads whose time is over.

Bytes go first and their row after them, so that a process that dies in between leaves a row that the next
sweep finds, and never a content that nobody knows of. The contents of uploads that came to nothing are found
by whoever looks for contents without a record.

Source: K-141, K-307, K-405 and S-150 of the storage contract.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from meteorpi_db.blocks import contents, holding, reservations, uploads
from meteorpi_db.blocks.uploads import UploadRow
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import MeteorError
from meteorpi_model.values import milliseconds_to_utc_datetime

logger = logging.getLogger("meteorpi.db.blocks")

READERS_GRACE: Final = timedelta(minutes=1)
"""Whoever has read the row of an object opens its content within this time."""

_PAGE: Final = 500


def sweep_released(
    transactions: Transactions, store: FileStore, now: datetime, grace: timedelta = READERS_GRACE
) -> int:
    """Remove the contents that the last object has let go of; gives their number.

    Several processes may do this at once. What the store does not remove now stays for the next sweep; so
    does everything while a backup is made.

    Args:
        transactions: the database.
        store: where the contents are.
        now: the time.
        grace: what was released later than so long ago stays.
    """
    time, before, removed = utc_datetime_to_milliseconds(now), utc_datetime_to_milliseconds(now - grace), 0
    while True:
        with transactions.reading() as connection:
            is_held = holding.is_held(connection, time)
            page = [] if is_held else contents.released(connection, _PAGE, before)
        gone = [content_id for content_id in page if _is_removed(store, content_id)]
        if gone:
            transactions.write(lambda connection, ids=gone: contents.forget(connection, ids))  # type: ignore[misc]
        removed += len(gone)
        if len(page) < _PAGE or len(gone) < len(page):
            return removed


def sweep_uploads(transactions: Transactions, store: FileStore, now: datetime) -> int:
    """Forget uploads whose time is over, with the bytes of those that can be resumed; gives their number.

    Several processes may do this at once. What the store does not remove now stays for the next sweep.

    Args:
        transactions: the database.
        store: where the contents are.
        now: the time.
    """
    time = utc_datetime_to_milliseconds(now)
    with transactions.reading() as connection:
        page = uploads.lapsed(connection, time, _PAGE)
    discarded = sum(_is_discarded(transactions, store, row, time) for row in page)
    return discarded + transactions.write(lambda c: reservations.forget_lapsed(c, time))


def oldest_upload(transactions: Transactions, now: datetime) -> datetime | None:
    """When the oldest upload was begun whose bytes have to stay in the store; None when there is none."""
    with transactions.reading() as connection:
        begun_at = uploads.oldest_begin(connection, utc_datetime_to_milliseconds(now))
    return None if begun_at is None else milliseconds_to_utc_datetime(begun_at)


def _is_discarded(transactions: Transactions, store: FileStore, row: UploadRow, now: int) -> bool:
    upload_id = row.plan.upload.upload_id
    if not transactions.write(lambda connection: uploads.claim_lapsed(connection, upload_id, now)):
        return False  # somebody prolonged it
    try:
        store.parts(row.content_id).discard()
        store.delete(row.content_id)
    except MeteorError as error:
        logger.warning("bytes of an upload are left content_id=%s reason=%s", row.content_id.hex, error)
        return False
    transactions.write(lambda connection: uploads.forget(connection, upload_id))
    return True


def _is_removed(store: FileStore, content_id: UUID) -> bool:
    try:
        store.delete(content_id)
    except MeteorError as error:
        logger.warning("released content is left content_id=%s reason=%s", content_id.hex, error)
        return False
    return True
