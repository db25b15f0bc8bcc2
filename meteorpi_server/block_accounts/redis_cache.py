"""Answers kept in Redis, for all processes and machines of a node; needs the extra ``meteorpi[redis]``.

A Redis that does not answer is left alone for a few seconds: what it saves is a request to the accounting
server, and a request must not wait longer for it than that takes.

Source: K-420 of the storage contract.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_accounts.base import Account
from meteorpi_server.block_accounts.caches import Kept

NAMESPACE: Final = "meteorpi:block:account:"
SOCKET_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 5.0

_TYPES: Final = {
    "account_id": str,
    "source": str,
    "is_active": bool,
    "quota_bytes": int,
    "monthly_traffic_bytes": int,
    "may_write_anywhere": bool,
}

logger = logging.getLogger("meteorpi.block.accounts")


class RedisCache:
    """A cache that processes share.

    Args:
        url: ``redis://host:port/database``, ``rediss://`` with TLS or ``unix://path``; may hold a password.
        socket_seconds: how long Redis may take for a connection, and for an answer.
        monotonic: tells the seconds that have passed.

    Raises:
        ConfigurationError: the URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        socket_seconds: float = SOCKET_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=socket_seconds,
                socket_connect_timeout=socket_seconds,
                retry=Retry(NoBackoff(), 1),  # a connection that was closed while it was idle
            )
        except ValueError as error:
            # What is wrong is not repeated: there may be a password in it.
            raise ConfigurationError("the URL of Redis must be redis://, rediss:// or unix://") from error
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._failures = 0
        self._paused_until = float("-inf")

    @property
    def failures(self) -> int:
        """How often it could not be asked, or what it had could not be read."""
        return self._failures

    def get(self, key: str) -> Kept[Account] | None:
        """What was put there, None when there is nothing, it has expired, or Redis does not answer."""
        text, milliseconds = None, 0
        with self._tolerating_failures() as is_open:
            if is_open:
                asking = self._client.pipeline(transaction=False)
                asking.get(NAMESPACE + key)
                asking.pttl(NAMESPACE + key)
                text, milliseconds = asking.execute()
        # Without an end it is not ours.
        if text is None or milliseconds <= 0:
            return None
        account = _read(text)
        if account is None:
            self._count_failure()
            return None
        return Kept(account, milliseconds / 1000)

    def put(self, key: str, value: Account, seconds: float) -> None:
        """Keep `value` for that many seconds."""
        with self._tolerating_failures() as is_open:
            if is_open:
                text = json.dumps(asdict(value))
                self._client.set(NAMESPACE + key, text, px=max(1, round(1000 * seconds)))

    def delete(self, key: str) -> None:
        """Forget what was put there."""
        with self._tolerating_failures() as is_open:
            if is_open:
                self._client.delete(NAMESPACE + key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _tolerating_failures(self) -> Iterator[bool]:
        """Whether Redis may be asked inside; that it fails there is counted, and it gets a rest."""
        is_open = self._monotonic() >= self._paused_until
        if not is_open:
            self._count_failure()
        try:
            yield is_open
        except (redis.RedisError, OSError) as error:
            self._count_failure()
            self._paused_until = self._monotonic() + PAUSE_SECONDS
            logger.warning(
                "account cache failed error=%s pause_seconds=%g", type(error).__name__, PAUSE_SECONDS
            )

    def _count_failure(self) -> None:
        with self._mutex:
            self._failures += 1


def _read(text: bytes) -> Account | None:
    """The account that was written as `text`; None when that is no account, as of another release."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != _TYPES:
        return None
    return Account(**found)
