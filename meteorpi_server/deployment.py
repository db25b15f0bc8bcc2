"""A node as its settings describe it: which route packages, below which path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import admin_api, importer_api, night_page, node_api, query_api
from meteorpi_server.app import MeteorApp
from meteorpi_server.settings import Settings

ROUTE_PACKAGES: Final[dict[str, Callable[[MeteorApp, str], None]]] = {
    "admin": lambda meteor_app, path: admin_api.add_routes(meteor_app, url_path=path),
    "importer": lambda meteor_app, path: importer_api.add_routes(meteor_app, url_path=f"{path}/import"),
    "query": lambda meteor_app, path: query_api.add_routes(meteor_app, url_path=path),
    "node": lambda meteor_app, path: node_api.add_routes(meteor_app, url_path=path),
    "night": lambda meteor_app, path: night_page.add_routes(meteor_app, url_path=path),
}
"""How each route package is attached below a path."""


def make_meteor_app(db: MeteorDatabase, settings: Settings) -> MeteorApp:
    """The application that `settings` describe, on `db`.

    Raises:
        ConfigurationError: there is no such route package.
    """
    meteor_app = MeteorApp(db=db, settings=settings)
    for name in settings.routes:
        if name not in ROUTE_PACKAGES:
            known = ", ".join(ROUTE_PACKAGES)
            raise ConfigurationError(
                f"METEORPI_ROUTES: there is no route package {name!r}; there are {known}"
            )
        ROUTE_PACKAGES[name](meteor_app, settings.url_path.rstrip("/"))
    return meteor_app
