"""CRC-32 of files that no record knows: read once, and kept as long as the files stay the same."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Final, Protocol

from meteorpi_db.filestore.crc import crc32
from meteorpi_server.archiving.entries import Entry
from meteorpi_server.archiving.sources import PathSource

BUDGET_BYTES: Final = 1 << 28
"""So much is read before an archive is begun, about two seconds of a disk: 256 MiB."""

_MOST: Final = 200_000


class KeptChecksums(Protocol):
    """Where sums outlive the process, by keys of 64 hexadecimal digits."""

    def known(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Those of `keys` that are kept."""

    def keep(self, found: Mapping[str, int]) -> None:
        """Keep sums that were found by reading."""

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what turned out to be wrong."""


class Checksums:
    """The checksums of files by path and identity. Safe for threads.

    Those used last are held in memory too: a download in parts asks for the same ones each time.

    Args:
        root: the directory that paths are below.
        kept: where they outlive the process.
        most: how many are held in memory; those asked for longest ago are dropped there.

    Attributes:
        hits: sums that were asked for and known.
        computed: sums that were found by reading.
    """

    def __init__(self, root: str | os.PathLike[str], kept: KeptChecksums, most: int = _MOST) -> None:
        self._source = PathSource(root)
        self._kept = kept
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[str, int] = OrderedDict()
        self.hits = self.computed = 0

    def known(self, entries: Sequence[Entry]) -> list[int | None]:
        """The checksum of the file of each of `entries`, None where nobody has read it yet."""
        keys = [_key(entry) for entry in entries]
        with self._lock:
            found = {key: self._held[key] for key in keys if key in self._held}
            for key in found:
                self._held.move_to_end(key)
        if unknown := [key for key in keys if key not in found]:
            kept = self._kept.known(unknown)
            self._hold(kept)
            found |= kept
        with self._lock:
            self.hits += len(found)
        return [found.get(key) for key in keys]

    def note(self, found: Iterable[tuple[Entry, int]]) -> None:
        """Keep what was found by reading the files of entries."""
        sums = {_key(entry): crc for entry, crc in found}
        if sums:
            with self._lock:
                self.computed += len(sums)
            self._hold(sums)
            self._kept.keep(sums)

    def forget(self, entries: Iterable[Entry]) -> None:
        """Drop the checksums of files that turned out to have others: they are read anew."""
        wrong = [_key(entry) for entry in entries]
        if not wrong:
            return
        with self._lock:
            for key in wrong:
                self._held.pop(key, None)
        self._kept.forget(wrong)

    def read(self, entry: Entry) -> int:
        """The checksum of the file of `entry`, by reading it; still to be noted.

        Raises:
            SourceFailedError: the file is gone, or not the one that was planned.
        """
        crc = 0
        with closing(self._source.open(entry, 0, entry.size)) as chunks:
            for chunk in chunks:
                crc = crc32(chunk, crc)
        return crc

    def _hold(self, sums: Mapping[str, int]) -> None:
        with self._lock:
            self._held |= sums
            while len(self._held) > self._most:
                self._held.popitem(last=False)


def _key(entry: Entry) -> str:
    """What two readings of the same file have in common: a path may be long, and is nobody's business."""
    details = entry.details
    identity = details.get("device"), details.get("inode"), entry.size, details.get("mtime_ns")
    text = "\0".join(map(str, (entry.reference, *identity)))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
