"""A page to look at: the latest night of a node, its events and pictures.

It needs the query routes beside it.
"""

from meteorpi_server.night_page.views import add_routes, blueprint

__all__ = ["add_routes", "blueprint"]
