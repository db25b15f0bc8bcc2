"""The block routes as a package: where the views of its modules come together.

Source: part C of the storage contract.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from flask import Blueprint

from meteorpi_db.filestore import FileStore
from meteorpi_server.app import MeteorApp
from meteorpi_server.block_accounts import AccountSource
from meteorpi_server.block_api import (
    accounting_routes,
    current,
    direct_uploads,
    event_streams,
    health,
    measuring,
    metrics_view,
    objects,
    prefixes,
    refusals,
    service,
    sockets,
    uploads,
)
from meteorpi_server.block_api.leaving import LOOK_SECONDS
from meteorpi_server.block_api.traffic import WRITE_SECONDS
from meteorpi_server.block_events import EventBroker
from meteorpi_server.settings import Settings

SWEEP_SECONDS: Final = 60.0

blueprint = Blueprint("block", __name__)
accounting_routes.add_views(blueprint)
objects.add_views(blueprint)
prefixes.add_views(blueprint)
health.add_views(blueprint)
sockets.add_views(blueprint)
event_streams.add_views(blueprint)
uploads.add_views(blueprint)
direct_uploads.add_views(blueprint)
metrics_view.add_views(blueprint)
measuring.measure(blueprint)
refusals.add_handlers(blueprint)


def add_routes(
    meteor_app: MeteorApp,
    url_path: str = "/api/v0",
    *,
    accounts: AccountSource | None = None,
    store: FileStore | None = None,
    events: EventBroker | None = None,
    accounting_routes: bool | None = None,
) -> None:
    """Attach the block routes to `meteor_app`, below `url_path`.

    Args:
        meteor_app: of the node.
        url_path: path below which they are; published clients expect the default.
        accounts: who knows accounts; None as the settings say.
        store: where bytes are kept; None is the node's.
        events: wakes those who listen in other processes; None as the settings say.
        accounting_routes: answer other servers about accounts; None as the settings say.

    Raises:
        ConfigurationError: the settings lack something that the accounts need.
    """
    made = service.BlockService(
        meteor_app.db, _settings(meteor_app, accounting_routes), accounts, store, events, meteor_app.stopping
    )
    meteor_app.attach(blueprint, url_path, version=0)
    current.bind(meteor_app.app, meteor_app.attachments[-1].name, made)
    sockets.tell_of_absence()
    name = meteor_app.attachments[-1].name
    meteor_app.upkeep.add(f"blocks {name}", SWEEP_SECONDS, made.keep_up)
    metrics_view.publish(meteor_app, url_path, name, made)
    meteor_app.upkeep.accompany(None, made.accounts.close)
    meteor_app.upkeep.add(f"leaving {name}", LOOK_SECONDS, made.leaving.look)
    meteor_app.upkeep.add(f"traffic {name}", WRITE_SECONDS, made.traffic.write, at_end=True)


def _settings(meteor_app: MeteorApp, accounting_routes: bool | None) -> Settings:
    if accounting_routes is None:
        return meteor_app.settings
    return replace(meteor_app.settings, block_accounting_routes=accounting_routes)
