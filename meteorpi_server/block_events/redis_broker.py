"""Redis as a broker; needs the extra ``meteorpi[redis]``.

Source: K-153 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from meteorpi_model.errors import ConfigurationError, UnavailableError
from meteorpi_server.block_events.base import SURE_SECONDS, EventBroker, Wake
from meteorpi_server.block_events.publishing import Publisher
from meteorpi_server.block_events.subscribing import Subscription, Words

CHANNEL: Final = "meteorpi:block:events"
SOCKET_SECONDS: Final = 2.0
FAILING_SECONDS: Final = 5.0
"""How long a Redis that does not answer is left alone; listeners look by themselves so often meanwhile."""

_WAIT_SECONDS: Final = 0.25


class RedisBroker(EventBroker):
    """For all processes and machines that share a Redis.

    Args:
        url: ``redis://host:port/database``, ``rediss://`` with TLS or ``unix://path``; may hold a password.
        socket_seconds: how long Redis may take for a connection, and for an answer.
        failing_seconds: see `FAILING_SECONDS`.

    Raises:
        ConfigurationError: the URL cannot be read.
    """

    name = "redis"

    def __init__(
        self, url: str, *, socket_seconds: float = SOCKET_SECONDS, failing_seconds: float = FAILING_SECONDS
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
        self._failing_seconds = failing_seconds
        self._publisher = Publisher(self._publish, failing_seconds)
        self._subscription: Subscription | None = None

    @property
    def poll_seconds(self) -> float:
        """Rarely while Redis wakes us."""
        return SURE_SECONDS if self.connections else self._failing_seconds

    @property
    def connections(self) -> int:
        """One while Redis wakes us."""
        subscription = self._subscription
        return int(subscription is not None and subscription.is_connected)

    def announce(self, prefix: str) -> None:
        """See :meth:`EventBroker.announce`."""
        self._publisher.add(prefix)

    def listen(self, wake: Wake) -> None:
        """See :meth:`EventBroker.listen`."""
        self.rest()
        self._subscription = Subscription(self._heard, wake, self._failing_seconds)

    def rest(self) -> None:
        """See :meth:`EventBroker.rest`."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.stop()

    def check(self) -> None:
        """See :meth:`EventBroker.check`."""
        with _failing_as_ours():
            self._client.ping()

    def close(self) -> None:
        """See :meth:`EventBroker.close`."""
        subscription = self._subscription
        super().close()
        self._publisher.close()
        if subscription is not None:
            subscription.join()
        self._client.close()

    def _publish(self, prefixes: Sequence[str]) -> None:
        with _failing_as_ours():
            saying = self._client.pipeline(transaction=False)
            for prefix in prefixes:
                saying.publish(CHANNEL, prefix)
            saying.execute()

    def _heard(self) -> Words:
        with _failing_as_ours(), closing(self._pubsub()) as hearing:
            hearing.subscribe(CHANNEL)
            while True:
                message = hearing.get_message(timeout=_WAIT_SECONDS)
                if message is None or message["type"] == "subscribe":
                    yield None
                elif message["type"] == "message":
                    yield message["data"].decode("ascii", "replace")

    def _pubsub(self) -> PubSub:
        found: PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]  # of the library
        return found


@contextmanager
def _failing_as_ours() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise UnavailableError(f"Redis does not answer: {type(error).__name__}") from error
