"""The history of a place: what was begun, done and given up, one JSON object on a line."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from meteorpi_model.errors import ConflictError
from meteorpi_model.values import now
from meteorpi_server.deploying.instructions import HISTORY

BEGUN: Final = "begun"
STOPPED: Final = "stopped"
MIGRATING: Final = "migrating"
SWITCHED: Final = "switched"
DONE: Final = "done"
SWITCHED_BACK: Final = "switched back"
FAILED: Final = "failed"

_FINAL: Final = frozenset({DONE, SWITCHED_BACK})
_MODE: Final = 0o600


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        time: UTC, ISO 8601.
        place: name of the link.
        event: one of the constants above.
        release: name of the release; of `MIGRATING` the one whose steps are made or taken back.
        commit: its SHA-1.
        detail: more, for people.
    """

    time: str
    place: str
    event: str
    release: str
    commit: str
    detail: str = ""


class Journal:
    """The history in the directory `deployed`."""

    def __init__(self, deployed: Path) -> None:
        self._deployed = deployed
        self._path = deployed / HISTORY

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other deployment away; the lock of a killed one is free.

        Raises:
            ConflictError: another one is under way.
        """
        self._deployed.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._deployed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConflictError(f"another deployment is under way in {self._deployed}") from error
            yield
        finally:
            os.close(descriptor)

    def note(self, place: str, event: str, release: str, commit: str, detail: str = "") -> None:
        """Write a line, which is durable before what it announces is done."""
        entry = Entry(now().isoformat(timespec="seconds") + "Z", place, event, release, commit, detail)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _MODE)
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            line = json.dumps(asdict(entry)).encode() + b"\n"
            stream.write(line if _ends_a_line(stream.fileno()) else b"\n" + line)
            os.fsync(stream.fileno())

    def entries(self, place: str | None = None) -> list[Entry]:
        """What was written, oldest first; a line that a kill or a power cut tore is left out."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(Entry(**json.loads(line)))
            except (ValueError, TypeError):
                continue
        return [entry for entry in found if place is None or entry.place == place]

    def is_finished(self, place: str, release: str) -> bool:
        """Whether the last deployment at `place` came to its end, with `release` in service."""
        entries = self.entries(place)
        return bool(entries) and entries[-1].event in _FINAL and entries[-1].release == release

    def is_stopped(self, place: str) -> bool:
        """Whether the service was stopped, and neither started again nor given up in order."""
        events = [entry.event for entry in self.entries(place)]
        last = max((number for number, event in enumerate(events) if event in _FINAL), default=-1)
        return STOPPED in events[last + 1 :]

    def former(self, place: str, current: str) -> Entry | None:
        """The release that was in service at `place` before `current`; None for none."""
        done = [entry for entry in self.entries(place) if entry.event in _FINAL]
        return next((entry for entry in reversed(done) if entry.release != current), None)

    def last_migration(self, place: str) -> Entry | None:
        """Whose steps have made the schema of the database what it is; None when nobody's here."""
        return next((entry for entry in reversed(self.entries(place)) if entry.event == MIGRATING), None)


def _ends_a_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
