"""What a snapshot consists of: ``manifest.json``, proved by ``SHA256SUMS`` beside it.

``SHA256SUMS`` names every other file of the snapshot, so ``sha256sum --check SHA256SUMS`` tells, without
this software, whether it is whole; that of the contents is their name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meteorpi_db.backup.parts import PartFacts, sha256_of_file
from meteorpi_db.backup.shape import Document
from meteorpi_model.errors import BackupDamagedError, ConfigurationError

FORMAT = 1
"""Version of the format of repositories and snapshots."""

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
CONTENTS_PART = "contents.jsonl.gz"
KEY_FILE = "secret.key"
DATABASE = "database"

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Lost:
    """A record whose content the backup does not have.

    Attributes:
        file_id: the record, 32 hexadecimal digits.
        sha256: the content.
        finding: ``missing``, ``torn`` (other bytes) or ``unreadable``, at the time of the backup.
    """

    file_id: str
    sha256: str
    finding: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One snapshot.

    Attributes:
        made_at: when the database was read, in milliseconds.
        software: version of the software that made it.
        engine: database engine that it comes from; a backup goes into any.
        schema_version: version of the schema.
        installation_id: camera id of the node.
        tables: the part of each table, parents before children.
        shapes: the shape of each table.
        contents: the part that lists the content of each record.
        content_count, content_bytes: contents that differ from each other, and their bytes.
        key_sha256: digest of the key that protects stored passwords; None when it is not in the backup.
        lacking: records whose content is missing or damaged at the source.
        dropped_files, dropped_events: records deleted while the backup was made; they are not restored.
    """

    made_at: int
    software: str
    engine: str
    schema_version: int
    installation_id: str
    tables: Mapping[str, PartFacts]
    shapes: Mapping[str, Document]
    contents: PartFacts
    content_count: int
    content_bytes: int
    key_sha256: str | None
    lacking: list[Lost]
    dropped_files: list[str]
    dropped_events: list[str]

    def to_text(self) -> str:
        """The document."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @property
    def files(self) -> dict[str, PartFacts]:
        """Every part by its path below the snapshot."""
        parts = {f"{DATABASE}/{name}.jsonl.gz": facts for name, facts in self.tables.items()}
        return parts | {CONTENTS_PART: self.contents}

    def sums(self) -> str:
        """The lines of ``SHA256SUMS`` but for the manifest's own."""
        digests = {name: facts.sha256 for name, facts in self.files.items()}
        if self.key_sha256 is not None:
            digests[KEY_FILE] = self.key_sha256
        return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def part_of_table(snapshot: Path, name: str) -> Path:
    """Where the rows of a table are."""
    return snapshot / DATABASE / f"{name}.jsonl.gz"


def read_manifest(snapshot: Path) -> Manifest:
    """The manifest of a snapshot, if it is the one that was written.

    Raises:
        BackupDamagedError: it is missing or was changed.
        ConfigurationError: it comes from newer software.
    """
    stored = _stored_sum(snapshot)
    if sha256_of_file(snapshot / MANIFEST) != stored:
        raise BackupDamagedError(f"{MANIFEST} of the backup {snapshot.name} was changed or is damaged")
    try:
        document = json.loads((snapshot / MANIFEST).read_text("utf-8"))
        return _manifest_from(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupDamagedError(f"{MANIFEST} of the backup {snapshot.name} cannot be read") from error


def _stored_sum(snapshot: Path) -> str:
    try:
        lines = (snapshot / SUMS).read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupDamagedError(f"{SUMS} of the backup {snapshot.name} cannot be read") from error
    found = [line.split("  ", 1)[0] for line in lines if line.endswith(f"  {MANIFEST}")]
    if len(found) != 1:
        raise BackupDamagedError(f"{SUMS} of the backup {snapshot.name} does not name {MANIFEST} once")
    return found[0]


def _manifest_from(document: dict[str, Any]) -> Manifest:
    values = dict(document)
    version = values.pop("format")
    if version != FORMAT:
        raise ConfigurationError(
            f"the backup has format {version}, but this software knows only {FORMAT}: install the newer one"
        )
    if not all(_TABLE_NAME.fullmatch(name) for name in values["tables"]):
        raise ValueError("a name that no table has")
    values["tables"] = {name: PartFacts(**facts) for name, facts in values["tables"].items()}
    values["contents"] = PartFacts(**values["contents"])
    values["lacking"] = [Lost(**found) for found in values["lacking"]]
    return Manifest(**values)
