"""A process that takes the mutexes at the head of shared files and keeps them until it is killed.

Run as ``python -m tests.db.mutex_holder PATH ...``; it says "held" when it has them all.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

HEAD = b"\xff\x00\x01\x00" + bytes(12)  # of the engine's lock table
REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROCESS_SHARED = ROBUST = 1


def mutex_in(path: Path) -> ctypes.Array[ctypes.c_char]:
    """The mutex behind the head of a file, mapped for as long as this process lives."""
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    return (ctypes.c_char * 64).from_buffer(memory, len(HEAD))


def make_shared_file(path: Path, *, head: bytes = HEAD, robust: bool = False) -> None:
    """A file as the engine's processes share it, with a mutex that is free."""
    library = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(64)
    library.pthread_mutexattr_init(attributes)
    library.pthread_mutexattr_setpshared(attributes, PROCESS_SHARED)
    if robust:
        library.pthread_mutexattr_setrobust(attributes, ROBUST)
    path.write_bytes(head + bytes(mmap.PAGESIZE - len(head)))
    library.pthread_mutex_init(mutex_in(path), attributes)


def is_free(path: Path) -> bool:
    """Whether the mutex of a file can be taken; gives it back."""
    library, mutex = ctypes.CDLL(None), mutex_in(path)
    if library.pthread_mutex_trylock(mutex) != 0:
        return False
    library.pthread_mutex_unlock(mutex)
    return True


@contextmanager
def holding(paths: Iterable[Path]) -> Iterator[Popen[str]]:
    """Have a process that holds the mutexes of these files; killed at the end if it still lives."""
    command = [sys.executable, "-m", "tests.db.mutex_holder", *map(str, paths)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        ctypes.CDLL(None).pthread_mutex_lock(mutex_in(Path(name)))
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()
