"""The scheduler an exporter makes for itself: it ends with the program, whatever a round waits for (B-58)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from apscheduler.events import SchedulerEvent
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler


class DaemonThreadExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler ships no types
    """Runs each job in a daemon thread of its own.

    The default executor makes the interpreter wait for its threads, so a round that waits for a silent peer
    would hold up the end of the program. An export that is cut off anywhere loses nothing.
    """

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        threading.Thread(
            target=self._run, args=(job, run_times), name=f"meteorpi-{job.id}", daemon=True
        ).start()

    def _run(self, job: Job, run_times: list[datetime]) -> None:
        # A job's exceptions are among the events; run_job itself raises none.
        events: list[SchedulerEvent] = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        self._run_job_success(job.id, events)


class ExportScheduler(BackgroundScheduler):  # type: ignore[misc]  # APScheduler ships no types
    """A background scheduler whose thread is no daemon, but which stops when the main thread has ended.

    Args:
        on_exit: called once then, before the scheduler stops.
        on_turn: called again and again while the scheduler runs; must not raise.
        turn_seconds: pause between two of these calls.
    """

    def __init__(self, on_exit: Callable[[], None], on_turn: Callable[[], None], turn_seconds: float) -> None:
        super().__init__(daemon=False, executors={"default": DaemonThreadExecutor()})
        self._on_exit = on_exit
        self._on_turn = on_turn
        self._turn_seconds = turn_seconds

    def start(self, paused: bool = False) -> None:
        """Start the thread; see `BackgroundScheduler.start`."""
        super().start(paused)
        threading.Thread(target=self._follow_main_thread, name="meteorpi-exit", daemon=True).start()

    def _follow_main_thread(self) -> None:
        main_thread = threading.main_thread()
        while main_thread.is_alive():
            main_thread.join(self._turn_seconds)
            if not self.running:
                return
            if main_thread.is_alive():
                self._on_turn()
        self._on_exit()
        try:
            self.shutdown(wait=False)
        except SchedulerNotRunningError:
            return  # stopped in good order before
