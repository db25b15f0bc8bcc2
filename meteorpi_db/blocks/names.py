"""Names of prefixes and paths, and the tag of an object.

Source: K-102 and K-145 of the storage contract.
"""

from __future__ import annotations

import re
from typing import Final

from meteorpi_db.blocks.tables import PATH_LENGTH, PREFIX_LENGTH
from meteorpi_model.errors import NotFoundError

_PREFIX: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{PREFIX_LENGTH}}}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.~-]+")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_BLOCK_SEGMENTS: Final = ("block/", "blocks/")


def checked_prefix(name: str) -> str:
    """`name`, which is fit to be the name of a prefix.

    Raises:
        NotFoundError: it is not, so there is none.
    """
    if not _PREFIX.fullmatch(name):
        raise NotFoundError("there is no such prefix")
    return name


def checked_path(path: str) -> str:
    """`path`, which is fit to be the path of an object: segments between single slashes.

    Raises:
        NotFoundError: it is not, so there is none.
    """
    segments = path.split("/")
    if len(path) > PATH_LENGTH or not all(_is_segment(segment) for segment in segments):
        raise NotFoundError("there is no such object")
    return path


def _is_segment(segment: str) -> bool:
    return _SEGMENT.fullmatch(segment) is not None and segment not in (".", "..")


def is_block(path: str) -> bool:
    """Whether the object is a block of a file, and not what a client keeps about files (K-211)."""
    return path.startswith(_BLOCK_SEGMENTS)


def digest_named(path: str) -> str | None:
    """The SHA-256 by which a block is called; None when it is called otherwise, or is no block (K-232)."""
    name = path.rpartition("/")[2].lower()
    return name if is_block(path) and _DIGEST.fullmatch(name) else None


def tag_of(sha256: str) -> str:
    """The entity tag of these bytes: strong, and the same on every node."""
    return f'"{sha256}"'
