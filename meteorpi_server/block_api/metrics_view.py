"""The metrics of blocks, for Prometheus: as one of the routes, and on a port of their own.

Source: K-171 and K-172 of the storage contract.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator
from typing import Final

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from meteorpi_model.errors import ConfigurationError, MeteorError, NotAuthenticatedError
from meteorpi_server import auth
from meteorpi_server.app import MeteorApp
from meteorpi_server.block_accounts.base import GUESSABLE_SECRETS
from meteorpi_server.block_api.current import current_service
from meteorpi_server.block_api.metrics import families_of
from meteorpi_server.block_api.metrics_port import MetricsPort
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.describing import describe
from meteorpi_server.exposition import CONTENT_TYPE, family
from meteorpi_server.settings import Settings

logger = logging.getLogger("meteorpi.block.metrics")

TOTALS_SECONDS: Final = 60
"""Objects are counted at most this often: it takes a while where there are many."""

PASS_ON_SECONDS: Final = 1.0
"""How old figures of other processes are at most, as far as they are not counted together at once."""

_ADMIN: Final = ("camera_admin",)


def add_views(blueprint: Blueprint) -> None:
    """Attach the view of this module."""
    show_metrics.required_roles = _ADMIN  # type: ignore[attr-defined]  # for the description of the routes
    blueprint.add_url_rule("/metrics", view_func=show_metrics, methods=["GET"])


def publish(meteor_app: MeteorApp, url_path: str, name: str, service: BlockService) -> None:
    """Have figures passed on to other processes while the application is served, and open the port for them.

    Args:
        meteor_app: the application.
        url_path: of its block routes, which are attached as `name`.
        service: of these.

    Raises:
        ConfigurationError: nobody could see the metrics, or everybody could guess how.
    """
    settings = meteor_app.settings
    if settings.block_metrics_access == "secret" and settings.block_metrics_secret in GUESSABLE_SECRETS:
        raise ConfigurationError("block_metrics_access needs a block_metrics_secret that nobody guesses")
    figures = service.metrics.figures
    meteor_app.upkeep.add(f"figures {name}", PASS_ON_SECONDS, figures.refresh, at_end=True)
    if settings.block_metrics_port:
        port = MetricsPort(meteor_app.app, f"/{url_path.strip('/')}/metrics", settings)
        meteor_app.upkeep.accompany(port.open, port.close)


@describe(media_type="text/plain")
def show_metrics() -> ResponseReturnValue:
    """Show counts and times in the text format of Prometheus."""
    service = current_service()
    _require_access(service.settings)
    lines = [*service.metrics.figures.lines(), *_database_lines(service)]
    return Response("\n".join(lines) + "\n", content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def _require_access(settings: Settings) -> None:
    match settings.block_metrics_access:
        case "admin":
            auth.authorise(_ADMIN)
        case "secret":
            expected = f"Bearer {settings.block_metrics_secret}"
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode("latin-1"), expected.encode()):
                raise NotAuthenticatedError("whoever may see this knows a secret")


def _database_lines(service: BlockService) -> Iterator[str]:
    """Nothing as long as the database cannot tell: the other figures are wanted all the more."""
    try:
        totals = service.metrics.memo.get("totals", TOTALS_SECONDS, service.register.totals)
    except MeteorError as error:
        logger.warning("objects cannot be counted reason=%s", error)
        return
    for each in families_of(totals):
        yield from family(*each)
