"""A file of named numbers that one process changes in its memory, and others may read at any time.

::

    bytes used, 8 bytes | length of the key, 8 bytes | key, filled up to 8 bytes | number, 8 bytes | ...

A number is changed where it lies, by a copy of eight aligned bytes, which no reader sees half done on the
machines that this runs on. A new one is written behind the others before the bytes used say so. Nothing is
flushed: the numbers survive the process, and need not survive the machine.

The process keeps the file locked; the lock goes with it, however it ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import weakref
from pathlib import Path
from typing import Final

FILE_BYTES: Final = 1 << 17
"""Room for more than a thousand numbers; there are some hundreds, since no label has unbounded values."""

_WORD: Final = 8
_COUNT: Final = struct.Struct("@q")
_NUMBER: Final = struct.Struct("@d")


class NumberFile:
    """The file of this process.

    Args:
        path: must not exist.

    Raises:
        OSError: it cannot be made, or there is no room for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        self._used = _WORD
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._memory = _mapped(self._descriptor)
            self._close = weakref.finalize(self, os.close, self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            path.unlink()
            raise

    def add(self, key: str, amount: float) -> bool:
        """Add to a number, which is made when there is none; False when there is no room for it."""
        place = self._places.get(key)
        if place is not None:
            _NUMBER.pack_into(self._memory, place, _NUMBER.unpack_from(self._memory, place)[0] + amount)
            return True
        return self._append(key, amount)

    def close(self) -> None:
        """Give the file back; its numbers stay in it."""
        self._memory.close()
        self._close()

    def _append(self, key: str, amount: float) -> bool:
        name = key.encode()
        place = self._used + _WORD + _padded(len(name))
        if place + _WORD > FILE_BYTES:
            return False
        _COUNT.pack_into(self._memory, self._used, len(name))
        self._memory[self._used + _WORD : self._used + _WORD + len(name)] = name
        _NUMBER.pack_into(self._memory, place, amount)
        self._places[key], self._used = place, place + _WORD
        _COUNT.pack_into(self._memory, 0, self._used)
        return True


def read_numbers(path: Path) -> dict[str, float]:
    """The numbers of a file; none when it is not one."""
    content = path.read_bytes()
    if len(content) != FILE_BYTES:
        return {}
    (used,) = _COUNT.unpack_from(content, 0)
    found, at = {}, _WORD
    while at < used <= FILE_BYTES:
        (length,) = _COUNT.unpack_from(content, at)
        name = content[at + _WORD : at + _WORD + length].decode()
        at += _WORD + _padded(length)
        found[name] = _NUMBER.unpack_from(content, at)[0]
        at += _WORD
    return found


def is_in_use(path: Path) -> bool:
    """Whether a process has the file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _mapped(descriptor: int) -> mmap.mmap:
    # Room is taken now: a hole that cannot be filled later would end the process with a signal.
    empty = _COUNT.pack(_WORD).ljust(FILE_BYTES, b"\0")
    if os.write(descriptor, empty) < len(empty):
        raise OSError("no room for the file of figures")
    return mmap.mmap(descriptor, FILE_BYTES)


def _padded(length: int) -> int:
    return -(-length // _WORD) * _WORD
