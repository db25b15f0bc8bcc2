"""Counting what is read, without making readers wait for the database.

Bytes are gathered in memory and written every second by the upkeep of the application; a process that is
killed loses that second and no more.

Source: K-220 and K-221 of the storage contract.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

from meteorpi_db.blocks.register import BlockRegister
from meteorpi_model.errors import MeteorError
from meteorpi_server.content import Chunks

logger = logging.getLogger("meteorpi.block.traffic")

WRITE_SECONDS: Final = 1.0


class TrafficMeter:
    """Counts bytes by account.

    Args:
        register: where they are kept.
    """

    def __init__(self, register: BlockRegister) -> None:
        self._register = register
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()

    def add(self, account_id: str, sent: int) -> None:
        """Count bytes that were handed to the connection."""
        if sent:
            with self._lock:
                self._waiting[account_id] += sent

    def sent_by(self, account_id: str) -> int:
        """Bytes read of an account this month, those that are not written yet among them."""
        return self._register.sent_this_month(account_id) + self._waiting[account_id]

    def write(self) -> None:
        """Write what is waiting; what cannot be written now goes on waiting."""
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
        if not waiting:
            return
        try:
            self._register.add_traffic(waiting)
        except MeteorError as error:
            logger.warning("traffic is written later reason=%s", error)
            for account_id, sent in waiting.items():
                self.add(account_id, sent)


class CountedChunks(Iterator[bytes]):
    """Chunks of a content, counted as they are taken, whether or not all are.

    Args:
        chunks: of the content.
        meter: counts them.
        account_id: whose they are.
    """

    def __init__(self, chunks: Chunks, meter: TrafficMeter, account_id: str) -> None:
        self._chunks = chunks
        self._meter = meter
        self._account_id = account_id
        self._sent = 0

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._sent += len(chunk)
        return chunk

    def close(self) -> None:
        """Give the content back and count what was taken."""
        self._chunks.close()
        sent, self._sent = self._sent, 0
        self._meter.add(self._account_id, sent)
