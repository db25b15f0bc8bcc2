"""The configuration file, the secrets, and who can read or change them."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from meteorpi_db import MeteorDatabase
from meteorpi_db.dialects.choice import parse_db_path
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.settings import Loaded

_OTHERS: Final = 0o007
_OTHERS_WRITE: Final = 0o022


def check_configuration(loaded: Loaded) -> Iterator[Finding]:
    """Where the settings come from, and whether anybody else could change or read what matters."""
    where = "no configuration file" if loaded.path is None else str(loaded.path)
    yield Finding("ok", "settings", f"{where}; database {shown_path(loaded.settings.db_path)}")
    if loaded.path is not None:
        yield from _check_file(loaded, loaded.path)
    for key, path in loaded.secret_files.items():
        yield secret_finding(key, Path(path))
    if loaded.settings.trusted_proxy:
        yield _proxy_finding(loaded.settings.trusted_proxy)


def check_secret_key(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether the key that protects passwords of peers is there and is the node's own."""
    path = database.secret_box.key_file
    if path is not None and path.exists():
        yield key_finding(path)
    elif database.get_export_configurations():
        yield Finding(
            "error", "secret key", f"{path} is missing", "bring it back, or enter the passwords again"
        )
    else:
        yield Finding("ok", "secret key", "not made yet; nothing to protect")


def key_finding(path: Path) -> Finding:
    """Whether only one account can read `path`."""
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Finding("error", "secret key", f"{path} can be read by others", f"chmod 600 {path}")
    if found.st_uid != os.geteuid():
        return Finding(
            "warning", "secret key", f"{path} belongs to another account", "run the node as its owner"
        )
    return Finding("ok", "secret key", f"{path} can be read by its owner only")


def secret_finding(subject: str, path: Path) -> Finding:
    """Whether strangers can read a file with a secret; a group may, for a web server that is in it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        return Finding("error", subject, f"{path} can be read by everybody", f"chmod 640 {path}")
    return Finding("ok", subject, f"{path} cannot be read by everybody")


def shown_path(db_path: str) -> str:
    """A database without a password that its address may hold."""
    scheme, separator, rest = db_path.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else db_path


def _check_file(loaded: Loaded, path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS_WRITE:
        yield Finding("error", "configuration", f"{path} can be changed by others", f"chmod go-w {path}")
    url = parse_db_path(loaded.settings.db_path)
    if (loaded.password_in_file or url.password) and mode & _OTHERS:
        yield Finding(
            "error",
            "configuration",
            f"{path} holds a password and can be read by everybody",
            f"chmod 640 {path}, or put the password into a file of its own and name that in db_password_file",
        )


def _proxy_finding(address: str) -> Finding:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return Finding(
            "warning",
            "trusted proxy",
            f"{address!r} is no IP address",
            "write the address that connections of the web server come from, such as 127.0.0.1",
        )
    return Finding("ok", "trusted proxy", f"callers that {address} names are believed")
