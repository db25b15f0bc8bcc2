"""The entries of a directory of the storage, and the checksums of its files."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from meteorpi_model.errors import NotFoundError
from meteorpi_server.archive_api.items import DIRECTORY_NAME
from meteorpi_server.archiving import Entry, Form
from meteorpi_server.archiving.checksums import BUDGET_BYTES, Checksums
from meteorpi_server.archiving.failures import SourceFailedError
from meteorpi_server.archiving.sources import file_identity
from meteorpi_server.archiving.trees import Tree, walk_tree
from meteorpi_server.settings import Settings

_NOTED_AT_ONCE = 200


def walk(settings: Settings, name: str) -> Tree:
    """What is below the directory `name` of the storage.

    Raises:
        NotFoundError: there is no such directory, or its name is too short to be a secret.
        UnavailableError: a part of it cannot be read.
    """
    is_short = len(name) < settings.archive_min_hash_length and not settings.archive_debug
    if not settings.archive_storage_path or is_short:
        raise NotFoundError("no such directory")
    return walk_tree(settings.archive_storage_path, name, include_hidden=settings.archive_include_hidden)


def tree_entries(settings: Settings, name: str, tree: Tree) -> list[Entry]:
    """Files and empty directories of the directory `name`, in order; their names are not cleaned yet."""
    prefix = f"{name}/" if settings.archive_dir_prefix else ""
    found = [
        Entry(
            name=f"{prefix}{each.path}",
            kind="path",
            reference=f"{name}/{each.path}",
            size=each.found.st_size,
            crc=None,
            mtime=each.found.st_mtime_ns // 1_000_000_000,
            form=Form.BLOCKS,
            details=file_identity(each.found),
        )
        for each in tree.files
    ]
    found += [
        Entry(name=f"{prefix}{path}/", kind="directory", size=0, crc=0, mtime=mtime)
        for path, mtime in tree.empty_directories
    ]
    found.sort(key=lambda entry: entry.name)
    return found


def with_checksums(checksums: Checksums, entries: Sequence[Entry]) -> list[Entry]:
    """The same; files whose checksum is known, or found by reading a little, are stored as they are.

    Raises:
        SourceFailedError: a file is gone, or not the one that was planned.
    """
    left = BUDGET_BYTES
    files = [entry for entry in entries if not entry.is_directory]
    known = dict(zip((entry.reference for entry in files), checksums.known(files), strict=True))
    read: list[tuple[Entry, int]] = []
    try:
        for entry in files:
            if known[entry.reference] is None and (entry.size or 0) <= left:
                left -= entry.size or 0
                known[entry.reference] = crc = checksums.read(entry)
                read.append((entry, crc))
    finally:
        checksums.note(read)
    return [_stored(entry, known.get(entry.reference)) for entry in entries]


def _stored(entry: Entry, crc: int | None) -> Entry:
    return entry if crc is None else replace(entry, crc=crc, form=Form.STORED)


def directories(settings: Settings) -> list[str]:
    """The directories of the storage that have an address, in order."""
    if not settings.archive_storage_path:
        return []
    named = (each for each in Path(settings.archive_storage_path).iterdir() if not each.is_symlink())
    return sorted(each.name for each in named if DIRECTORY_NAME.fullmatch(each.name) and each.is_dir())


def read_unknown(
    settings: Settings,
    checksums: Checksums,
    limit: int | None = None,
    unchanged_since: float | None = None,
) -> Generator[tuple[Entry, SourceFailedError | None]]:
    """Read the files of the storage that nobody has read yet, and keep their checksums.

    Args:
        settings: where the storage is.
        checksums: that are known, and will be.
        limit: most files; None for all.
        unchanged_since: seconds since 1970; directories with something newer are passed over. None for none.

    Returns:
        Each file when it has been read, and what was wrong with it.

    Raises:
        UnavailableError: a part of a directory cannot be read.
    """
    read: list[tuple[Entry, int]] = []
    try:
        for count, entry in enumerate(_unknown(settings, checksums, unchanged_since)):
            if count == limit:
                return
            try:
                read.append((entry, checksums.read(entry)))
            except SourceFailedError as error:
                yield entry, error
                continue
            if len(read) >= _NOTED_AT_ONCE:
                checksums.note(read)
                read = []
            yield entry, None
    finally:
        checksums.note(read)


def _unknown(settings: Settings, checksums: Checksums, unchanged_since: float | None) -> Iterator[Entry]:
    for name in directories(settings):
        try:
            tree = walk(settings, name)
        except NotFoundError:
            continue  # it went away meanwhile, or nobody can ask for it
        if unchanged_since is not None and tree.newest > unchanged_since:
            continue
        files = [entry for entry in tree_entries(settings, name, tree) if not entry.is_directory]
        for entry, crc in zip(files, checksums.known(files), strict=True):
            if crc is None:
                yield entry
