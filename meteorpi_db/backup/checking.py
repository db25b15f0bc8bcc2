"""Is a snapshot what was written? Everything is read: parts, rows, contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from meteorpi_db.backup.contents_list import ContentLine, read_contents
from meteorpi_db.backup.depot import ContentDepot
from meteorpi_db.backup.manifest import CONTENTS_PART, KEY_FILE, Manifest, read_manifest
from meteorpi_db.backup.parts import PartFacts, read_lines, sha256_of_file
from meteorpi_db.backup.repository import Repository
from meteorpi_db.backup.rows import LineDigest
from meteorpi_model.errors import BackupDamagedError

Progress = Callable[[int, int], object]
"""Called with the bytes of content that are done, and of all."""


@dataclass(kw_only=True)
class CheckReport:
    """What a check found.

    Attributes:
        name: of the snapshot.
        rows: in all tables.
        contents, content_bytes: that are right.
        damaged_parts: files of the snapshot that are missing, cannot be read or were changed.
        missing, damaged: contents by their SHA-256.
        lacking: number of records whose content was missing or damaged at the source already.
    """

    name: str
    rows: int = 0
    contents: int = 0
    content_bytes: int = 0
    damaged_parts: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    lacking: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether all is there that was there when the backup was made."""
        return not (self.damaged_parts or self.missing or self.damaged)

    def as_dict(self) -> dict[str, object]:
        """For people and scripts."""
        return {**vars(self), "sound": self.is_sound}


def check_snapshot(repository: Repository, snapshot: Path, progress: Progress | None = None) -> CheckReport:
    """Read everything in a snapshot and compare digests; only the report says what is damaged."""
    report = CheckReport(name=snapshot.name)
    try:
        manifest = read_manifest(snapshot)
    except BackupDamagedError as error:
        report.damaged_parts.append(error.detail)
        return report
    report.lacking = len(manifest.lacking)
    for name, facts in manifest.files.items():
        _check_part(snapshot, name, facts, report)
    _check_key(snapshot, manifest, report)
    if CONTENTS_PART not in report.damaged_parts:
        _check_contents(repository.depot, snapshot, manifest, report, progress)
    return report


def _check_part(snapshot: Path, name: str, facts: PartFacts, report: CheckReport) -> None:
    path, digest = snapshot / name, LineDigest()
    try:
        if sha256_of_file(path) == facts.sha256:
            for line in read_lines(path):
                digest.add(line)
    except BackupDamagedError:
        pass
    if (digest.rows, digest.hexadecimal) != (facts.rows, facts.digest):
        report.damaged_parts.append(name)
    elif name != CONTENTS_PART:
        report.rows += digest.rows


def _check_key(snapshot: Path, manifest: Manifest, report: CheckReport) -> None:
    if manifest.key_sha256 is None:
        return
    try:
        is_right = sha256_of_file(snapshot / KEY_FILE) == manifest.key_sha256
    except BackupDamagedError:
        is_right = False
    if not is_right:
        report.damaged_parts.append(KEY_FILE)


def wanted_contents(snapshot: Path, manifest: Manifest) -> Iterator[ContentLine]:
    """The contents that the snapshot should have, each once."""
    lost = {found.sha256 for found in manifest.lacking}
    dropped = set(manifest.dropped_files)
    for sha256, group in groupby(read_contents(snapshot / CONTENTS_PART), attrgetter("sha256")):
        kept = [line for line in group if line.file_id.hex not in dropped]
        if kept and sha256 not in lost:
            yield kept[0]


def _check_contents(
    depot: ContentDepot,
    snapshot: Path,
    manifest: Manifest,
    report: CheckReport,
    progress: Progress | None,
) -> None:
    done = 0
    for line in wanted_contents(snapshot, manifest):
        if not depot.holds(line.sha256, line.size):
            found = report.damaged if depot.path(line.sha256).exists() else report.missing
            found.append(line.sha256)
        elif not depot.is_right(line.sha256):
            report.damaged.append(line.sha256)
        else:
            report.contents += 1
            report.content_bytes += line.size
        done += line.size
        if progress is not None:
            progress(done, manifest.content_bytes)


def summary(snapshot: Path) -> dict[str, object]:
    """One snapshot in a list of them, from its manifest alone."""
    try:
        manifest = read_manifest(snapshot)
    except BackupDamagedError as error:
        return {"name": snapshot.name, "trouble": error.detail}
    return {
        "name": snapshot.name,
        "files": manifest.tables["file_record"].rows,
        "events": manifest.tables["event"].rows,
        "content_bytes": manifest.content_bytes,
        "lacking": len(manifest.lacking),
        "engine": manifest.engine,
        "schema_version": manifest.schema_version,
        "software": manifest.software,
        "has_key": manifest.key_sha256 is not None,
        "trouble": None,
    }
