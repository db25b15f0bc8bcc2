"""The query routes as a package: where the views of its modules come together."""

from __future__ import annotations

from flask import Blueprint

from meteorpi_server.app import MeteorApp

blueprint = Blueprint("query", __name__)


def add_routes(meteor_app: MeteorApp, url_path: str = "") -> None:
    """Attach the query routes to `meteor_app`, below `url_path`."""
    meteor_app.attach(blueprint, url_path, version=1, is_open=True, accepts_ranges=True)
