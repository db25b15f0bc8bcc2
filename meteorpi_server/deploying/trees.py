"""The files of a commit, exported out of a Git repository into a directory of their own."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from meteorpi_model.errors import MeteorError, NotFoundError
from meteorpi_server.deploying.commands import run
from meteorpi_server.deploying.instructions import Instructions

_DRAFT: Final = ".draft-"


def commit_id(instructions: Instructions, commit: str) -> str:
    """The SHA-1 that a name, such as ``HEAD`` or a tag, stands for.

    Raises:
        NotFoundError: the repository has no such commit.
        ConfigurationError: Git is not installed.
    """
    try:
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
        return run([*_git(instructions), *words]).strip()
    except MeteorError as error:
        if error.code != MeteorError.code:
            raise
        raise NotFoundError(f"{instructions.repository} has no commit {commit}") from error


def tree_of(instructions: Instructions, sha1: str) -> Path:
    """Where the files of the commit are, or will be."""
    return instructions.trees / sha1


def export(instructions: Instructions, sha1: str) -> Path:
    """Export the commit, unless that was done before; the directory appears complete or not at all.

    Raises:
        MeteorError: Git failed.
    """
    tree = tree_of(instructions, sha1)
    if tree.exists():
        return tree
    instructions.trees.mkdir(parents=True, exist_ok=True)
    _sweep(instructions.trees)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=instructions.trees))
    _unpack(instructions, sha1, draft)
    _name(draft, _version(instructions, sha1))
    draft.chmod(0o755)  # nothing in it is secret, and a service may run under another account
    draft.rename(tree)
    return tree


def _git(instructions: Instructions) -> list[str]:
    return ["git", "-C", str(instructions.repository)]


def _sweep(trees: Path) -> None:
    """Remove what exports that were killed have left; only one deployment is under way at a time."""
    for draft in trees.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft)


def _unpack(instructions: Instructions, sha1: str, target: Path) -> None:
    archive = subprocess.run(
        [*_git(instructions), "archive", "--format=tar", sha1], capture_output=True, check=False
    )
    if archive.returncode != 0:
        raise MeteorError(f"git archive failed: {archive.stderr.decode('utf-8', 'replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        # Python before 3.11.4 has no such filter, and trusts what Git packs.
        files.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        files.extractall(target)


def _version(instructions: Instructions, sha1: str) -> str:
    """A version (PEP 440) that says the commit: of the last tag such as ``v1.2``, or of none."""
    words = ("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", sha1)
    try:
        tag = run([*_git(instructions), *words]).strip().removeprefix("v")
    except MeteorError:
        tag = "0"  # no tag leads there
    return f"{tag}+g{sha1[:12]}"


def _name(tree: Path, version: str) -> None:
    """Let the files count as an installed distribution, which says its version, wherever they lie."""
    metadata = tree / f"meteorpi-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    with metadata.open("w", encoding="utf-8") as stream:
        stream.write(f"Metadata-Version: 2.1\nName: meteorpi\nVersion: {version}\n")
        stream.flush()
        os.fsync(stream.fileno())
