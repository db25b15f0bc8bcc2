"""What an application has done now and then while it is served, whether anybody asks for something or not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from meteorpi_model.errors import MeteorError

logger = logging.getLogger("meteorpi.server.upkeep")


@dataclass(frozen=True)
class _Job:
    name: str
    interval_seconds: float
    run: Callable[[], object]
    at_end: bool


class Upkeep:
    """Jobs that are run again and again, each in a thread of its own, once it is started.

    Whoever serves an application starts it: making one starts nothing. Jobs have to be quick, and right when
    several processes do them.
    """

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._companions: list[tuple[Callable[[], object] | None, Callable[[], object]]] = []
        self._has_begun = False

    def add(
        self, name: str, interval_seconds: float, job: Callable[[], object], *, at_end: bool = False
    ) -> None:
        """Have `job` run every `interval_seconds`; `name` is for the log.

        Args:
            at_end: run it once more when upkeep ends in good order.
        """
        self._jobs.append(_Job(name, interval_seconds, job, at_end))

    def accompany(self, start: Callable[[], object] | None, stop: Callable[[], object]) -> None:
        """Have `start`, if there is any, called when upkeep begins, and `stop` when it ends in good order."""
        self._companions.append((start, stop))

    def start(self) -> None:
        """Begin, unless it has begun in this process."""
        if self._has_begun:
            return
        self._has_begun = True
        self._ended.clear()
        for start, _ in self._companions:
            if start is not None:
                start()
        for job in self._jobs:
            thread = threading.Thread(target=self._run, args=(job,), name=f"upkeep {job.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End it, and wait for the jobs that are at work."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if self._has_begun:
            for _, stop in self._companions:
                stop()
        self._has_begun = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, job: _Job) -> None:
        has_ended = False
        while not has_ended:
            self._do(job)
            has_ended = self._ended.wait(job.interval_seconds)
        if job.at_end:
            self._do(job)

    def _do(self, job: _Job) -> None:
        try:
            job.run()
        except MeteorError as error:
            logger.warning("upkeep failed job=%s detail=%s", job.name, error.detail)
