"""Lazy iteration by the names of the first generation, over searches in place of SQL text.

``file_generator(sql, sql_args)`` took SQL over tables that no longer exist. What it was for works on: the
same methods take a search (None for everything), fetch a page at a time, and stay valid whatever else
the database object does. There are no caches any more (B-23), and `cache_info` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from meteorpi_model import CameraStatus, Event, EventSearch, ExportConfiguration, FileRecord, FileRecordSearch
from meteorpi_model.errors import InvalidDocumentError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

Item = TypeVar("Item")

_CACHE_NAMES = ("status", "event", "file", "export")


class CacheInfo(NamedTuple):
    """Shaped as that of `functools.lru_cache`."""

    hits: int
    misses: int
    maxsize: int
    currsize: int


class MeteorDatabaseGenerators:
    """Generators over what a database holds.

    Args:
        db: the database.
    """

    def __init__(self, db: MeteorDatabase) -> None:
        self._db = db

    def file_generator(self, search: FileRecordSearch | None = None) -> Iterator[FileRecord]:
        """Matching file records, newest first; None for all."""
        return self._db.iterate_files(search)

    def event_generator(self, search: EventSearch | None = None) -> Iterator[Event]:
        """Matching events, newest first; None for all."""
        return self._db.iterate_events(search)

    def camera_status_generator(self, camera_id: str | None = None) -> Iterator[CameraStatus]:
        """Statuses of a camera, newest first; None for those of all cameras."""
        cameras = self._db.get_cameras() if camera_id is None else [camera_id]
        for camera in cameras:
            yield from self._db.get_status_history(camera)

    def export_configuration_generator(self) -> Iterator[ExportConfiguration]:
        """Export configurations, newest first."""
        yield from self._db.get_export_configurations()

    def cache_info(self) -> dict[str, CacheInfo]:
        """Figures of the caches, which are all empty for ever: every read asks the database."""
        return dict.fromkeys(_CACHE_NAMES, CacheInfo(0, 0, 0, 0))

    def cache_clear(self, name: str) -> None:
        """Do nothing, for ``status``, ``event``, ``file`` and ``export``; ValueError for other names."""
        if name not in _CACHE_NAMES:
            raise InvalidDocumentError(f"unknown cache {name!r}; there were {', '.join(_CACHE_NAMES)}")


def first_from_generator(g: Iterable[Item]) -> Item | None:
    """The first item, or None when there is none."""
    return next(iter(g), None)


def first_non_null(items: Iterable[Item | None]) -> Item:
    """The first item that is not None; `InvalidDocumentError` (a ``ValueError``) when there is none."""
    for item in items:
        if item is not None:
            return item
    raise InvalidDocumentError("every item is None")
