"""Removal of what dead processes left in the directory of a local store."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from meteorpi_db.filestore.base import SweepReport
from meteorpi_db.filestore.directory import stored_milliseconds
from meteorpi_db.filestore.disk import Disk
from meteorpi_db.filestore.layout import PARTS_PREFIX, Layout
from meteorpi_model.values import utc_datetime_to_milliseconds


def sweep_directory(
    layout: Layout, disk: Disk, now: datetime, temporary_seconds: float, parts_seconds: float
) -> SweepReport:
    """Remove temporary files and resumable writes that are old enough and locked by nobody."""
    now_ms = utc_datetime_to_milliseconds(now)
    removed = freed_bytes = kept = 0
    for path in layout.own_files():
        age_seconds = parts_seconds if path.name.startswith(PARTS_PREFIX) else temporary_seconds
        size = _remove_left_over(path, disk, now_ms - int(age_seconds * 1000))
        if size is None:
            kept += 1
        else:
            removed += 1
            freed_bytes += size
    return SweepReport(removed=removed, freed_bytes=freed_bytes, kept=kept)


def _remove_left_over(path: Path, disk: Disk, not_after_ms: int) -> int | None:
    """Bytes that were freed, or None when the file stays."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    try:
        found = os.fstat(descriptor)
        if stored_milliseconds(found) > not_after_ms:
            return None
        disk.lock(descriptor)
        disk.unlink(path)
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
    # A second name of complete content, left by a kill after the link, frees nothing.
    return found.st_size if found.st_nlink == 1 else 0
