"""What the parts of `MeteorDatabase` share.

The published class is put together from one class for each group of methods; each method is a line or two
over a module of functions that take a connection.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from meteorpi_db import limits
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore, LocalFileStore
from meteorpi_db.stores import NodeStores
from meteorpi_model import Event, FileRecord, utc_datetime_to_milliseconds
from meteorpi_model.values import Clock


class StoredContentLocator:
    """Finds the content of records in a file store of this process."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def path(self, record: FileRecord) -> Path | None:
        """Path of the content, whether it exists or not; None where the store has no paths."""
        if isinstance(self._store, LocalFileStore):
            return self._store.layout.path(limits.checked_id(record.file_id, "file_id"))
        return None

    def url(self, record: FileRecord) -> str | None:
        """Address of the content, where the store can give one."""
        return self._store.url(limits.checked_id(record.file_id, "file_id"))

    def download(self, record: FileRecord, path: Path) -> Path:
        """Copy the content to `path` by way of a temporary name."""
        file_id = limits.checked_id(record.file_id, "file_id")
        temporary = path.with_name(f".{path.name}.part")
        try:
            with self._store.open(file_id) as chunks, temporary.open("wb") as copy:
                copy.writelines(chunks)
            return temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class FacadePart:
    """The state that every group of methods works on.

    Attributes:
        transactions: the database.
        store: the contents of files.
        stores: these, and those of blocks.
        clock: tells the time; tests control it.
        installation_id: default camera of the methods.
    """

    transactions: Transactions
    store: FileStore
    stores: NodeStores
    clock: Clock
    installation_id: str

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self.clock())

    def _time(self, time: datetime | None) -> int:
        return self._now() if time is None else limits.checked_time(time, "time")

    def _camera(self, camera_id: str | None) -> str:
        return limits.checked_camera_id(self.installation_id if camera_id is None else camera_id)

    def _located(self, record: FileRecord) -> FileRecord:
        return record.located_by(StoredContentLocator(self.store))

    def _located_event(self, event: Event) -> Event:
        for record in event.file_records:
            self._located(record)
        return event
