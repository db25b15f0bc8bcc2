"""From a file in a folder to a content in the store: the part of an ingest that threads share.

Reading, hashing, copying and above all waiting for the disk let go of the interpreter, so several files are
prepared at once; the database hears of them in groups afterwards (:mod:`meteorpi_db.ingest.taker`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from meteorpi_db.filestore.hashing import CHUNK_BYTES, ContentFacts, HashedContent
from meteorpi_db.ingest.base import FileItem
from meteorpi_db.ingest.damage import find_damage
from meteorpi_db.ingest.identity import file_identity
from meteorpi_db.records import files, statuses
from meteorpi_db.records.files import CheckedFile, ContentRow, NewFile
from meteorpi_model.errors import DigestMismatchError, IncompleteBodyError, InvalidDocumentError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

BYTES_AT_HAND = 8 << 20
"""Files up to this size are held in memory while they are prepared, one for each thread."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A file that is ready to be recorded, or held already.

    Attributes:
        item: where it came from.
        checked: what to record.
        facts: of the content, which is durable in the store.
        is_present: the record was held before, and so was the content.
    """

    item: FileItem
    checked: CheckedFile
    facts: ContentFacts
    is_present: bool = False

    @property
    def file_id(self) -> UUID:
        """Identity of the file."""
        return self.checked.file_id


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A file that cannot be taken.

    Attributes:
        item: where it came from.
        reason: one sentence.
        is_damaged: the file itself is at fault and goes to quarantine.
    """

    item: FileItem
    reason: str
    is_damaged: bool


class Preparation:
    """Prepares files, for any number of threads.

    Args:
        db: whose store the contents go to.
    """

    def __init__(self, db: MeteorDatabase) -> None:
        self._db = db
        self._covered_from: dict[str, int] = {}

    def prepare(self, item: FileItem) -> Prepared | Failed:
        """Look for damage, find the identity, and put the content into the store unless it is there.

        Raises:
            StoreFullError, UnavailableError: the node itself cannot go on.
        """
        try:
            damage = _damage_of(item)
            if damage is not None:
                return Failed(item=item, reason=damage, is_damaged=True)
            return self._prepare(item)
        except OSError as error:
            reason = f"the file cannot be read: {error.strerror or error}"
        except (DigestMismatchError, IncompleteBodyError):
            reason = "the file changed while it was read"
        except InvalidDocumentError as error:
            reason = f"the file cannot be recorded: {error.detail}"
        return Failed(item=item, reason=reason, is_damaged=False)

    def _prepare(self, item: FileItem) -> Prepared:
        name = storable_name(item.name)
        content = _content_of(item.source)
        file_id = file_identity(item.camera_id, name, content.sha256)
        new = NewFile(
            mime_type=item.mime_type,
            semantic_type=item.semantic_type,
            file_time=item.file_time,
            metas=item.meta,
            camera_id=item.camera_id,
            file_name=name,
        )
        checked = files.check_file(new, file_id, item.camera_id)
        held = self._held(file_id)
        if held is not None:
            return Prepared(item=item, checked=checked, facts=held.facts, is_present=True)
        self._require_status(checked)
        facts = self._db.store.put(file_id, content, size=content.size, digests={"sha256": content.sha256})
        return Prepared(item=item, checked=checked, facts=facts)

    def _held(self, file_id: UUID) -> ContentRow | None:
        """The row of a file that needs nothing done. The store is asked first: it mostly knows of nothing."""
        if self._db.store.stat(file_id) is None:
            return None
        with self._db.transactions.reading() as connection:
            held = files.content_row(connection, file_id)
        if held is not None and held.is_corrupt:
            self._db.store.delete(file_id)  # what was found to be wrong makes room for what is right
            return None
        return held

    def _require_status(self, checked: CheckedFile) -> None:
        """Refuse a file that no status covers before its content is copied.

        A camera that has a status at one time has one at every later time, so most files need no query.
        """
        covered_from = self._covered_from.get(checked.camera_id)
        if covered_from is None or checked.time < covered_from:
            with self._db.transactions.reading() as connection:
                statuses.require_key_at(connection, checked.camera_id, checked.time)
            self._covered_from[checked.camera_id] = checked.time


def _damage_of(item: FileItem) -> str | None:
    return None if isinstance(item.source, bytes) else find_damage(item.source, item.mime_type)


def storable_name(name: str) -> str:
    """`name` as a text: bytes that are no UTF-8 are written out as ``\\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _FileContent(Iterable[bytes]):
    """A file too large to be held in memory: read once for its identity, and again to be stored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size, digest = 0, hashlib.sha256()
        for block in self:
            digest.update(block)
            self.size += len(block)
        self.sha256 = digest.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as stream:
            while block := stream.read(CHUNK_BYTES):
                yield block


def _content_of(source: Path | bytes) -> HashedContent | _FileContent:
    if isinstance(source, bytes):
        return HashedContent([source])
    with source.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size > BYTES_AT_HAND:
            return _FileContent(source)
        return HashedContent(iter(lambda: stream.read(CHUNK_BYTES), b""))
