"""A database as a web application: the routes of a node, and how to serve them."""

from meteorpi_server import admin_api, importer_api, node_api, query_api
from meteorpi_server.app import MeteorApp
from meteorpi_server.server import MeteorServer

__all__ = ["MeteorApp", "MeteorServer", "admin_api", "importer_api", "node_api", "query_api"]
