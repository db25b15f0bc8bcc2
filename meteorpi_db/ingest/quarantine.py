"""Copies of damaged files, each with the reason beside it.

A damaged file of ``night.jpg`` becomes ``<first 16 digits of its SHA-256>-night.jpg`` and the same name with
``.json`` appended. The same bytes found again are not copied again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from meteorpi_db.ingest.base import DamageItem
from meteorpi_db.ingest.report import Trouble
from meteorpi_model.errors import UnavailableError

_DIGEST_DIGITS = 16
_NAME_LENGTH = 180  # leaves room for digest and endings below the 255 bytes of most file systems


class Quarantine:
    """Where damaged files go; the directory is made with the first of them.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def take(self, item: DamageItem, found_at: datetime) -> Trouble:
        """Copy a damaged file and note why; the original stays.

        Args:
            item: the file and its damage.
            found_at: naive UTC.

        Raises:
            UnavailableError: the quarantine cannot be written.
        """
        try:
            return self._take(item, found_at)
        except OSError as error:
            raise UnavailableError(
                f"the quarantine {self.path} cannot be written: {error.strerror}"
            ) from error

    def _take(self, item: DamageItem, found_at: datetime) -> Trouble:
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        if item.is_secret:
            name, copy = f"secret-{_short_name(item.path)}", None
        else:
            copy = self._copy(item.path)
            name = copy.name
        note = {
            "path": str(item.path),
            "reason": item.reason,
            "details": item.details,
            "found_at": found_at.isoformat(timespec="milliseconds") + "Z",
        }
        text = json.dumps(note, indent=1)
        self._write(self.path / f"{name}.json", text.encode("utf-8", "backslashreplace"))
        return Trouble(item.path, item.reason, item.details, copy)

    def _copy(self, source: Path) -> Path:
        with source.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        target = self.path / f"{digest[:_DIGEST_DIGITS]}-{_short_name(source)}"
        if not target.exists():
            temporary = target.with_name(f".{uuid4().hex}")
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        return target

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f".{uuid4().hex}")
        temporary.write_bytes(content)
        temporary.replace(path)


def _short_name(path: Path) -> str:
    """The end of the name, since that is what tells the kind of file."""
    return os.fsdecode(os.fsencode(path.name)[-_NAME_LENGTH:])
