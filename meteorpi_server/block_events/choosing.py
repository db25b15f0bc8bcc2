"""A broker as the settings want it.

Source: K-153 and part G of the storage contract.
"""

from __future__ import annotations

from typing import Final

from meteorpi_db.connections import Transactions
from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_events.base import EventBroker, LocalBroker
from meteorpi_server.block_events.database import DatabaseBroker

_REDIS: Final = ("redis://", "rediss://", "unix://")


def open_broker(name: str, transactions: Transactions) -> EventBroker:
    """The broker called ``local`` or ``database``, or that at the URL of a Redis; nothing is opened yet.

    Raises:
        ConfigurationError: there is no such broker, or its library is missing.
    """
    if name == LocalBroker.name:
        return LocalBroker()
    if name == DatabaseBroker.name:
        return DatabaseBroker(transactions)
    if not name.startswith(_REDIS):  # what it is instead is not repeated: it may hold a password
        raise ConfigurationError("block_events must be local, database, or the URL of a Redis")
    try:
        from meteorpi_server.block_events.redis_broker import RedisBroker
    except ModuleNotFoundError as error:
        raise ConfigurationError("events through Redis need: pip install 'meteorpi[redis]'") from error
    return RedisBroker(name)
