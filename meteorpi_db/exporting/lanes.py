"""Several pushes under way at the same time, so that no configuration waits for the silent peer of another.

A configuration begins with one task at a time. Once one has been completed it gets as many as the peer says
it takes, and after a failure one again. Nodes of the first generation say nothing, so they get one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meteorpi_db.exporting.push import COMPLETE, ExportStateCache
from meteorpi_db.exporting.rule import FailureRule
from meteorpi_db.exporting.tasks import ExportTask
from meteorpi_model.errors import WorkStoppedError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

MOST_PER_CONFIGURATION: Final = 4
MOST_AT_ONCE: Final = 8
_CHECK_SECONDS: Final = 0.5

Check = Callable[[], None]
Work = Callable[[ExportTask, Check], ExportStateCache]


@dataclass
class _Lane:
    """One configuration: how many of its tasks are under way, how many may be, and failures seen so far."""

    in_flight: int = 0
    width: int = 1
    failures: int = 0


@dataclass(frozen=True)
class _Started:
    """A task under way; `failures` of its lane when it began."""

    task: ExportTask
    failures: int


class ExportLanes:
    """Works off the tasks that are due, with a thread for each that is under way.

    The threads are daemons: the end of the program does not wait for a peer that keeps silent.

    Args:
        db: where the tasks are.
        work: drives one task to its end, calling the check it is given before every step. What it raises
            ends the round.
        rule: told of each result, by the calling thread.
        check: called between tasks; raises `WorkStoppedError` to stop.
    """

    def __init__(self, db: MeteorDatabase, work: Work, rule: FailureRule, check: Check) -> None:
        self._db = db
        self._work = work
        self._rule = rule
        self._check = check
        self._is_over = threading.Event()
        self._lanes: dict[int, _Lane] = {}
        self._started: dict[int, _Started] = {}
        self._results: queue.Queue[tuple[int, ExportStateCache | Exception]] = queue.Queue()

    def run(self) -> int:
        """Go on until nothing is due; gives the number of tasks handled, successfully or not.

        Raises:
            WorkStoppedError: `check` said so.
            Exception: whatever the work raised.
            UnavailableError: the database cannot be used now.
        """
        handled = 0
        try:
            while self._fill():
                self._take_result()
                handled += 1
        finally:
            self._is_over.set()
            self._rule.finish()
        return handled

    def _check_in_thread(self) -> None:
        """What a thread asks: one that outlives its round must not work beside the next one."""
        if self._is_over.is_set():
            raise WorkStoppedError("the export round is over")
        self._check()

    def _fill(self) -> bool:
        """Start what may be started; False when nothing is under way then."""
        while len(self._started) < MOST_AT_ONCE:
            self._check()
            full = [pk for pk, lane in self._lanes.items() if lane.in_flight >= lane.width]
            task = self._db.get_next_entity_to_export(list(self._started), full)
            if task is None:
                break
            self._start(task)
        return bool(self._started)

    def _start(self, task: ExportTask) -> None:
        lane = self._lanes.setdefault(task.config_internal_id, _Lane())
        lane.in_flight += 1
        self._started[task.task_internal_id] = _Started(task, lane.failures)
        threading.Thread(target=self._run_task, args=(task,), name="meteorpi-push", daemon=True).start()

    def _run_task(self, task: ExportTask) -> None:
        try:
            self._results.put((task.task_internal_id, self._work(task, self._check_in_thread)))
        except Exception as error:  # noqa: BLE001 - the round raises it; it would wait for ever otherwise
            self._results.put((task.task_internal_id, error))

    def _take_result(self) -> None:
        task_id, result = self._next_result()
        if isinstance(result, Exception):
            raise result
        started = self._started.pop(task_id)
        lane = self._lanes[started.task.config_internal_id]
        lane.in_flight -= 1
        is_counted = started.failures == lane.failures
        if result.state == COMPLETE:
            lane.width = min(result.concurrency, MOST_PER_CONFIGURATION) if is_counted else lane.width
        else:
            lane.width = 1
            lane.failures += 1
        self._rule.settle(started.task, result, is_counted)

    def _next_result(self) -> tuple[int, ExportStateCache | Exception]:
        while True:
            try:
                return self._results.get(timeout=_CHECK_SECONDS)
            except queue.Empty:
                self._check()
