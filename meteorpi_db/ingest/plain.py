"""Reader of plain directories: pictures, videos, tables and logs of whatever camera."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from meteorpi_db.ingest.base import (
    FileItem,
    Folder,
    IngestOptions,
    Item,
    LeftOutItem,
    Reader,
    StatusFacts,
    StatusItem,
)
from meteorpi_db.ingest.media import Kind, media_of
from meteorpi_db.ingest.times import FileTime, find_file_time
from meteorpi_model.records import Meta
from meteorpi_model.values import NSString

TIME_SOURCE_KEY = NSString("timeSource")
TIME_ZONE_KEY = NSString("timeZone")
TABLE_TYPE = NSString("table")
LOG_TYPE = NSString("logfile")


class PlainReader(Reader):
    """Takes each file for itself; the only things to find out are what it is and when it was made.

    Args:
        default_camera_id: camera of the files unless the options name one.
    """

    name = "plain"

    def __init__(self, default_camera_id: str) -> None:
        self._default_camera_id = default_camera_id

    def recognises(self, folder: Folder) -> bool:
        """Every directory can be read as a plain one."""
        return True

    def read(self, folder: Folder, options: IngestOptions) -> Iterator[Item]:
        """One item a file, in no order; before them the status, where the options say anything of it."""
        camera_id = options.camera_id or self._default_camera_id
        if options.facts != StatusFacts() and (earliest := _earliest_time(folder, options)):
            yield StatusItem(camera_id=camera_id, valid_from=earliest, facts=options.facts)
        for name in folder.wanted_names():
            yield _read_file(folder, name, camera_id, options)


def _is_taken(name: str) -> bool:
    return not name.startswith(".") and media_of(name).kind is not Kind.OTHER


def _earliest_time(folder: Folder, options: IngestOptions) -> datetime | None:
    """A pass of its own, so that nothing about a million files need be kept in memory."""
    names = (name for name in folder.wanted_names() if _is_taken(name))
    return min((_time_of(folder, name, options).time for name in names), default=None)


def _time_of(folder: Folder, name: str, options: IngestOptions) -> FileTime:
    return find_file_time(folder.path / name, media_of(name).mime_type, options.time_zone)


def _read_file(folder: Folder, name: str, camera_id: str, options: IngestOptions) -> Item:
    path = folder.path / name
    if not _is_taken(name):
        return LeftOutItem(
            path=path, reason="hidden file" if name.startswith(".") else "unknown kind of file"
        )
    media = media_of(name)
    types = {
        Kind.PICTURE: options.picture_type,
        Kind.VIDEO: options.video_type,
        Kind.TABLE: TABLE_TYPE,
        Kind.LOG: LOG_TYPE,
    }
    found = _time_of(folder, name, options)
    meta = [Meta(TIME_SOURCE_KEY, found.source)]
    if found.zone is not None:
        meta.append(Meta(TIME_ZONE_KEY, found.zone))
    return FileItem(
        source=path,
        name=name,
        camera_id=camera_id,
        mime_type=media.mime_type,
        semantic_type=types[media.kind],
        file_time=found.time,
        meta=tuple(meta),
    )
