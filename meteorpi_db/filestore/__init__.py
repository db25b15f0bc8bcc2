"""Where a node keeps the bytes of its files: one interface, stores chosen by URL."""

from meteorpi_db.filestore.base import (
    PARTS_SECONDS,
    TEMPORARY_SECONDS,
    ContentReader,
    ContentStat,
    FileStore,
    PartialContent,
    StoredContent,
    SweepReport,
)
from meteorpi_db.filestore.disk import Disk
from meteorpi_db.filestore.fallback import FallbackFileStore
from meteorpi_db.filestore.hashing import (
    CHUNK_BYTES,
    ContentFacts,
    DigestPass,
    Digests,
    HashedContent,
    facts_of,
)
from meteorpi_db.filestore.local import LocalFileStore
from meteorpi_db.filestore.locations import open_file_store, shown_location
from meteorpi_db.filestore.memory import MemoryFileStore

__all__ = [
    "CHUNK_BYTES",
    "PARTS_SECONDS",
    "TEMPORARY_SECONDS",
    "ContentFacts",
    "ContentReader",
    "ContentStat",
    "DigestPass",
    "Digests",
    "Disk",
    "FallbackFileStore",
    "FileStore",
    "HashedContent",
    "LocalFileStore",
    "MemoryFileStore",
    "PartialContent",
    "StoredContent",
    "SweepReport",
    "facts_of",
    "open_file_store",
    "shown_location",
]
