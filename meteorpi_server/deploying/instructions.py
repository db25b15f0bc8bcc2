"""What one place where releases are deployed looks like, and what its ``deploy.toml`` asks for.

Below the root of the place:

.. code-block:: text

    deploy.toml                   the instructions
    trees/<sha1>/                 the files of a commit
    environments/<digest>/        a virtual environment, for all commits with the same locked requirements
    deployed/releases/<name>/     a commit with its environment and settings, ready to run
    deployed/<place>              link to one of them; `current` unless said otherwise
    deployed/deploy-history       what was done, one JSON object on a line
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.declarations import suggestion

FILE_NAME: Final = "deploy.toml"
CURRENT: Final = "current"
RELEASES: Final = "releases"
HISTORY: Final = "deploy-history"
RESERVED: Final = frozenset({RELEASES, HISTORY})
"""Names beside the links."""

Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """How releases are built and brought into service; each field but `root` is a key of ``deploy.toml``.

    Attributes:
        root: the directory of the place.
        repository: a Git repository that holds the commits; nothing is fetched.
        settings: configuration file of the node (TOML), which each release gets a copy of.
        ready: URL of ``/ready`` of what is served.
        reload: command, as words, that has the linked release served.
        stop: command that ends the service; only asked for by ``--stop``.
        start: command that begins it again.
        requirements: file of locked requirements, below the tree of a commit unless absolute.
        python: interpreter that environments are made of; empty for the one that runs this.
        ready_seconds: how long a release has to become ready.
    """

    root: Path
    repository: Path
    settings: Path
    ready: str
    reload: Words
    stop: Words = ()
    start: Words = ()
    requirements: str = "requirements.txt"
    python: str = ""
    ready_seconds: float = 60.0

    @property
    def trees(self) -> Path:
        """The files of commits."""
        return self.root / "trees"

    @property
    def environments(self) -> Path:
        """The virtual environments."""
        return self.root / "environments"

    @property
    def deployed(self) -> Path:
        """Links, history, and below `releases` what is linked to."""
        return self.root / "deployed"


def read_instructions(root: Path) -> Instructions:
    """The instructions of the place at `root`.

    Raises:
        ConfigurationError: there are none, or they cannot be read.
    """
    path = root.absolute() / FILE_NAME
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; it says how to deploy") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    known = {field.name: field for field in fields(Instructions) if field.name != "root"}
    for name in table:
        if name not in known:
            raise ConfigurationError(f"{path}: {name} is no instruction.{suggestion(name, [*known])}")
    required = ("repository", "settings", "ready", "reload")
    if missing := [name for name in required if not table.get(name)]:
        raise ConfigurationError(f"{path} lacks {', '.join(missing)}")
    values = {name: _read(f"{path}: {name}", name, value, root.absolute()) for name, value in table.items()}
    return Instructions(root=root.absolute(), **values)


def _read(place: str, name: str, value: object, root: Path) -> Any:
    if name in ("reload", "stop", "start"):
        return _words(place, value)
    if name == "ready_seconds":
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ConfigurationError(f"{place} must be a number of seconds")
        return float(value)
    if not isinstance(value, str):
        raise ConfigurationError(f"{place} must be a text")
    if name == "settings" and not value.endswith(".toml"):
        raise ConfigurationError(f"{place} must be a configuration file of a node, which ends in .toml")
    return root / value if name in ("repository", "settings") else value


def _words(place: str, value: object) -> Words:
    """A command, from a list of words or from one line that is split as a shell does; no shell runs it."""
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from error
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise ConfigurationError(f"{place} must be a command")
    return tuple(words)
