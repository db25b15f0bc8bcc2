"""The objects of the Qabel block server, in a directory or in a bucket, only read.

They are named ``PREFIX/PATH`` below the directory, or in the bucket.

Source: A.8 and A.13 of the storage contract.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meteorpi_db.filestore import LocalFileStore, open_file_store
from meteorpi_db.filestore.hashing import CHUNK_BYTES
from meteorpi_model.errors import InvalidDocumentError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from meteorpi_db.filestore.s3.bucket import Bucket

_PREFIX: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The name that the block server gives to a prefix, and to its directory."""

_TEMPORARY: Final = re.compile(r"tmp[a-z0-9_]{8}")
"""What the block server leaves in a directory when it is killed while it copies."""


@dataclass(frozen=True, kw_only=True)
class SourceObject:
    """An object where it is.

    Attributes:
        key: its name, prefix and path.
        size: bytes.
        modified: when it was written, naive UTC.
    """

    key: str
    size: int
    modified: datetime

    @property
    def name(self) -> tuple[str, str]:
        """Prefix and path; an empty path when there is none."""
        prefix, _, path = self.key.partition("/")
        return prefix, path


class SourceObjects(ABC):
    """Where objects are."""

    @abstractmethod
    def listing(self) -> Iterator[SourceObject]:
        """All of them, lazily.

        Raises:
            UnavailableError: they cannot be listed.
        """

    @abstractmethod
    def reading(self, key: str) -> Iterator[bytes]:
        """The bytes of one.

        Raises:
            NotFoundError: it was removed; raised with the first chunk.
            UnavailableError: it cannot be read.
        """


def open_objects(location: str) -> SourceObjects:
    """The objects at a path, or in a bucket ``s3://BUCKET?endpoint=...`` with the options of file stores.

    Raises:
        InvalidDocumentError: the location cannot be read, or there is no such directory.
        ConfigurationError: for a bucket the extra is not installed.
    """
    store = open_file_store(location)
    if isinstance(store, LocalFileStore):
        return _Directory(store.root)
    if location.lower().startswith("s3:"):
        return _bucket_of(store)
    raise InvalidDocumentError(f"objects are in a directory or in a bucket, not in {store.location}")


class _Directory(SourceObjects):
    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InvalidDocumentError(f"there is no directory {root}", path=str(root))
        self._root = root

    def listing(self) -> Iterator[SourceObject]:
        for directory, folders, names in os.walk(self._root, onerror=_refuse):
            folders.sort()
            for name in sorted(names):
                path = Path(directory, name)
                if path.is_symlink() or not path.is_file():
                    continue
                with _readable(path):
                    found = path.stat()
                modified = datetime.fromtimestamp(found.st_mtime, UTC).replace(tzinfo=None)
                key = path.relative_to(self._root).as_posix()
                yield SourceObject(key=key, size=found.st_size, modified=modified)

    def reading(self, key: str) -> Iterator[bytes]:
        path = self._root / key
        with _readable(path), path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


def holds_ancestor_objects(root: Path) -> bool:
    """Whether in a directory there is one of a prefix of the block server.

    Raises:
        UnavailableError: it cannot be listed.
    """
    try:
        return any(_PREFIX.fullmatch(each.name) and each.is_dir() for each in root.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UnavailableError(f"{root} cannot be read: {error.strerror}") from error


def is_left_over(key: str) -> bool:
    """Whether the name is one that the block server gives to files while it copies."""
    return _TEMPORARY.fullmatch(key.rpartition("/")[2]) is not None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} was removed") from error
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error


def _refuse(error: OSError) -> None:
    raise UnavailableError(f"{error.filename} cannot be read: {error.strerror}") from error


def _bucket_of(store: object) -> SourceObjects:
    from meteorpi_db.filestore.s3 import S3FileStore
    from meteorpi_db.filestore.s3.bucket import Bucket

    if not isinstance(store, S3FileStore):
        raise InvalidDocumentError("objects are taken from one place, without a fallback")
    return _InBucket(Bucket(store.options), store.options.prefix)


class _InBucket(SourceObjects):
    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._start = f"{prefix}/" if prefix else ""

    def listing(self) -> Iterator[SourceObject]:
        for found in self._bucket.listing(self._start):
            key = found.key.removeprefix(self._start)
            yield SourceObject(key=key, size=found.size, modified=found.modified)

    def reading(self, key: str) -> Iterator[bytes]:
        from meteorpi_db.filestore.s3.reading import open_object

        with open_object(self._bucket, self._start + key, 0, None) as chunks:
            yield from chunks
