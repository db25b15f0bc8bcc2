"""The database as a broker: every process looks, and PostgreSQL says when there is something to see.

Source: K-153 of the storage contract.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from meteorpi_db.blocks.notifying import can_notify, heard, notify
from meteorpi_db.connections import Transactions
from meteorpi_server.block_events.base import SURE_SECONDS, EventBroker, Wake
from meteorpi_server.block_events.publishing import Publisher
from meteorpi_server.block_events.subscribing import Subscription

POLL_SECONDS: Final = 1.0


class DatabaseBroker(EventBroker):
    """For all processes and machines that share a database, without any further server.

    Args:
        transactions: of the node.
        poll_seconds: how often to look where the database wakes nobody.
    """

    name = "database"

    def __init__(self, transactions: Transactions, poll_seconds: float = POLL_SECONDS) -> None:
        self._transactions = transactions
        self._poll_seconds = poll_seconds
        self._can_notify = can_notify(transactions)
        self._publisher = Publisher(partial(notify, transactions))
        self._subscription: Subscription | None = None

    @property
    def poll_seconds(self) -> float:
        """Rarely while the database says when there is something to see."""
        return SURE_SECONDS if self.connections else self._poll_seconds

    @property
    def connections(self) -> int:
        """One where the database wakes us."""
        subscription = self._subscription
        return int(subscription is not None and subscription.is_connected)

    def announce(self, prefix: str) -> None:
        """See :meth:`EventBroker.announce`."""
        if self._can_notify:
            self._publisher.add(prefix)

    def listen(self, wake: Wake) -> None:
        """See :meth:`EventBroker.listen`."""
        self.rest()
        if self._can_notify:
            self._subscription = Subscription(partial(heard, self._transactions), wake)

    def rest(self) -> None:
        """See :meth:`EventBroker.rest`."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.stop()

    def close(self) -> None:
        """See :meth:`EventBroker.close`."""
        subscription = self._subscription
        super().close()
        self._publisher.close()
        if subscription is not None:
            subscription.join()
