"""Archives without a node: directories and what other servers hold, with clients and tickets of their own.

The database has the schema of a node, so that there is one history of it, and nothing in its tables of
records; there is no file store. Whoever asks for records is told so (422).
"""

from __future__ import annotations

import logging
from pathlib import Path

from flask.typing import ResponseReturnValue

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import archive_api, node_api
from meteorpi_server.app import MeteorApp, current_settings
from meteorpi_server.declarations import declarations
from meteorpi_server.settings import Loaded, Settings

logger = logging.getLogger("meteorpi.archive.server")


def make_archive_app(db: MeteorDatabase, settings: Settings) -> MeteorApp:
    """The application of a server without a node.

    Beside the archive routes it has those that tell how it fares; where the node has nothing, it shows the
    directories that are offered, in debug mode only.

    Args:
        db: of its clients and tickets.
        settings: out of :meth:`Settings.without_node`.

    Raises:
        ConfigurationError: a setting of archives cannot be used.
    """
    storage = settings.archive_storage_path
    if storage and not Path(storage).is_dir():
        variable = declarations(Settings)["archive_storage_path"].variable
        raise ConfigurationError(f"{variable}: {storage} is no directory, or is closed to this account")
    meteor_app = MeteorApp(db=db, settings=settings)
    path = settings.url_path.rstrip("/")
    archive_api.add_routes(meteor_app, url_path=path)
    node_api.add_routes(meteor_app, url_path=path)
    meteor_app.app.add_url_rule(f"{path}/", view_func=show_archives)
    return meteor_app


def tell_of_aliases(loaded: Loaded) -> None:
    """Say in the log which settings came from names of the services before; never what they are."""
    for name, variable in loaded.aliases.items():
        logger.info("setting taken from %s: %s", name, variable or "it has no effect")


def show_archives() -> ResponseReturnValue:
    """Show the directories that are offered, in debug mode only."""
    return archive_api.directories.index_response(current_settings(), base="archive/")
