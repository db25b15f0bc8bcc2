"""What is counted of events and of those who listen; for the metrics of a node.

Source: A.12 and K-155 of the storage contract.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

DURATION_SECONDS: Final = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0)
"""Upper bounds of the histogram of how long sockets were open; the last bucket has none."""


@dataclass(frozen=True, kw_only=True)
class CountedEvents:
    """Numbers since the process was started, and how many are open now.

    Attributes:
        open_sockets, open_streams: WebSockets, and streams of events, that are open.
        closed: WebSockets that were open.
        open_seconds: how long those were, all together.
        duration_buckets: how many of them no longer than each of `DURATION_SECONDS`, and all.
        messages: told to listeners of both kinds.
        dropped: listeners that were too slow.
        published: changes that listeners were woken for.
    """

    open_sockets: int = 0
    open_streams: int = 0
    closed: int = 0
    open_seconds: float = 0.0
    duration_buckets: Sequence[int] = field(default=(0,) * (len(DURATION_SECONDS) + 1))
    messages: int = 0
    dropped: int = 0
    published: int = 0


class EventFigures:
    """Counts; safe for threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._counted = CountedEvents()

    def counted(self) -> CountedEvents:
        """The numbers so far."""
        return self._counted

    def add(self, **more: int) -> None:
        """Add to some of the numbers; negative ones take away."""
        with self._mutex:
            changed = {name: getattr(self._counted, name) + number for name, number in more.items()}
            self._counted = replace(self._counted, **changed)

    def socket_closed(self, seconds: float) -> None:
        """Count the end of a WebSocket that was open for so long."""
        fits = [*(seconds <= bound for bound in DURATION_SECONDS), True]
        with self._mutex:
            before = self._counted
            self._counted = replace(
                before,
                open_sockets=before.open_sockets - 1,
                closed=before.closed + 1,
                open_seconds=before.open_seconds + seconds,
                duration_buckets=[n + more for n, more in zip(before.duration_buckets, fits, strict=True)],
            )
