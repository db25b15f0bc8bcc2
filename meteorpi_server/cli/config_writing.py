"""Writing the configuration file and its secrets: whole or not at all, and never over another unasked."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from meteorpi_model import now
from meteorpi_model.errors import ConfigurationError
from meteorpi_server.declarations import declarations
from meteorpi_server.settings import Loaded, Settings
from meteorpi_server.settings_file import as_toml

CONFIG_MODE: Final = 0o640
SECRET_MODE: Final = 0o600
FOLDER_MODE: Final = 0o750


def differences(present: Loaded, wanted: dict[str, Any]) -> list[str]:
    """The keys of `wanted` that the present file says something else about."""
    held: dict[str, Any] = {**vars(present.settings), **present.secret_files}
    return sorted(key for key, value in wanted.items() if held.get(key) != value)


def complete_text(present: Loaded, wanted: dict[str, Any]) -> str:
    """A configuration file with the present settings, changed to what is `wanted`."""
    values = {**vars(present.settings), **present.secret_files, **wanted}
    return as_toml(declarations(Settings), values)


def write_config(path: Path, text: str) -> Path | None:
    """Put the configuration file in place, keeping what was there before.

    Returns:
        Where the former file is kept, or None if there was none.

    Raises:
        ConfigurationError: this account may not write there.
    """
    kept = None
    try:
        if path.exists():
            kept = path.with_name(f"{path.name}.{now():%Y%m%dT%H%M%S%f}")
            os.link(path, kept)
        write_atomically(path, text, CONFIG_MODE)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}; run as root, or name another file with --config"
        ) from error
    return kept


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Write a file so that nobody ever sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, SECRET_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(descriptor, mode)  # not open()'s mode, which the umask narrows
        stream.flush()
        os.fsync(descriptor)
    draft.replace(path)


class Account:
    """An account of the machine that shall own a node.

    Args:
        name: its name.

    Raises:
        ConfigurationError: there is none of that name, or this process may not act for it.
    """

    def __init__(self, name: str) -> None:
        try:
            self._entry = pwd.getpwnam(name)
        except KeyError as error:
            raise ConfigurationError(
                f"--account: there is no account {name!r}; make one: "
                f"useradd --system --home-dir /var/lib/meteorpi {name}"
            ) from error
        if os.geteuid() not in (0, self._entry.pw_uid):
            raise ConfigurationError(f"--account: only root can act for {name!r}")

    def let_read(self, path: Path) -> None:
        """Give the group of the account to a file of root."""
        if os.geteuid() == 0:
            os.chown(path, -1, self._entry.pw_gid)

    def give(self, path: Path) -> None:
        """Make the account the owner."""
        if os.geteuid() == 0:
            os.chown(path, self._entry.pw_uid, self._entry.pw_gid)

    def make_folders(self, folders: Iterable[Path]) -> None:
        """Make directories that do not exist, for the account alone and its group."""
        for folder in folders:
            if not folder.exists():
                folder.mkdir(mode=FOLDER_MODE, parents=True)
                self.give(folder)

    def become(self) -> None:
        """Go on as the account, for good: what is made from now on belongs to it."""
        if os.geteuid() == 0:
            os.initgroups(self._entry.pw_name, self._entry.pw_gid)
            os.setgid(self._entry.pw_gid)
            os.setuid(self._entry.pw_uid)
