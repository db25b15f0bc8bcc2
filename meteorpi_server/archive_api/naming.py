"""What records are called in an archive: a template with what is known of each."""

from __future__ import annotations

from typing import Final

from meteorpi_server.archive_api.selecting import ChosenRecord

RECORD_LAYOUT: Final = "{camera}/{date}/{name}"
PATH_LAYOUT: Final = "{path}/{name}"

FALLBACK_EXTENSION: Final = ".bin"
EXTENSIONS: Final = {
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/x-bzip2": ".bz2",
    "application/zip": ".zip",
    "image/bmp": ".bmp",
    "image/fits": ".fits",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "video/h264": ".h264",
    "video/matroska": ".mkv",
    "video/mp2t": ".ts",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-msvideo": ".avi",
}
"""Endings by MIME type. Ours, since those of the system differ between machines, and names must not."""


def record_path(chosen: ChosenRecord, layout: str, index: int) -> str:
    """The path of a record in an archive, not cleaned yet.

    Args:
        chosen: the record.
        layout: a template that has been checked.
        index: number of the entry.
    """
    record = chosen.record
    assert record.file_id is not None  # what a database gives has been registered
    assert record.file_time is not None
    name = record.file_name or record.file_id.hex + extension(record.mime_type)
    values = {
        "camera": record.camera_id,
        "date": record.file_time.strftime("%Y-%m-%d"),
        "time": record.file_time.strftime("%H-%M-%S"),
        "type": str(record.semantic_type),
        "event": "" if chosen.event_id is None else chosen.event_id.hex,
        "id": record.file_id.hex,
        "name": name,
        "path": "",
        "index": str(index),
    }
    # Only the template makes directories: what somebody called a camera or a file does not.
    return layout.format_map({field: text.replace("/", "_") for field, text in values.items()})


def extension(mime_type: str) -> str:
    """The usual ending of files of a type."""
    return EXTENSIONS.get(mime_type.partition(";")[0].strip().lower(), FALLBACK_EXTENSION)
