"""Virtual environments, each shared by all commits that lock the same requirements."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.deploying.commands import run
from meteorpi_server.deploying.instructions import Instructions

_COMPLETE: Final = ".complete"
"""Name of the file that an environment gets last; one without was cut off, and is made again."""

_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_LOCKED: Final = re.compile(r"==(?!\s*[^\s;,]*\*)|\s@\s")
_ELSEWHERE: Final = re.compile(r"-[rce]|--(requirement|constraint|editable)\b")
"""Options that ask for what another file says, which may change without these lines."""


def environment_of(instructions: Instructions, tree: Path) -> Path:
    """Where the environment of the files in `tree` is, or will be.

    Raises:
        ConfigurationError: there are no requirements, or they are not locked.
    """
    text = _requirements(instructions, tree)
    _require_locked(text)
    interpreter = f"{instructions.python or sys.executable}\n{sys.version_info[:2]}\n"
    return instructions.environments / hashlib.sha256((interpreter + text).encode()).hexdigest()[:40]


def is_complete(environment: Path) -> bool:
    """Whether the environment was made to its end."""
    return (environment / _COMPLETE).exists()


def make_environment(instructions: Instructions, tree: Path) -> Path:
    """Make the environment of `tree`, unless it is there; one that was cut off is made anew.

    Raises:
        ConfigurationError: there are no requirements, they are not locked, or pip is not installed.
        MeteorError: a requirement could not be installed.
    """
    environment = environment_of(instructions, tree)
    if is_complete(environment):
        return environment
    if environment.exists():
        shutil.rmtree(environment)
    environment.parent.mkdir(parents=True, exist_ok=True)
    run([instructions.python or sys.executable, "-m", "venv", "--without-pip", str(environment)])
    if _lines(_requirements(instructions, tree)):
        run(
            [
                *(sys.executable, "-m", "pip", "--python", str(python_of(environment))),
                *("install", "--quiet", "--no-input", "--disable-pip-version-check"),
                *("--requirement", str(tree / instructions.requirements)),
            ]
        )
    (environment / _COMPLETE).touch()
    return environment


def python_of(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / "bin" / "python"


def _requirements(instructions: Instructions, tree: Path) -> str:
    path = tree / instructions.requirements
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the locked requirements {path}: {error.strerror};"
            " `pip freeze --exclude meteorpi` in a tried environment writes them"
        ) from error


def _require_locked(text: str) -> None:
    """An environment is known by its requirements, so they have to say exactly what is in it."""
    for line in _lines(text):
        if _ELSEWHERE.match(line):
            raise ConfigurationError(f"{line!r} leads elsewhere: locked requirements are in one file")
        if not line.startswith("-") and not _LOCKED.search(line.partition(";")[0]):
            raise ConfigurationError(f"the requirement {line!r} names no single version: lock it with ==")


def _lines(text: str) -> list[str]:
    """What is asked for, without comments; a line that ends in a backslash goes on in the next."""
    joined = text.replace("\\\n", " ")
    return [line for raw in joined.splitlines() if (line := _COMMENT.sub("", raw).strip())]
