"""The admin routes as a package: where the views of its modules come together."""

from __future__ import annotations

from typing import Final

from flask import Blueprint

from meteorpi_server.app import MeteorApp

ADMIN: Final = ("camera_admin",)
"""Roles that every admin route but the login asks for."""

blueprint = Blueprint("admin", __name__)


def add_routes(meteor_app: MeteorApp, url_path: str = "") -> None:
    """Attach the admin routes to `meteor_app`, below `url_path`."""
    meteor_app.attach(blueprint, url_path, version=1)
