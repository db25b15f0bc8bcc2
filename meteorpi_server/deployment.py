"""A node as its settings describe it: which route packages, below which path, and its exporter."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Final

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import admin_api, importer_api, night_page, node_api, query_api
from meteorpi_server.app import MeteorApp
from meteorpi_server.settings import Settings
from meteorpi_server.stopping import tell_of_stop

ROUTE_PACKAGES: Final[dict[str, Callable[[MeteorApp, str], None]]] = {
    "admin": lambda meteor_app, path: admin_api.add_routes(meteor_app, url_path=path),
    "importer": lambda meteor_app, path: importer_api.add_routes(meteor_app, url_path=f"{path}/import"),
    "query": lambda meteor_app, path: query_api.add_routes(meteor_app, url_path=path),
    "node": lambda meteor_app, path: node_api.add_routes(meteor_app, url_path=path),
    "night": lambda meteor_app, path: night_page.add_routes(meteor_app, url_path=path),
    "archive": lambda meteor_app, path: _add_archive_routes(meteor_app, path),
    "block": lambda meteor_app, path: _add_block_routes(meteor_app, path),
}
"""How each route package is attached below a path."""


def _add_archive_routes(meteor_app: MeteorApp, path: str) -> None:
    from meteorpi_server import archive_api  # a node that offers no archives loads nothing of them

    archive_api.add_routes(meteor_app, url_path=path)


def _add_block_routes(meteor_app: MeteorApp, path: str) -> None:
    from meteorpi_server import block_api
    from meteorpi_server.block_serving.forgetting import require_lasting_store

    require_lasting_store(meteor_app.settings)
    # Published clients add this path to the address that they are given, whatever that ends with.
    block_api.add_routes(meteor_app, url_path=f"{path}/api/v0")


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


def make_exporter(
    db: MeteorDatabase, settings: Settings, on_progress: Callable[[], None] = lambda: None
) -> MeteorExporter:
    """An exporter with the intervals of `settings`; it starts nothing."""
    return MeteorExporter(
        db=db,
        mark_interval_seconds=settings.mark_interval_seconds,
        max_failures_before_disable=settings.max_failures_before_disable,
        defer_on_failure_seconds=settings.defer_on_failure_seconds,
        on_progress=on_progress,
    )


def start_exporter(db: MeteorDatabase, settings: Settings) -> MeteorExporter:
    """Export in the background for as long as this process lives, as scripts of web servers do.

    Every process may start one: a lease in the database keeps a single exporter at work. When the process is
    told to end nothing is begun any more; when the interpreter ends in good order the work in progress is
    stopped and the lease given back, so that another process goes on at once.
    """
    exporter = make_exporter(db, settings)
    tell_of_stop(exporter.stop)

    def stop() -> None:
        exporter.close()
        if exporter.scheduler.running:
            exporter.scheduler.shutdown(wait=False)

    atexit.register(stop)
    exporter.scheduler.start()
    return exporter
