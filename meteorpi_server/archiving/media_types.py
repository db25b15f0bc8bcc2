"""What the type of a content says about whether it shrinks, and what its name says about its type.

The tables are ours: those of the system differ between machines, and archives must not.

Source:
    Section 3.15 of the archive contract.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Shrinking(Enum):
    """What is known of a content before anybody has read it.

    Attributes:
        YES: text and the like.
        NO: compressed already, as photographs and video are.
        UNKNOWN: a sample has to be looked at.
    """

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


_TYPES: Final = {
    ".avi": "video/x-msvideo",
    ".bmp": "image/bmp",
    ".bz2": "application/x-bzip2",
    ".csv": "text/csv",
    ".fit": "image/fits",
    ".fits": "image/fits",
    ".fts": "image/fits",
    ".fz": "application/x-fpack",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".h264": "video/h264",
    ".htm": "text/html",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".log": "text/plain",
    ".mkv": "video/matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ndjson": "application/x-ndjson",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".ts": "video/mp2t",
    ".txt": "text/plain",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}
_NO_TYPES: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_SHRINKING: Final = frozenset(
    {
        "application/json",
        "application/sql",
        "application/x-ndjson",
        "application/x-tar",
        "application/xml",
        "application/yaml",
        "audio/wav",
        "audio/x-wav",
        "image/bmp",
        "image/x-ms-bmp",
    }
)
# Of these only some are compressed inside; and what has no telling type may be anything.
_EITHER: Final = frozenset({"application/fits", "image/fits", "image/tiff", "application/pdf"})
_COMPRESSED: Final = frozenset(
    {
        "application/epub+zip",
        "application/gzip",
        "application/java-archive",
        "application/vnd.rar",
        "application/x-7z-compressed",
        "application/x-bzip2",
        "application/x-fpack",
        "application/x-gzip",
        "application/x-xz",
        "application/x-zip-compressed",
        "application/zip",
        "application/zstd",
    }
)
_SHRINKING_ENDINGS: Final = ("+json", "+xml")
_COMPRESSED_KINDS: Final = ("image/", "video/", "audio/")


def shrinking(media_type: str, name: str) -> Shrinking:
    """Whether a content is likely to shrink.

    Args:
        media_type: as somebody said it, parameters and all; empty where nobody did.
        name: of its file, which is looked at where the type tells nothing.
    """
    kind = media_type.partition(";")[0].strip().lower()
    if kind in _NO_TYPES:
        _, dot, ending = name.rpartition(".")
        kind = _TYPES.get(dot + ending.lower(), "")
    if kind in _EITHER or name.lower().endswith((".gz", ".fz")):
        return Shrinking.UNKNOWN  # a name may say more of the content than the type of what is inside
    if kind.startswith("text/") or kind.endswith(_SHRINKING_ENDINGS) or kind in _SHRINKING:
        return Shrinking.YES
    if kind in _COMPRESSED or kind.startswith(_COMPRESSED_KINDS):
        return Shrinking.NO
    return Shrinking.UNKNOWN
