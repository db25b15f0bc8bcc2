"""How a node is, and what it offers."""

from __future__ import annotations

from meteorpi_client.transport import Transport
from meteorpi_model.values import JsonObject


class NodeClient:
    """The half of a `MeteorClient` that asks about the node itself, where it has the node routes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def health(self) -> JsonObject:
        """What the node says about itself while it is alive; `PeerUnavailableError` when it is not."""
        return self._transport.get_json("/health")

    def readiness(self) -> JsonObject:
        """Whether database and file store can be used.

        Raises:
            UnavailableError: one of them cannot.
        """
        return self._transport.get_json("/ready")

    def capabilities(self) -> JsonObject:
        """Versions, limits, and the route sets that are attached."""
        return self._transport.get_json("/capabilities")
