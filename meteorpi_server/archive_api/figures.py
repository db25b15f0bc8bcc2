"""What is counted of archives: in the metrics of the node, and in one line of the log for each download."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from meteorpi_server.archive_api.slots import Slot

logger = logging.getLogger("meteorpi.archive.download")

SHOWN_DIGITS: Final = 8
"""So much of a link is in the log; the whole of it would let readers of the log download."""


@dataclass
class Counted:
    """Numbers since the process was started.

    Attributes:
        started: downloads.
        resumed: those of them that went on with what was begun.
        ended: by outcome.
        failures: sources that failed, by reason.
        sent_bytes: in downloads that have ended.
        waits: turns that were waited for.
        waited_seconds: how long, all together.
        computed: checksums that were computed while contents were sent.
    """

    started: int = 0
    resumed: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    waits: int = 0
    waited_seconds: float = 0.0
    computed: int = 0


class ArchiveFigures:
    """Counts what the archive routes of one application do. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted = Counted()

    def began(self, *, is_resumed: bool) -> None:
        """Count a download that begins, or goes on with what was begun."""
        with self._lock:
            self._counted.started += 1
            self._counted.resumed += is_resumed

    def ended(self, slot: Slot, outcome: str, details: str = "") -> None:
        """Count a download that has ended, and log it; `details` are further members of the line."""
        with self._lock:
            self._counted.ended[outcome] += 1
            self._counted.sent_bytes += slot.sent_bytes
        logger.info(
            "download ended link=%s… owner=%s outcome=%s bytes=%d seconds=%.3f%s",
            slot.claim.link[:SHOWN_DIGITS],
            slot.claim.owner or "-",
            outcome,
            slot.sent_bytes,
            time.monotonic() - slot.began_at,
            details and f" {details}",
        )

    def failed(self, reason: str) -> None:
        """Count a source that failed."""
        with self._lock:
            self._counted.failures[reason] += 1

    def waited(self, seconds: float) -> None:
        """Count a turn that was waited for."""
        with self._lock:
            self._counted.waits += 1
            self._counted.waited_seconds += seconds

    def computed(self, count: int) -> None:
        """Count checksums that were computed while contents were sent."""
        with self._lock:
            self._counted.computed += count

    def counted(self) -> Counted:
        """What has been counted so far."""
        with self._lock:
            found = self._counted
            return replace(found, ended=Counter(found.ended), failures=Counter(found.failures))
