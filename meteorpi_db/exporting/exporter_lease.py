"""The lease that makes one exporter work on a database at a time, however many processes start one (B-26)."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from meteorpi_model.errors import MeteorError, WorkStoppedError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

logger = logging.getLogger("meteorpi.db.export")

LEASE_NAME: Final = "exporter"
_RENEWALS: Final = 3  # in the time that the lease lasts, so that one or two of them may fail
_USABLE: Final = 0.8  # of its time: work stops before another process may begin

LeaseRequest = Callable[[str, str, float], bool]


class ExporterLease:
    """Takes the lease for a piece of work, renews it from a thread meanwhile, and gives it back.

    A process that is killed holds it no longer than `seconds`. One that could not renew it in time (it was
    frozen, or the database was gone) learns that from :meth:`check` before another one can have begun.

    Args:
        db: the database to work on.
        seconds: how long the lease lasts without being renewed.
    """

    def __init__(self, db: MeteorDatabase, seconds: float) -> None:
        self._db = db
        self._seconds = seconds
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"
        self._usable_until = 0.0
        self._is_stopped = False  # no event: its lock may be held by whom a signal interrupts
        self._mutex = threading.Lock()  # one piece of work at a time in this process too

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lease inside the block; gives False at once when another exporter, or thread, has it."""
        if not self._mutex.acquire(blocking=False):
            yield False
            return
        try:
            if self._is_stopped or not self._renewed(self._db.acquire_lease):
                yield False
            else:
                with self._kept():
                    yield True
        finally:
            self._mutex.release()

    def check(self) -> None:
        """Make sure that work may go on.

        Raises:
            WorkStoppedError: the lease is lost, or :meth:`stop` was called.
        """
        if self._is_stopped:
            raise WorkStoppedError("the exporter is being stopped")
        if time.monotonic() > self._usable_until:
            raise WorkStoppedError("the exporter lease was lost: another exporter may be at work")

    def is_abandoned(self) -> bool:
        """Whether another exporter ended without giving the lease back, and its time is up."""
        return self._db.is_lease_abandoned(LEASE_NAME)

    def stop(self) -> None:
        """End the work in progress at its next check, and take up no other."""
        self._is_stopped = True

    @property
    def is_stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._is_stopped

    @contextmanager
    def _kept(self) -> Iterator[None]:
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(done,), name="meteorpi-export-lease", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()
            self._usable_until = 0.0
            self._give_back()

    def _keep(self, done: threading.Event) -> None:
        while not done.wait(self._seconds / _RENEWALS):
            try:
                if not self._renewed(self._db.renew_lease):
                    self._usable_until = 0.0
                    return
            except MeteorError as error:
                logger.warning("lease not renewed owner=%s reason=%s", self.owner, error.detail)

    def _renewed(self, ask: LeaseRequest) -> bool:
        asked_at = time.monotonic()
        is_held = ask(LEASE_NAME, self.owner, self._seconds)
        if is_held:
            self._usable_until = asked_at + self._seconds * _USABLE
        return is_held

    def _give_back(self) -> None:
        try:
            self._db.release_lease(LEASE_NAME, self.owner)
        except MeteorError as error:  # it runs out by itself
            logger.warning("lease not given back owner=%s reason=%s", self.owner, error.detail)
