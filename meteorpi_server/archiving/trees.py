"""Directories as archives see them: regular files in order, empty directories, and what is left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from meteorpi_model.errors import NotFoundError, UnavailableError


@dataclass(frozen=True)
class TreeFile:
    """A regular file of a tree.

    Attributes:
        path: below the directory that was walked, parts joined by ``/``.
        found: what was known of it then.
    """

    path: str
    found: os.stat_result


@dataclass(frozen=True)
class Tree:
    """A directory.

    Attributes:
        mtime: of the directory itself, whole seconds since 1970.
        files: in the order of their paths.
        empty_directories: paths of directories in which nothing is, and their times.
        left_out: paths of what does not go into archives, and why.
    """

    mtime: int
    files: list[TreeFile] = field(default_factory=list)
    empty_directories: list[tuple[str, int]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def newest(self) -> float:
        """When something in it changed last, in seconds since 1970."""
        of_files = (each.found.st_mtime for each in self.files)
        of_directories = (mtime for _, mtime in self.empty_directories)
        return max((self.mtime, *of_files, *of_directories))


def walk_tree(root: str | os.PathLike[str], name: str, *, include_hidden: bool = False) -> Tree:
    """What is below the directory `name` of `root`; no symbolic link is followed.

    Args:
        root: a directory; may itself be reached through links.
        name: of a directory in it, not a path.
        include_hidden: take what has a name that begins with a dot, too.

    Raises:
        NotFoundError: there is no such directory, or it is something else.
        UnavailableError: a part of it cannot be read; an archive without it would look whole.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise NotFoundError("no such directory")
    try:
        found = os.stat(Path(root, name), follow_symlinks=False)  # noqa: PTH116 - of the path itself
    except OSError as error:
        raise NotFoundError("no such directory") from error
    if not stat.S_ISDIR(found.st_mode):
        raise NotFoundError("no such directory")
    tree = Tree(_seconds(found))
    holders = set(_walked(Path(root, name), include_hidden, tree))
    tree.files.sort(key=lambda each: each.path)
    tree.left_out.sort()
    tree.empty_directories[:] = sorted(
        (path, mtime) for path, mtime in tree.empty_directories if path not in holders
    )
    return tree


def _walked(top: Path, include_hidden: bool, tree: Tree) -> Iterator[str]:
    """Fill `tree`; gives the paths of directories in which something is."""
    for directory, inner, names, descriptor in os.fwalk(top, onerror=_refuse, follow_symlinks=False):
        below = os.path.relpath(directory, top)
        prefix = "" if below == "." else f"{below}/"
        if not include_hidden:
            inner[:] = [each for each in inner if not each.startswith(".")]
            names = [each for each in names if not each.startswith(".")]
        for each in [*inner, *names]:
            try:
                found = os.stat(each, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since the directory was read; the next walk would not see it either
            if _add(tree, f"{prefix}{each}", found):
                yield prefix.rstrip("/")


def _add(tree: Tree, path: str, found: os.stat_result) -> bool:
    """Put what is at `path` where it belongs; False when it is left out."""
    if stat.S_ISREG(found.st_mode):
        tree.files.append(TreeFile(path, found))
    elif stat.S_ISDIR(found.st_mode):
        tree.empty_directories.append((path, _seconds(found)))
    else:
        kind = "symbolic link" if stat.S_ISLNK(found.st_mode) else "no regular file"
        tree.left_out.append((path, kind))
        return False
    return True


def _seconds(found: os.stat_result) -> int:
    return int(found.st_mtime_ns // 1_000_000_000)


def _refuse(error: OSError) -> NoReturn:
    raise UnavailableError(f"a part of the directory cannot be read: {error.strerror}") from error
