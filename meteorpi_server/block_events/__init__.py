"""Events of blocks for those who listen, in this process and in others.

========================  =================================================
:mod:`.base`              what a broker is, and the one for a single process
:mod:`.database`          the database as a broker
:mod:`.redis_broker`      Redis as a broker
:mod:`.choosing`          a broker as the settings want it
:mod:`.publishing`        telling other processes, in the background
:mod:`.subscribing`       being told by them
:mod:`.listeners`         one who listens
:mod:`.hub`               all who listen in this process
:mod:`.figures`           what is counted
========================  =================================================
"""

from meteorpi_server.block_events.base import EventBroker, LocalBroker
from meteorpi_server.block_events.choosing import open_broker
from meteorpi_server.block_events.figures import CountedEvents, EventFigures
from meteorpi_server.block_events.hub import EventHub, HubLimits
from meteorpi_server.block_events.listeners import GOING_AWAY, End, Listener, Resync, Told

__all__ = [
    "GOING_AWAY",
    "CountedEvents",
    "End",
    "EventBroker",
    "EventFigures",
    "EventHub",
    "HubLimits",
    "Listener",
    "LocalBroker",
    "Resync",
    "Told",
    "open_broker",
]
