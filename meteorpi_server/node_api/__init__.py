"""Node routes: health, metrics, and what this node offers, for people, programs and Prometheus."""

from meteorpi_server.node_api import descriptions, gauges, health
from meteorpi_server.node_api.routes import add_routes, blueprint

__all__ = ["add_routes", "blueprint", "descriptions", "gauges", "health"]
