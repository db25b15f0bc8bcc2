"""One lock directory for all who open one embedded Firebird file.

The engine coordinates processes through files in its lock directory, and trusts that all of them use the
same one: two processes with different directories overwrite each other's pages without any error. So a file
beside the database says which directory is in use, and is locked by everyone who has the database open.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from meteorpi_model.errors import UnavailableError

GUARD_SUFFIX = ".lock-directory"
_MOST_BYTES = 4096


def recorded_lock_directory(database: Path) -> Path | None:
    """The lock directory that `database` was last opened with, if this process may use it too."""
    try:
        descriptor = os.open(_guard_of(database), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = _read(descriptor)
    finally:
        os.close(descriptor)
    return found if found is not None and os.access(found, os.W_OK | os.X_OK) else None


def claim(database: Path, lock_directory: Path) -> int:
    """Note that this process has `database` open, with the locks in `lock_directory`.

    Returns:
        A file descriptor; closing it gives the claim back.

    Raises:
        UnavailableError: others have the database open with another lock directory, or the account may not
            write beside the database.
    """
    try:
        descriptor = os.open(_guard_of(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    except OSError as error:
        raise UnavailableError(f"the directory of {database} must be writable: {error.strerror}") from error
    while True:
        if _try_exclusive(descriptor):
            _write(descriptor, lock_directory)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        found = _read(descriptor)
        if found == lock_directory:
            return descriptor
        if found is not None:
            os.close(descriptor)
            raise UnavailableError(
                f"{database} is open in a process with other locks: use the same account, or set"
                f" FIREBIRD_LOCK={found} before the start"
            )
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # nothing written yet: whoever created the file died at once


def _guard_of(database: Path) -> Path:
    return database.with_name(database.name + GUARD_SUFFIX)


def _try_exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Path | None:
    text = os.pread(descriptor, _MOST_BYTES, 0)
    return Path(os.fsdecode(text)) if text else None


def _write(descriptor: int, lock_directory: Path) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, os.fsencode(lock_directory), 0)
