"""Routes that keep opaque objects below owned prefixes, as published clients of the block server expect them.

::

    from meteorpi_server import MeteorApp, block_api

    block_api.add_routes(meteor_app=meteor_app)
"""

from meteorpi_server.block_api.routes import add_routes

__all__ = ["add_routes"]
