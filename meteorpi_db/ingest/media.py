"""What kinds of files cameras leave behind, told by the ending of the name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a file is to MeteorPi."""

    PICTURE = "picture"
    VIDEO = "video"
    TABLE = "table"
    LOG = "log"
    OTHER = "other"


@dataclass(frozen=True)
class Media:
    """A format.

    Attributes:
        mime_type: as registered with IANA, where it is (``image/fits``: RFC 4047).
        kind: what it is to MeteorPi.
    """

    mime_type: str
    kind: Kind


UNKNOWN = Media("application/octet-stream", Kind.OTHER)

_BY_ENDING = {
    ".fits": Media("image/fits", Kind.PICTURE),
    ".fit": Media("image/fits", Kind.PICTURE),
    ".fts": Media("image/fits", Kind.PICTURE),
    ".jpg": Media("image/jpeg", Kind.PICTURE),
    ".jpeg": Media("image/jpeg", Kind.PICTURE),
    ".png": Media("image/png", Kind.PICTURE),
    ".bmp": Media("image/bmp", Kind.PICTURE),
    ".gif": Media("image/gif", Kind.PICTURE),
    ".tif": Media("image/tiff", Kind.PICTURE),
    ".tiff": Media("image/tiff", Kind.PICTURE),
    ".webp": Media("image/webp", Kind.PICTURE),
    ".avi": Media("video/x-msvideo", Kind.VIDEO),
    ".mp4": Media("video/mp4", Kind.VIDEO),
    ".m4v": Media("video/mp4", Kind.VIDEO),
    ".mov": Media("video/quicktime", Kind.VIDEO),
    ".mkv": Media("video/matroska", Kind.VIDEO),
    ".webm": Media("video/webm", Kind.VIDEO),
    ".ts": Media("video/mp2t", Kind.VIDEO),
    ".csv": Media("text/csv", Kind.TABLE),
    ".ecsv": Media("text/plain", Kind.TABLE),
    ".json": Media("application/json", Kind.TABLE),
    ".kml": Media("application/vnd.google-earth.kml+xml", Kind.TABLE),
    ".txt": Media("text/plain", Kind.LOG),
    ".log": Media("text/plain", Kind.LOG),
    ".zip": Media("application/zip", Kind.OTHER),
    ".gz": Media("application/gzip", Kind.OTHER),
    ".bz2": Media("application/x-bzip2", Kind.OTHER),
}


def media_of(name: str) -> Media:
    """The format that the ending of `name` promises; :data:`UNKNOWN` for all others."""
    _, dot, ending = name.rpartition(".")
    return _BY_ENDING.get(f".{ending.lower()}", UNKNOWN) if dot else UNKNOWN
