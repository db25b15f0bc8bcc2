"""What a running process tells when it is asked by a signal; the log gets the answers.

==========  ==========================================================================================
SIGUSR1     where every thread is just now
SIGUSR2     begin to trace what takes memory; the next one says which lines took most of it, and ends it
SIGHUP      the logging configuration is read again, where there is one
==========  ==========================================================================================

A signal handler only puts the number of the signal into a queue, which may happen at any point; a thread does
what it asks for. Workers that get a signal together answer one after the other, so that lines do not mix.

Source: K-504 and K-505 of the storage contract.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
import traceback
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

from meteorpi_db.dialects.file_locks import directory_lock
from meteorpi_model.errors import ConfigurationError
from meteorpi_server.logs import apply_configuration, read_configuration
from meteorpi_server.settings import Settings

logger = logging.getLogger("meteorpi.server.diagnostics")

SIGNALS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Diagnostics:
    """Answers the signals; made once for a process.

    Args:
        settings: with the logging configuration, and the number of lines of a trace.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
        self._before: dict[int, Any] = {}
        # What is in force, in case that the next one cannot be.
        self._applied = read_configuration(settings.logging_config) if settings.logging_config else None

    def begin(self) -> None:
        """Take the signals over, which only the main thread may; who had them before gets them, too."""
        self._thread.start()
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)

    def end(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._asked.put(None)
        self._thread.join()

    def answer(self, number: int) -> None:
        """Do what a signal asks for."""
        match number:
            case signal.SIGUSR1:
                log_stacks()
            case signal.SIGUSR2:
                toggle_trace(self._settings.trace_lines)
            case signal.SIGHUP:
                self._reload_logging(self._settings.logging_config)

    def _reload_logging(self, path: str) -> None:
        """Read the logging configuration again; the log goes on as before when it cannot be used."""
        if not path:
            logger.info("there is no logging configuration to read again")
            return
        try:
            document = read_configuration(path)
            if document is not None:
                self._apply(document, path)
        except ConfigurationError as error:
            logger.error("the log goes on as before reason=%s", error.detail)  # noqa: TRY400 - it says it all
            return
        if document is None:
            logger.warning("there is no logging configuration any more path=%s; the log goes on", path)
        else:
            logger.info("logging configuration read again path=%s", path)

    def _apply(self, document: Mapping[str, Any], path: str) -> None:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            apply_configuration(document, path)
        except ConfigurationError:
            root.handlers[:], root.level = handlers, level
            if self._applied is not None:
                apply_configuration(self._applied, path)
            raise
        self._applied = document

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked.put(number)
        before = self._before.get(number)
        if callable(before):
            before(number, frame)

    def _run(self) -> None:
        while (number := self._asked.get()) is not None:
            with _one_at_a_time():
                self.answer(number)


@contextlib.contextmanager
def answering_signals(settings: Settings) -> Iterator[None]:
    """Answer the signals meanwhile; in another thread than the main one this changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    diagnostics = Diagnostics(settings)
    diagnostics.begin()
    try:
        yield
    finally:
        diagnostics.end()


def answer_signals(settings: Settings) -> None:
    """Answer the signals from now on; for the scripts of web servers that run several processes.

    Under gunicorn SIGUSR1 also opens its log files anew, and reaches workers through their master. Apache
    keeps signals to itself.
    """
    Diagnostics(settings).begin()


def log_stacks() -> None:
    """Write where every thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames: dict[int, FrameType] = sys._current_frames()
    logger.warning("stacks of %d threads follow process=%d", len(frames), os.getpid())
    for ident, frame in frames.items():
        stack = "".join(traceback.format_stack(frame)).rstrip()
        _log_with_stack(stack, "stack process=%d thread=%s", os.getpid(), names.get(ident, ident))


def toggle_trace(lines: int) -> None:
    """Begin to trace what takes memory, or write the `lines` that took most, and end it.

    As long as it lasts the process needs more time and memory for each thing that it makes.
    """
    if not tracemalloc.is_tracing():
        tracemalloc.start()
        logger.warning("tracing memory process=%d; the next SIGUSR2 ends it", os.getpid())
        return
    snapshot = tracemalloc.take_snapshot()
    now_bytes, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    logger.warning("traced memory process=%d bytes=%d most_bytes=%d", os.getpid(), now_bytes, most_bytes)
    for each in snapshot.statistics("lineno")[:lines]:
        where = each.traceback[0]
        logger.warning(
            "memory bytes=%d blocks=%d at=%s:%d", each.size, each.count, where.filename, where.lineno
        )


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait for other processes of this installation, where its directory can be locked."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(directory_lock(Path(__file__).parent))
        yield


def _log_with_stack(stack: str, message: str, *values: object) -> None:
    record = logger.makeRecord(logger.name, logging.WARNING, "", 0, message, values, None, sinfo=stack)
    logger.handle(record)
