"""A release: a commit with its environment and a copy of the settings, in a directory that never changes.

The link of a place leads to such a directory, so that one rename switches all three at once.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.deploying.commands import run
from meteorpi_server.deploying.environments import environment_of, is_complete, python_of
from meteorpi_server.deploying.instructions import RELEASES, Instructions
from meteorpi_server.deploying.trees import tree_of

_DRAFT: Final = ".draft-"
_LAUNCHER: Final = "meteorpi"
_SETTINGS: Final = "meteorpi.toml"
_VARIABLES: Final = "release.env"
_TREE, _ENVIRONMENT, _COMMIT = "tree", "environment", "COMMIT"


@dataclass(frozen=True)
class Program:
    """A commit as it can be run.

    Attributes:
        name: what ``/ready`` names; commit, requirements and settings are all in it.
        tree: its files.
        environment: what they need.
        settings: the configuration file.
    """

    name: str
    tree: Path
    environment: Path
    settings: Path

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of its processes has to say."""
        return {
            "PYTHONPATH": str(self.tree),
            "METEORPI_CONFIG": str(self.settings),
            "METEORPI_RELEASE": self.name,
        }

    @property
    def words(self) -> list[str]:
        """The command line; -P, so that no file in the present directory is taken for a module."""
        return [str(python_of(self.environment)), "-P", "-m", "meteorpi_server.cli"]

    def run(self, environ: Mapping[str, str], *arguments: str) -> str:
        """Run one of its commands and give what it printed.

        Raises:
            MeteorError: it failed.
        """
        path = os.pathsep.join(filter(None, (str(self.tree), environ.get("PYTHONPATH"))))
        return run([*self.words, *arguments], {**environ, **self.variables, "PYTHONPATH": path})


@dataclass(frozen=True)
class Release:
    """A release in the directory `folder`, which need not exist yet.

    Attributes:
        folder: the directory.
        commit: SHA-1 of its commit.
        program: to be run.
    """

    folder: Path
    commit: str
    program: Program

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.folder.name

    @property
    def is_complete(self) -> bool:
        """Whether all that it needs is there."""
        return self.folder.exists() and self.program.tree.exists() and is_complete(self.program.environment)


def candidate(instructions: Instructions, sha1: str) -> Release:
    """The release of a commit, whose files are there, with the settings as they are now.

    Raises:
        ConfigurationError: settings or requirements cannot be read.
    """
    tree = tree_of(instructions, sha1)
    environment = environment_of(instructions, tree)
    content = "\n".join((sha1, environment.name, _settings(instructions)))
    digest = hashlib.sha256(content.encode()).hexdigest()
    folder = instructions.deployed / RELEASES / f"{sha1[:12]}-{digest[:12]}"
    return Release(folder, sha1, Program(folder.name, tree, environment, folder / _SETTINGS))


def open_release(instructions: Instructions, name: str) -> Release:
    """The release of that name, as it was written.

    Raises:
        ConfigurationError: it is gone.
    """
    folder = instructions.deployed / RELEASES / name
    try:
        commit = (folder / _COMMIT).read_text(encoding="ascii").strip()
        tree, environment = (folder / _TREE).readlink(), (folder / _ENVIRONMENT).readlink()
    except OSError as error:
        raise ConfigurationError(f"the release {name} is gone: deploy its commit again") from error
    return Release(folder, commit, Program(name, tree, environment, folder / _SETTINGS))


def find_release(instructions: Instructions, name: str) -> Release | None:
    """The release of that name; None when it, or what it needs, is gone."""
    if not (instructions.deployed / RELEASES / name / _COMMIT).exists():
        return None
    release = open_release(instructions, name)
    return release if release.is_complete else None


def current_release(instructions: Instructions, place: str) -> Release | None:
    """What the link of `place` leads to; None when there is no link, or nothing any more at its end."""
    link = instructions.deployed / place
    return find_release(instructions, link.readlink().name) if link.is_symlink() else None


def write(instructions: Instructions, release: Release) -> None:
    """Write the directory of `release`, unless it is there; it appears complete or not at all."""
    if release.folder.exists():
        return
    parent = release.folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_DRAFT}*"):  # of one that was killed: there is only one at a time
        shutil.rmtree(left)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=parent))
    program = release.program
    (draft / _TREE).symlink_to(program.tree)
    (draft / _ENVIRONMENT).symlink_to(program.environment)
    head = f"# Commit {release.commit}; a copy of {instructions.settings}, made when it was deployed.\n"
    _write(draft / program.settings.name, head + _settings(instructions))
    _write(draft / _VARIABLES, "".join(f"{name}={value}\n" for name, value in program.variables.items()))
    _write(draft / _LAUNCHER, _launcher(program), 0o700)
    _write(draft / _COMMIT, release.commit + "\n")
    draft.rename(release.folder)


def switch(instructions: Instructions, place: str, release: Release) -> None:
    """Let the link of `place` lead to `release`: one rename, so that there is no instant without it."""
    draft = instructions.deployed / f".{place}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(Path(RELEASES) / release.name)
    draft.rename(instructions.deployed / place)
    _flush(instructions.deployed)


def _settings(instructions: Instructions) -> str:
    try:
        return instructions.settings.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the settings {instructions.settings}: {error}") from error


def _launcher(program: Program) -> str:
    """The command `meteorpi` of a release: names no link, so that a process stays with what it began with."""
    path = shlex.quote(str(program.tree)) + '"${PYTHONPATH:+:$PYTHONPATH}"'
    rest = {name: value for name, value in program.variables.items() if name != "PYTHONPATH"}
    said = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in rest.items())
    return f'#!/bin/sh\n{said}PYTHONPATH={path} exec {shlex.join(program.words)} "$@"\n'


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a new file, readable by its owner alone from the first: there may be secrets in it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
