"""Query routes, open to all: cameras, searches over file records and events, the content of files."""

from meteorpi_server.query_api import cameras, contents, searches
from meteorpi_server.query_api.routes import add_routes, blueprint

__all__ = ["add_routes", "blueprint", "cameras", "contents", "searches"]
