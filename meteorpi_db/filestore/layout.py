"""Where a local store keeps which content.

``flat`` puts ``<root>/<hex id>``, as every MeteorPi node always did; ``tree`` puts
``<root>/ab/cd/<hex id>`` with the first four digits of the id, for file systems that get slow with
hundreds of thousands of names in one directory. What is read is looked for in both, so a store may be
moved from one to the other while it runs.

Names of the store's own files begin with a dot and say what they are: :data:`TEMPORARY_PREFIX`,
:data:`PARTS_PREFIX` and, where hard links do not exist, :data:`~meteorpi_db.filestore.disk.LOCK_PREFIX`.
"""

from __future__ import annotations

import heapq
import os
import re
import secrets
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args
from uuid import UUID

from meteorpi_db.filestore.disk import LOCK_PREFIX
from meteorpi_model.errors import InvalidDocumentError

LayoutName = Literal["flat", "tree"]
"""The two ways of arranging contents."""

TEMPORARY_PREFIX = ".incoming-"
"""Files being written begin so; id and random digits follow."""

PARTS_PREFIX = ".parts-"
"""Resumable writes begin so; the id follows."""

_CONTENT_NAME = re.compile(r"[0-9a-f]{32}")
_BRANCH_NAME = re.compile(r"[0-9a-f]{2}")
_OWN_PREFIXES = (TEMPORARY_PREFIX, PARTS_PREFIX, LOCK_PREFIX)
_WINDOW = 1 << 16


class Layout:
    """Paths below `root`; looks at the disk only to list it.

    Args:
        root: directory of the store.
        name: how new contents are arranged.
    """

    def __init__(self, root: Path, name: LayoutName) -> None:
        if name not in get_args(LayoutName):
            raise InvalidDocumentError(f"layout is flat or tree, not {name!r}")
        self.root = root
        self.name = name
        self._prefix = f"{root}/"

    def path(self, file_id: UUID) -> Path:
        """Where a new content goes."""
        return self._flat(file_id) if self.name == "flat" else self._tree(file_id)

    def other_path(self, file_id: UUID) -> Path:
        """Where the other layout has it."""
        return self._tree(file_id) if self.name == "flat" else self._flat(file_id)

    def places(self, file_id: UUID) -> tuple[str, str, str]:
        """Where to look for a content, one after the other: as text, since looking costs less than a path.

        The preferred place twice: the content may move there from the other layout between two looks.
        """
        name = file_id.hex
        flat, tree = self._prefix + name, f"{self._prefix}{name[:2]}/{name[2:4]}/{name}"
        return (flat, tree, flat) if self.name == "flat" else (tree, flat, tree)

    def first_place(self, name: str) -> str:
        """Where to look first for a content whose id has these hexadecimal digits.

        Raises:
            ValueError: it is none.
        """
        if not _CONTENT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no id of a content")
        is_flat = self.name == "flat"
        return f"{self._prefix}{name}" if is_flat else f"{self._prefix}{name[:2]}/{name[2:4]}/{name}"

    def temporary_path(self, file_id: UUID) -> Path:
        """A name nobody else uses, in the directory of the content, so that the last step is a rename."""
        return self.path(file_id).with_name(f"{TEMPORARY_PREFIX}{file_id.hex}-{secrets.token_hex(8)}")

    def parts_path(self, file_id: UUID) -> Path:
        """Where a resumable write is kept: the same in both layouts, so that it survives a change."""
        return self.root / f"{PARTS_PREFIX}{file_id.hex}"

    def is_content(self, path: Path) -> bool:
        """True when `path` is where this store keeps a content."""
        resolved = path.parent.resolve() / path.name
        if not _CONTENT_NAME.fullmatch(path.name):
            return False
        root = self.root.resolve()
        return resolved in (root / path.name, root / path.name[:2] / path.name[2:4] / path.name)

    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        """Ids of all contents in order, in both layouts, beginning after `after`.

        Memory stays bounded: a directory is read once for every 65,536 names in it.
        """
        last = after.hex if after is not None else ""
        for name, _ in groupby(heapq.merge(self._names_in(self.root, last), self._tree_names(last))):
            yield UUID(hex=name)

    def own_files(self) -> Iterator[Path]:
        """Temporary files, resumable writes and locks, also those of a layout used earlier."""
        for directory in (self.root, *self._branches("")):
            for name in _listed(directory, lambda entry: entry.name.startswith(_OWN_PREFIXES)):
                yield directory / name

    def _flat(self, file_id: UUID) -> Path:
        return self.root / file_id.hex

    def _tree(self, file_id: UUID) -> Path:
        name = file_id.hex
        return self.root / f"{name[:2]}/{name[2:4]}/{name}"

    def _tree_names(self, last: str) -> Iterator[str]:
        for branch in self._branches(last):
            prefix = branch.parent.name + branch.name
            yield from (name for name in self._names_in(branch, last) if name.startswith(prefix))

    def _branches(self, last: str) -> Iterator[Path]:
        for first in sorted(_listed(self.root, _is_branch)):
            if first >= last[:2]:
                for second in sorted(_listed(self.root / first, _is_branch)):
                    if first + second >= last[:4]:
                        yield self.root / first / second

    def _names_in(self, directory: Path, last: str) -> Iterator[str]:
        while True:
            window = heapq.nsmallest(
                _WINDOW, (name for name in _listed(directory, _is_content_entry) if name > last)
            )
            yield from window
            if len(window) < _WINDOW:
                return
            last = window[-1]


def _is_content_entry(entry: os.DirEntry[str]) -> bool:
    return bool(_CONTENT_NAME.fullmatch(entry.name)) and entry.is_file()


def _is_branch(entry: os.DirEntry[str]) -> bool:
    return bool(_BRANCH_NAME.fullmatch(entry.name)) and entry.is_dir()


def _listed(directory: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if wanted(entry):
                yield entry.name
