"""The application of a block server: the block routes where published clients look for them, and no others
but those that tell how the server fares.

Source: K-101 of the storage contract.
"""

from __future__ import annotations

from pathlib import Path

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.administration import BlockAdministration
from meteorpi_db.blocks.ancestor_objects import holds_ancestor_objects
from meteorpi_db.filestore import LocalFileStore
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import block_api, node_api
from meteorpi_server.app import MeteorApp
from meteorpi_server.block_serving.forgetting import require_lasting_store
from meteorpi_server.settings import Settings

TAKE_OVER = "take it over first, into another directory: meteorpi block import-ancestor DATABASE OBJECTS"


def make_block_app(db: MeteorDatabase, settings: Settings) -> MeteorApp:
    """The application of a block server.

    Args:
        db: of the node.
        settings: of the server.

    Raises:
        ConfigurationError: a setting of blocks cannot be used, or what is served would hide what the
            predecessor keeps there.
    """
    require_lasting_store(settings)
    require_taken_over(db, settings)
    meteor_app = MeteorApp(db=db, settings=settings)
    path = settings.url_path.rstrip("/")
    block_api.add_routes(meteor_app, url_path=f"{path}/api/v0")
    node_api.add_routes(meteor_app, url_path=path)
    return meteor_app


def require_taken_over(db: MeteorDatabase, settings: Settings) -> None:
    """Return unless accounts or objects of the predecessor are there, and nothing is here.

    Clients would be told that their objects do not exist, and begin anew.

    Raises:
        ConfigurationError: it is so.
    """
    administration = BlockAdministration(db.transactions, db.clock)
    if not administration.is_unused():
        return
    if administration.holds_ancestor():
        raise ConfigurationError(f"this is the database of a Qabel block server: {TAKE_OVER}")
    store = db.store if not settings.block_store else None
    root = store.root if isinstance(store, LocalFileStore) else _directory(settings.block_store)
    if root is not None and holds_ancestor_objects(root):
        raise ConfigurationError(f"objects of a Qabel block server are in {root}: {TAKE_OVER}")


def _directory(location: str) -> Path | None:
    return Path(location) if location and "://" not in location and location != "memory:" else None
