"""Sums that the processes of a node share through a directory: each has a file there, and adds up all.

Files of processes that have ended are put together into one, so that a counter never goes back: first the
sums are replaced together with the names of the files that are in them, then the files are removed. Whoever
dies in between leaves files that the next one knows to be counted.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from meteorpi_db.dialects.file_locks import directory_lock
from meteorpi_server.tallies.base import Tally, lasts
from meteorpi_server.tallies.number_file import NumberFile, is_in_use, read_numbers

logger = logging.getLogger("meteorpi.server.tallies")

_PAST: Final = "past.json"
_SUFFIX: Final = ".numbers"


@dataclass(frozen=True)
class _Past:
    """What ended processes have left.

    Attributes:
        sums: theirs.
        included: names of files whose numbers are in them.
    """

    sums: Mapping[str, float]
    included: frozenset[str]


class SharedTally(Tally):
    """Sums of all processes that use the same directory.

    What cannot be written there, as on a full disk, is counted in memory, and others do not see it.

    Args:
        directory: made when it is needed; only this account can look into it.
    """

    _file: NumberFile | None

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._start_afresh()
        _all.add(self)

    def add(self, amounts: Iterable[tuple[str, float]]) -> None:
        """See :meth:`Tally.add`."""
        with self._lock:
            file = self._file or self._open()
            for key, amount in amounts:
                if file is None or not file.add(key, amount):
                    self._kept_here[key] += amount

    def totals(self) -> dict[str, float]:
        """See :meth:`Tally.totals`."""
        with self._lock:
            if self._file is not None and not self._file.path.exists():
                self._close()  # somebody has cleared the directory away: counting begins again
            sums = defaultdict(float, self._kept_here)
            own = None if self._file is None else self._file.path.name
        try:
            with directory_lock(self._directory):
                for key, amount in self._shared_sums(own):
                    sums[key] += amount
        except FileNotFoundError:
            pass  # nobody has counted anything yet
        except OSError as error:
            self._warn(error)
        return dict(sums)

    def close(self) -> None:
        """See :meth:`Tally.close`."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _start_afresh(self) -> None:
        """Begin with a file of its own, as a process does that was forked."""
        self._lock = threading.Lock()
        self._file = None
        self._kept_here: defaultdict[str, float] = defaultdict(float)
        self._has_warned = False

    def leave_to_parent(self) -> None:
        """In a child after a fork: let go of the file of the parent, and keep out of its lock."""
        self._close()
        self._start_afresh()

    def _open(self) -> NumberFile | None:
        if self._has_warned:
            return None
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever adds up meanwhile would take a file without a lock for one that was left.
            with directory_lock(self._directory):
                name = f"{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
                self._file = NumberFile(self._directory / name)
                for _ in self._shared_sums(name):
                    pass  # files of ended processes become one, even where nobody ever asks for the sums
        except OSError as error:
            self._warn(error)
        return self._file

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            logger.warning("figures are those of this process directory=%s reason=%s", self._directory, error)
        self._has_warned = True

    def _shared_sums(self, own: str | None) -> Iterable[tuple[str, float]]:
        past, left = self._read_past(), []
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            if path.name in past.included:
                path.unlink()
            elif path.name == own or is_in_use(path):
                yield from read_numbers(path).items()
            else:
                left.append(path)
        if left:
            past = self._take_over(past, left)
        yield from past.sums.items()

    def _take_over(self, past: _Past, left: list[Path]) -> _Past:
        sums = defaultdict(float, past.sums)
        for path in left:
            for key, amount in read_numbers(path).items():
                if lasts(key):
                    sums[key] += amount
        document = {"sums": sums, "included": [path.name for path in left]}
        temporary = self._directory / f"{_PAST}.{secrets.token_hex(8)}"
        try:
            temporary.write_text(json.dumps(document), "utf-8")
            temporary.rename(self._directory / _PAST)
        finally:
            temporary.unlink(missing_ok=True)
        for path in left:
            path.unlink()
        return _Past(sums, frozenset())

    def _read_past(self) -> _Past:
        try:
            found: Any = json.loads((self._directory / _PAST).read_text("utf-8"))
            return _Past(dict(found["sums"]), frozenset(found["included"]))
        except FileNotFoundError:
            return _Past({}, frozenset())
        except (ValueError, KeyError, TypeError) as error:
            logger.warning(
                "figures of ended processes are lost directory=%s reason=%s", self._directory, error
            )
            return _Past({}, frozenset())


_all: WeakSet[SharedTally] = WeakSet()


def _leave_all_to_parent() -> None:
    for tally in list(_all):
        tally.leave_to_parent()


os.register_at_fork(after_in_child=_leave_all_to_parent)
