"""Parts of a snapshot: files of lines, compressed, with the digests that prove them."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meteorpi_db.backup.rows import LineDigest
from meteorpi_db.filestore import Disk
from meteorpi_db.filestore.failures import FULL
from meteorpi_model.errors import BackupDamagedError, MeteorError, StoreFullError, UnavailableError

COMPRESSION_LEVEL = 3
"""Level 6 makes tables 6 % smaller and takes more than twice the time."""

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_BLOCK_BYTES = 1 << 18
_GZIP = 31  # window bits that have zlib write the header of gzip, without time and name


@dataclass(frozen=True, kw_only=True)
class PartFacts:
    """What is known of a part once it is written.

    Attributes:
        rows: number of lines.
        digest: SHA-256 of the lines.
        size: bytes of the file, compressed.
        sha256: digest of the file.
    """

    rows: int
    digest: str
    size: int
    sha256: str


def private_disk() -> Disk:
    """How a backup is written: durably, and readable by its owner alone, for it holds password hashes."""
    return Disk(file_mode=FILE_MODE, directory_mode=DIRECTORY_MODE)


@contextmanager
def backup_errors(doing: str) -> Iterator[None]:
    """Turn an ``OSError`` of the block into the project's error; wrap only what concerns the backup."""
    try:
        yield
    except OSError as error:
        raise _meaning_of(error, doing) from error


def _meaning_of(error: OSError, doing: str) -> MeteorError:
    if error.errno in FULL:
        return StoreFullError(f"no room is left where the backup is, to {doing}")
    where = f": {error.filename}" if error.filename else ""
    return UnavailableError(f"the backup cannot be used to {doing}: {error.strerror or error}{where}")


def write_file(disk: Disk, path: Path, blocks: Iterable[bytes]) -> None:
    """Write a new file, durably but for its name.

    Raises:
        StoreFullError: no room.
        UnavailableError: it cannot be written.
    """
    with backup_errors("write"):
        descriptor = disk.create(path)
    try:
        for block in blocks:
            with backup_errors("write"):
                disk.write(descriptor, block)
        with backup_errors("flush"):
            disk.flush(descriptor)
    finally:
        os.close(descriptor)


def write_part(disk: Disk, path: Path, lines: Iterable[bytes]) -> PartFacts:
    """Write `lines` as a part; errors as of :func:`write_file`."""
    digest, sha256, sizes = LineDigest(), hashlib.sha256(), [0]

    def counted() -> Iterator[bytes]:
        for block in _compressed(lines, digest):
            sha256.update(block)
            sizes[0] += len(block)
            yield block

    write_file(disk, path, counted())
    return PartFacts(rows=digest.rows, digest=digest.hexadecimal, size=sizes[0], sha256=sha256.hexdigest())


def _compressed(lines: Iterable[bytes], digest: LineDigest) -> Iterator[bytes]:
    packer = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP)
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        digest.add(line)
        packed = packer.compress(line)
        waiting.append(packed)
        size += len(packed)
        if size >= _BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join([*waiting, packer.flush()])


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a part.

    Raises:
        BackupDamagedError: it is missing, or no compressed file, or ends early.
    """
    try:
        with gzip.open(path, "rb") as stream:
            yield from stream
    except FileNotFoundError as error:
        raise BackupDamagedError(f"the backup has no file {path.name}", path=str(path)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BackupDamagedError(f"{path.name} of the backup is damaged", path=str(path)) from error
    except OSError as error:
        raise _meaning_of(error, f"read {path.name}") from error


def sha256_of_file(path: Path) -> str:
    """Digest of a file of the backup.

    Raises:
        BackupDamagedError: there is none.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise BackupDamagedError(f"the backup has no file {path.name}", path=str(path)) from error
    except OSError as error:
        raise _meaning_of(error, f"read {path.name}") from error
