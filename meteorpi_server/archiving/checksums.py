"""CRC-32 of files that no database knows, remembered as long as they stay the same."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import closing
from typing import Final, TypeAlias

from meteorpi_server.archiving.checks import crc32
from meteorpi_server.archiving.entries import Entry
from meteorpi_server.archiving.sources import PathSource

BUDGET_BYTES: Final = 1 << 28
"""So much is read before an archive is begun, about two seconds of a disk: 256 MiB."""

_MOST: Final = 200_000

Key: TypeAlias = tuple[str, object, object, int | None, object]


class Checksums:
    """The checksums of files by path and identity, for the life of a process. Safe for threads.

    Args:
        root: the directory that paths are below.
        most: files that are remembered; those asked for longest ago are forgotten.
    """

    def __init__(self, root: str | os.PathLike[str], most: int = _MOST) -> None:
        self._source = PathSource(root)
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, int] = OrderedDict()

    def known(self, entry: Entry) -> int | None:
        """The checksum of the file of `entry`, None when nobody has read it yet."""
        key = _key(entry)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def note(self, entry: Entry, crc: int) -> None:
        """Remember what was found by reading the file of `entry`."""
        with self._lock:
            self._kept[_key(entry)] = crc
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def read(self, entry: Entry) -> int:
        """The checksum of the file of `entry`, by reading it.

        Raises:
            SourceFailedError: the file is gone, or not the one that was planned.
        """
        crc = 0
        with closing(self._source.open(entry, 0, entry.size)) as chunks:
            for chunk in chunks:
                crc = crc32(chunk, crc)
        self.note(entry, crc)
        return crc


def _key(entry: Entry) -> Key:
    details = entry.details
    identity = details.get("device"), details.get("inode"), entry.size, details.get("mtime_ns")
    return (entry.reference, *identity)
