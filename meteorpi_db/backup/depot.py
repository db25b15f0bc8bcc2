"""The contents of all snapshots of a repository, each once, named by its SHA-256.

A content never changes, so one that has its name is complete: it was written under another name, flushed and
then renamed. The names are the digests: whoever has ``sha256sum`` can check them without this software.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from meteorpi_db.backup.parts import backup_errors, sha256_of_file
from meteorpi_db.filestore import Disk
from meteorpi_model.errors import BackupDamagedError, DigestMismatchError

INCOMING_PREFIX = ".incoming-"
"""Contents being written begin so."""

_NAME = re.compile(r"[0-9a-f]{64}")
_BRANCH = re.compile(r"[0-9a-f]{2}")


class ContentDepot:
    """Contents in ``<root>/<first two digits>/<sha256>``; one writer at a time, whom the repository admits.

    Args:
        root: the directory.
        disk: how each step is done.
    """

    def __init__(self, root: Path, disk: Disk) -> None:
        self.root = root
        self._disk = disk

    def path(self, sha256: str) -> Path:
        """Where the content with that digest is, or would be."""
        if not _NAME.fullmatch(sha256):
            raise BackupDamagedError(f"{sha256!r} is not the digest of a content")
        return self.root / sha256[:2] / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether the content is there, by name and size; :meth:`is_right` reads it."""
        path = self.path(sha256)
        with backup_errors("look up contents"):
            try:
                return path.stat().st_size == size
            except FileNotFoundError:
                return False

    def is_right(self, sha256: str) -> bool:
        """Whether the bytes of a content that is there are still the right ones."""
        return sha256_of_file(self.path(sha256)) == sha256

    def add(self, sha256: str, chunks: Iterable[bytes]) -> int:
        """Take a content; its name is durable after :meth:`settle`.

        Returns:
            Its bytes.

        Raises:
            DigestMismatchError: `chunks` are another content; nothing is kept.
            StoreFullError: no room; nothing is kept.
        """
        final = self.path(sha256)
        temporary = self.root / f"{INCOMING_PREFIX}{secrets.token_hex(8)}"
        with backup_errors("write a content"):
            descriptor = self._disk.create(temporary)
        try:
            size = self._receive(descriptor, sha256, chunks)
            with backup_errors("write a content"):
                self._make_branch(final.parent)
                self._disk.rename(temporary, final)
        except BaseException:
            with suppress(OSError):
                self._disk.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        return size

    def _receive(self, descriptor: int, sha256: str, chunks: Iterable[bytes]) -> int:
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            with backup_errors("write a content"):
                self._disk.write(descriptor, chunk)
        if digest.hexdigest() != sha256:
            raise DigestMismatchError("the bytes are not the recorded content", expected=sha256)
        with backup_errors("flush a content"):
            self._disk.flush(descriptor)
        return size

    def _make_branch(self, branch: Path) -> None:
        if not branch.is_dir():
            self._disk.make_directory(branch)

    def settle(self) -> None:
        """Make the names of all contents durable, also of those that a killed writer left unflushed."""
        with backup_errors("flush contents"):
            for branch in self._branches():
                self._disk.flush_directory(branch)
            self._disk.flush_directory(self.root)

    def _branches(self) -> list[Path]:
        return sorted(path for path in self.root.iterdir() if _BRANCH.fullmatch(path.name))

    def names(self) -> Iterator[str]:
        """The digests of all contents, in order."""
        with backup_errors("list contents"):
            for branch in self._branches():
                found = (path.name for path in branch.iterdir())
                yield from sorted(name for name in found if _NAME.fullmatch(name) and name[:2] == branch.name)

    def remove(self, sha256: str) -> int:
        """Remove a content that no snapshot names; gives its bytes."""
        path = self.path(sha256)
        with backup_errors("remove a content"):
            size = path.stat().st_size
            self._disk.unlink(path)
        return size

    def sweep(self) -> None:
        """Remove what writers that died have left."""
        with backup_errors("clean up"):
            for path in self.root.glob(f"{INCOMING_PREFIX}*"):
                self._disk.unlink(path)
