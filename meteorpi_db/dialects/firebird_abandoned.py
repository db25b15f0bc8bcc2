"""Mutexes of the embedded Firebird engine that a killed process left locked.

The engine's processes meet in files of the lock directory, and each file begins with the mutex that guards
the rest. Firebird asks for robust mutexes, which the system hands on when their holder is killed, but by
names that the C library has not offered to programs built since its version 2.34. Debian's engine is such a
program: a process that is killed in the wrong microseconds leaves the mutex locked, and whoever opens, uses
or closes the database afterwards waits inside the library, for good.

So every process that has the embedded engine also has a thread here that looks at those mutexes, and unlocks
one whose holder is gone. That is what the system would have done for a robust one. The rest is the engine's
own work: it expects to find its tables half changed by somebody who died, and drops the locks of the dead.

As the engine does, this takes it that all who share a lock directory see each other's process numbers.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meteorpi_db.dialects.file_locks import directory_lock

logger = logging.getLogger("meteorpi.db.firebird")

POLL_SECONDS: Final = 0.25
# How long a mutex must be seen unchanged before it counts as abandoned.
SIGNED_SECONDS: Final = 0.2
# Between taking a mutex and signing it lie two instructions: whoever was killed there left no name.
UNSIGNED_SECONDS: Final = 10.0

_FILES: Final = "fb*"
_GUARD: Final = "meteorpi-release"
_SHARED_MEMORY_TYPES: Final = range(0xF0, 0x100)
_TYPE: Final = struct.Struct("=H")
_MUTEX_OFFSET: Final = 16
_MUTEX_BYTES: Final = 64  # more than any platform's pthread_mutex_t
# glibc's pthread_mutex_t: the lock word, a counter, the thread that holds it; then the kind, which on 64 bits
# comes after one more counter.
_WORDS: Final = struct.Struct("=iIi4xI" if struct.calcsize("P") == 8 else "=iIiI")
_PROCESS_SHARED_KIND: Final = 128  # and neither robust nor with inherited priority


@dataclass(frozen=True)
class _Mutex:
    """A plain mutex shared by processes.

    Attributes:
        holder: number of the thread that holds it; 0 for nobody, or for one that has not signed it.
    """

    is_locked: bool
    holder: int

    @classmethod
    def of(cls, words: bytes) -> _Mutex | None:
        """None when these are not the words of such a mutex."""
        lock, _count, holder, kind = _WORDS.unpack_from(words)
        return cls(lock != 0, holder) if kind == _PROCESS_SHARED_KIND else None


class AbandonedMutexes:
    """Finds and unlocks the abandoned mutexes of a lock directory.

    Args:
        directory: the lock directory of an embedded engine.

    Raises:
        OSError: nothing can be made in it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Not the lock directory itself: that may be the database's, and locked by whom the engine holds up.
        self._guard = directory / _GUARD
        self._guard.mkdir(mode=0o770, exist_ok=True)
        self._suspects: dict[Path, tuple[_Mutex, float]] = {}
        self._library = ctypes.CDLL(None)

    def release(self, now: float) -> list[Path]:
        """Look at every mutex once, and unlock those that were found abandoned before and have not changed.

        Args:
            now: seconds on a clock that never goes back.

        Returns:
            The files whose mutex was unlocked.

        Raises:
            OSError: the directory or a file cannot be read or written.
        """
        before, self._suspects = self._suspects, {}
        released = []
        for path in self._directory.glob(_FILES):
            mutex = _suspect(path)
            if mutex is None:
                continue
            known, since = before.get(path, (mutex, now))
            self._suspects[path] = mutex, since if mutex == known else now
            with suppress(FileNotFoundError):  # the last process to close a database removes it
                if self._is_sure(path, now) and self._unlock(path, mutex):
                    released.append(path)
        return released

    def _is_sure(self, path: Path, now: float) -> bool:
        mutex, since = self._suspects[path]
        return now - since >= (SIGNED_SECONDS if mutex.holder else UNSIGNED_SECONDS)

    def _unlock(self, path: Path, expected: _Mutex) -> bool:
        """Unlock a mutex unless somebody else has done so; whether that was done."""
        with (
            directory_lock(self._guard),  # of all who see the same mutex abandoned, one unlocks it
            path.open("r+b") as file,
            mmap.mmap(file.fileno(), mmap.PAGESIZE) as memory,
        ):
            if _Mutex.of(memory[_MUTEX_OFFSET:]) != expected:
                return False
            mutex = (ctypes.c_char * _MUTEX_BYTES).from_buffer(memory, _MUTEX_OFFSET)
            try:
                self._library.pthread_mutex_unlock(mutex)
            finally:
                del mutex  # else the memory cannot be unmapped
        logger.warning("unlocked %s, which thread %d held when it was killed", path, expected.holder)
        return True


def watch(directory: Path) -> None:
    """Release abandoned mutexes in `directory` from now on, in a thread of this process."""
    if _knows_mutexes():
        mutexes = AbandonedMutexes(directory)
        threading.Thread(target=_watch, args=(mutexes,), name="firebird-abandoned", daemon=True).start()
    else:
        logger.warning("this C library is unknown: a killed process may leave a Firebird database locked")


def _watch(mutexes: AbandonedMutexes) -> None:
    pause = threading.Event()
    trouble = ""
    while not pause.wait(POLL_SECONDS):
        try:
            mutexes.release(time.monotonic())
            trouble = ""
        except OSError as error:
            if trouble != str(error):  # once, not four times a second
                logger.exception("cannot look after the locks of killed processes")
            trouble = str(error)


def _suspect(path: Path) -> _Mutex | None:
    """The mutex of a file if it is locked, and its holder gone or without a name."""
    with suppress(FileNotFoundError, PermissionError):  # removed meanwhile; of another account's databases
        with path.open("rb") as file:
            head = file.read(_MUTEX_OFFSET + _MUTEX_BYTES)
        if len(head) == _MUTEX_OFFSET + _MUTEX_BYTES and _TYPE.unpack_from(head)[0] in _SHARED_MEMORY_TYPES:
            mutex = _Mutex.of(head[_MUTEX_OFFSET:])
            if mutex is not None and mutex.is_locked and not (mutex.holder and _lives(mutex.holder)):
                return mutex
    return None


def _lives(thread: int) -> bool:
    try:
        os.kill(thread, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError):  # ended meanwhile, or hidden: the next look tells
        state = Path(f"/proc/{thread}/stat").read_bytes().rpartition(b")")[2].split()[0]
        return state not in (b"Z", b"X")  # killed, and its parent has not taken note
    return True


def _knows_mutexes() -> bool:
    """Whether mutexes of this process's C library are laid out as above."""
    library = ctypes.CDLL(None)
    attributes, mutex = (ctypes.create_string_buffer(_MUTEX_BYTES) for _ in range(2))
    library.pthread_mutexattr_init(attributes)
    library.pthread_mutexattr_setpshared(attributes, 1)  # PTHREAD_PROCESS_SHARED
    library.pthread_mutex_init(mutex, attributes)
    free = _Mutex.of(mutex.raw)
    library.pthread_mutex_lock(mutex)
    taken = _Mutex.of(mutex.raw)
    return (free, taken) == (_Mutex(False, 0), _Mutex(True, threading.get_native_id()))
