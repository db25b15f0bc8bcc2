"""Comparing what a node holds with what lies in a directory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from meteorpi_model import EventSearch, FileRecordSearch

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tree_state(directory: Path) -> dict[str, tuple[str, int]]:
    """Digest and time of change of every file below a directory, by path."""
    return {
        str(path.relative_to(directory)): (digest(path.read_bytes()), path.stat().st_mtime_ns)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def held_files(db: MeteorDatabase) -> dict[str, str]:
    """Digest of the stored content of every file, by name; every content agrees with its record."""
    held = {}
    for record in db.iterate_files(FileRecordSearch(limit=0)):
        assert record.file_id is not None
        with db.open_content(record.file_id) as chunks:
            content = b"".join(chunks)
        assert digest(content) == db.content_facts(record.file_id).sha256
        assert len(content) == record.file_size
        held[str(record.file_name)] = digest(content)
    return held


def counts(db: MeteorDatabase) -> tuple[int, int, int]:
    """Statuses, files and events held."""
    statuses = sum(len(db.get_status_history(camera)) for camera in db.get_cameras())
    files = db.search_files(FileRecordSearch(limit=1))["count"]
    return statuses, files, db.search_events(EventSearch(limit=1))["count"]


def same_contents(db: MeteorDatabase) -> bool:
    """Whether the store holds the content of every record and nothing else."""
    return {record.file_id for record in db.iterate_files(FileRecordSearch(limit=0))} == set(db.store.ids())
