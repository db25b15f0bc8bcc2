"""Contents of the first generation: files in one directory, named by hex id, without an extension."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from meteorpi_db.filestore import ContentFacts, FileStore, LocalFileStore
from meteorpi_db.filestore.hashing import CHUNK_BYTES
from meteorpi_model.errors import DigestMismatchError, InvalidDocumentError, NotFoundError, UnavailableError


@dataclass(frozen=True)
class Expected:
    """What the original knows of a content.

    Attributes:
        file_id: its name.
        md5: hexadecimal, in lower case; empty when unknown.
        size_bytes: 0 when unknown.
    """

    file_id: UUID
    md5: str
    size_bytes: int


class OriginalContents:
    """Takes contents over into the store of this node; for any number of threads.

    Args:
        directory: the file store of the original, which is only read.
        store: of this node.
        may_link: share contents by hard links where both are on one file system, in place of copies.

    Raises:
        InvalidDocumentError: `directory` does not exist, or is the store of this node itself.
    """

    def __init__(self, directory: Path, store: FileStore, *, may_link: bool = False) -> None:
        if not directory.is_dir():
            raise InvalidDocumentError(f"there is no directory {directory}", path=str(directory))
        if isinstance(store, LocalFileStore) and store.root.resolve() == directory.resolve():
            # What could not be taken would be swept there as content without a record.
            raise InvalidDocumentError(
                "the file store of the original cannot be that of this node: name another one; with links on"
                " the same file system it needs no room",
                path=str(directory),
            )
        self._directory = directory
        self._store = store
        self._may_link = may_link

    def size_of(self, file_id: UUID) -> int | None:
        """Bytes of a content in the original, None when it is missing."""
        try:
            return self._path(file_id).stat().st_size
        except OSError:
            return None

    def take(self, wanted: Expected) -> ContentFacts | str:
        """Store a content, unless it is stored; its facts, or why the original does not have it rightly.

        Raises:
            StoreFullError, UnavailableError: the store of this node cannot take it now.
        """
        if self._store.stat(wanted.file_id) is not None:
            return self._checked(self._store.digests_of(wanted.file_id), wanted)
        path = self._path(wanted.file_id)
        size = self.size_of(wanted.file_id)
        if size is not None and not wanted.md5 and size != wanted.size_bytes > 0:
            return f"its content has {size} bytes where {wanted.size_bytes} are recorded"
        try:
            return self._store.put_file(
                wanted.file_id,
                path,
                move=False,
                may_link=self._may_link,
                digests={"md5": wanted.md5} if wanted.md5 else None,
            )
        except NotFoundError:
            return "its content is missing"
        except InvalidDocumentError as error:
            return f"its content cannot be read: {error.detail}"
        except DigestMismatchError:
            return f"its content is damaged: it does not have the MD5 {wanted.md5}"
        except UnavailableError:
            reason = _unreadable(path)
            if reason is None:
                raise
            return reason

    def _checked(self, facts: ContentFacts, wanted: Expected) -> ContentFacts | str:
        if wanted.md5 and facts.md5 != wanted.md5:
            return f"the content that is stored here does not have the MD5 {wanted.md5}"
        return facts

    def _path(self, file_id: UUID) -> Path:
        return self._directory / file_id.hex


def _unreadable(path: Path) -> str | None:
    """Why the disk does not give a file, None when it does: then the trouble is in the store."""
    try:
        with path.open("rb") as stream:
            while stream.read(CHUNK_BYTES):
                pass
    except OSError as error:
        return f"its content cannot be read: {error.strerror or error}"
    return None
