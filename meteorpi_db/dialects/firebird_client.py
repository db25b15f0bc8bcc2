"""The Firebird client library inside this process: where it finds things, its locks, and its signal habits.

The library takes its configuration from the environment at the first connection and keeps it. So whatever
this process opens first prepares it for everything that may follow: a private root directory under which the
embedded engine lets several processes open one file (``ServerMode = SuperClassic``), and a lock directory
that all of them share.

Variables that are set already, ``FIREBIRD`` and ``FIREBIRD_LOCK``, are left as they are.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pwd
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes.util import find_library
from pathlib import Path

import fdb
from fdb import ibase

from meteorpi_db.dialects import firebird_abandoned
from meteorpi_db.dialects.firebird_guard import recorded_lock_directory
from meteorpi_model.errors import ConfigurationError, UnavailableError

ROOT_VARIABLE = "FIREBIRD"
LOCK_VARIABLE = "FIREBIRD_LOCK"
SYSTEM_CONFIGURATION = "/etc/firebird"
ENGINE_DIRECTORIES = ("usr/lib/*/firebird/*", "usr/lib64/firebird", "usr/lib/firebird", "opt/firebird")
_LINKS = ("intl", "plugins", "lib", "plugins.conf", "firebird.msg", "tzdata")
# The cache belongs to one connection and grows with use, here to 16 MB: with 4 MB searches by metadata among
# 100,000 records took three times as long. Of several lines that set a value, the first one wins.
_CONFIGURATION = """\
ServerMode = SuperClassic
DefaultDbCachePages = 1024
DeadlockTimeout = 1
ConnectionTimeout = 10
"""
_HANDLER_BYTES = 1024  # more than any platform's struct sigaction

_preparing = threading.Lock()
# The library has one state in a process, so what is known of it is kept once too.
_prepared_by: list[int] = []
_lock_directory: list[Path] = []
_watched: list[Path] = []
_has_connected: list[bool] = []


def _confirm_shutdown(reason: int, _mask: int, _argument: object) -> int:
    return 1 if reason == ibase.fb_shutrsn_signal else 0


# The library keeps a pointer to it for as long as the process lives.
_shutdown_callback = ibase.FB_SHUTDOWN_CALLBACK(_confirm_shutdown)


def prepare(database: Path | None) -> None:
    """Make the library ready, once per process.

    Args:
        database: the file about to be opened embedded; None for a database on a server.

    Raises:
        ConfigurationError: the library or the embedded engine is not installed.
        UnavailableError: this process was forked from one that had used the library already.
    """
    with _preparing:
        if not _prepared_by:
            _choose_directories(database)
            _load()
            _prepared_by.append(os.getpid())
    if database is None:
        return
    if _prepared_by[0] != os.getpid():
        raise UnavailableError(
            "an embedded Firebird database cannot be used in a forked child of a process that used Firebird:"
            " fork first, then open the database"
        )
    if not _lock_directory:
        raise ConfigurationError(
            "the embedded Firebird engine is missing, or there is no directory for its locks:"
            " apt-get install firebird3.0-server-core"
        )
    with _preparing:
        if not _watched:
            firebird_abandoned.watch(_lock_directory[0])
            _watched.append(_lock_directory[0])


def lock_directory() -> Path:
    """The directory through which embedded engines of several processes coordinate; after `prepare`."""
    return _lock_directory[0]


def engine_directory() -> Path | None:
    """Where the engine's plugins and messages are installed; None when they are not."""
    for pattern in ENGINE_DIRECTORIES:
        for found in sorted(Path("/").glob(f"{pattern}/plugins"), reverse=True):
            return found.parent
    return None


@contextmanager
def keeping_signal_handlers() -> Iterator[None]:
    """Undo what the library does to SIGTERM and SIGINT with the first connection of a process.

    Its handlers close every connection in the process; and where SIGTERM had its default meaning, they take
    that away, so that a node would not end when told to. It sets them once, so they are put back once:
    later on a handler that has just been set elsewhere must not be lost.
    """
    if _has_connected:
        yield
        return
    saved = {number: _signal_action(number, None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
        _has_connected.append(True)
    finally:
        for number, action in saved.items():
            _signal_action(number, action)


def _signal_action(number: int, action: ctypes.Array[ctypes.c_char] | None) -> ctypes.Array[ctypes.c_char]:
    """sigaction(2): install `action`, or with None look only; gives the one before."""
    before = ctypes.create_string_buffer(_HANDLER_BYTES)
    if ctypes.CDLL(None, use_errno=True).sigaction(number, action, before) != 0:
        raise OSError(ctypes.get_errno(), "sigaction failed")
    return before


def _choose_directories(database: Path | None) -> None:
    """Point the library to its directories by the environment; what is set there already counts."""
    engine = engine_directory()
    home = None if engine is None else _state_directory(database)
    if engine is not None and home is not None:
        os.environ.setdefault(ROOT_VARIABLE, str(_private_root(engine, home / "root")))
        recorded = None if database is None else recorded_lock_directory(database)
        chosen = os.environ.setdefault(LOCK_VARIABLE, str(recorded or _made(home / "lock")))
        _lock_directory.append(Path(chosen))


def _state_directory(database: Path | None) -> Path | None:
    """A directory for the root and the locks: of this account, else beside the database.

    All processes of an account must come to the same answer, so the home directory is that of the account
    database and not of the environment.
    """
    candidates = []
    with suppress(KeyError):
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        candidates.append(home / ".local" / "state" / "meteorpi" / "firebird")
    if database is not None:
        candidates.append(database.parent / ".meteorpi-firebird")
    for directory in candidates:
        with suppress(OSError):
            _made(directory)
            if os.access(directory, os.W_OK | os.X_OK):
                return directory
    return None


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True, mode=0o770)
    return directory


def _private_root(engine: Path, root: Path) -> Path:
    """A root directory as the library expects it, with our configuration in front of the system's."""
    _made(root)
    for name in _LINKS:
        target, link = engine / name, root / name
        if target.exists() and not (link.is_symlink() and link.readlink() == target):
            temporary = _temporary_name(link)
            temporary.symlink_to(target)
            temporary.replace(link)
    system = Path(SYSTEM_CONFIGURATION, engine.name, "firebird.conf")
    included = f"include {system}\n" if os.access(system, os.R_OK) else ""
    configuration = root / "firebird.conf"
    text = _CONFIGURATION + included
    if not configuration.exists() or configuration.read_text() != text:
        temporary = _temporary_name(configuration)
        temporary.write_text(text)
        temporary.replace(configuration)
    return root


def _temporary_name(path: Path) -> Path:
    """A free name beside `path`: what is made there and then renamed is never seen half done."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    return temporary


def _load() -> None:
    if not _is_installed():
        raise ConfigurationError("the Firebird client library is missing: apt-get install libfbclient2")
    library = fdb.load_api()
    library.fb_shutdown_callback(
        ibase.ISC_STATUS_ARRAY(), _shutdown_callback, ibase.fb_shut_confirmation, None
    )
    atexit.register(_shut_down, library, os.getpid())


def _is_installed() -> bool:
    """Whether fdb will find the library; asked first because fdb raises a bare Exception."""
    try:
        ctypes.CDLL("libfbclient.so.2")
    except OSError:
        return find_library("fbclient") is not None
    return True


def _shut_down(library: object, owner: int) -> None:
    """End the library before the interpreter does: it would call back into nothing.

    A forked child leaves the connections to its parent.
    """
    if os.getpid() == owner:
        library.fb_shutdown(0, ibase.fb_shutrsn_app_stopped)  # type: ignore[attr-defined]
