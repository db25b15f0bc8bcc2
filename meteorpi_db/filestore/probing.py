"""Checks that every store does in the same way."""

from __future__ import annotations

from uuid import UUID

from meteorpi_db.filestore.base import FileStore
from meteorpi_model.errors import InvalidDocumentError, MeteorError, UnavailableError

_PROBE = b"meteorpi store probe"


def check_range(start: int, stop: int | None) -> None:
    """Refuse what is no half open range.

    Raises:
        InvalidDocumentError: `start` is negative or beyond `stop`.
    """
    if start < 0 or (stop is not None and stop < start):
        raise InvalidDocumentError(f"bytes {start} up to {stop} are no range")


def probe_store(store: FileStore, probe_id: UUID) -> None:
    """Write, read and delete a small content under `probe_id`, a fresh id.

    Raises:
        UnavailableError: one of them does not work, a full store included.
    """
    try:
        store.put(probe_id, [_PROBE])
        with store.open(probe_id) as chunks:
            content = b"".join(chunks)
        store.delete(probe_id)
    except UnavailableError:
        raise
    except MeteorError as error:
        raise UnavailableError(f"the file store takes no content: {error.detail}") from error
    if content != _PROBE:
        raise UnavailableError("the file store gives other bytes than it took")
