"""Requests to addresses that somebody else named, such as the URLs in an archive or a node to move from.

The address that is checked is the one that is dialled, at the first request and after every redirect.
"""

from meteorpi_server.outbound.allowed import AllowedSources, UrlPrefix
from meteorpi_server.outbound.answer import Answer
from meteorpi_server.outbound.choosing import transport_called
from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.fetching import Outbound, Request
from meteorpi_server.outbound.locations import Location
from meteorpi_server.outbound.policy import AddressPolicy
from meteorpi_server.outbound.pooled import PooledTransport
from meteorpi_server.outbound.transport import Timeouts, Transport

__all__ = [
    "AddressPolicy",
    "AllowedSources",
    "Answer",
    "Location",
    "Outbound",
    "OutboundError",
    "PooledTransport",
    "Reason",
    "Request",
    "Timeouts",
    "Transport",
    "UrlPrefix",
    "transport_called",
]
