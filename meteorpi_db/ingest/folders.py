"""Walking a tree of directories, lazily, without entering what belongs to the node itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeAlias

from meteorpi_db.ingest.base import Folder

Note: TypeAlias = Callable[[Path, OSError], None]
"""Told of a directory that cannot be read."""


def walk(path: Path, avoid: Collection[Path], note: Note) -> Iterator[Path]:
    """`path` and every directory below it, parents first, by name.

    Hidden directories and links to directories are not entered: the former hold no recordings, the latter
    may lead in circles.

    Args:
        path: a directory.
        avoid: directories not to be entered, such as the node's file store.
        note: told of directories that cannot be read; the walk goes on.
    """
    avoided = {directory.resolve() for directory in avoid}
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        if directory.resolve() in avoided:
            continue
        yield directory
        try:
            with os.scandir(directory) as entries:
                below = [entry.name for entry in entries if _is_entered(entry)]
        except OSError as error:
            note(directory, error)
            continue
        waiting.extend(directory / name for name in sorted(below, reverse=True))


def folder_of_file(path: Path) -> Folder:
    """The directory of a file with nothing wanted but that file; readers still see what lies beside it."""
    return Folder(path.parent, is_wanted=lambda name: name == path.name)


def _is_entered(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
