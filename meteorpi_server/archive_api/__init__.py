"""Archive routes: many files, one link, one zip that is made while it is sent."""

from meteorpi_server.archive_api import bundles, directories, downloads, health, streams, tickets, waits
from meteorpi_server.archive_api.routes import add_routes, blueprint

__all__ = [
    "add_routes",
    "blueprint",
    "bundles",
    "directories",
    "downloads",
    "health",
    "streams",
    "tickets",
    "waits",
]
