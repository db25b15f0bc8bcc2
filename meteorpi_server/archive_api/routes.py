"""The archive routes as a package: where the views of its modules come together."""

from __future__ import annotations

from typing import Final, cast

from flask import Blueprint, current_app, request
from werkzeug.wrappers import Response

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.app import MeteorApp
from meteorpi_server.archive_api import gauges, precomputing, refusals, service
from meteorpi_server.archive_api.figures import ArchiveFigures
from meteorpi_server.declarations import declarations
from meteorpi_server.settings import Settings

_EXTENSION: Final = "meteorpi_archive_figures"
_UPKEEP_SECONDS: Final = 60.0

blueprint = Blueprint("archive", __name__, template_folder="templates")


def add_routes(meteor_app: MeteorApp, url_path: str = "", **options: object) -> None:
    """Attach the archive routes to `meteor_app`, below `url_path`.

    Args:
        meteor_app: of the node.
        url_path: path below which they are.
        options: settings of archives that override those of the node, without ``archive_`` before them.

    Raises:
        ConfigurationError: there is no such option, or the value is none of it; or a database of its own is
            named, which archives of a node do not have.
    """
    settings = service.with_options(meteor_app.settings, options)
    if settings.archive_db_url and settings.has_node:
        raise ConfigurationError(
            f"{declarations(Settings)['archive_db_url'].variable} is for `meteorpi archive server run`: the "
            "tickets of a node are in the database of the node"
        )
    meteor_app.attach(blueprint, url_path, version=1, origins=settings.archive_cors_origins)
    figures, services = _figures_of(meteor_app)
    made = service.ArchiveService(meteor_app.db, settings, figures, meteor_app.stopping)
    service.bind(meteor_app.app, meteor_app.attachments[-1].name, made)
    meteor_app.app.before_request(made.rates.way.take)
    meteor_app.app.teardown_request(lambda _error: made.rates.way.give_back())
    services.append(made)
    meteor_app.upkeep.add(f"archives {len(services)}", _UPKEEP_SECONDS, made.keep_up)
    checksums = made.planner.checksums
    if settings.archive_dir_precompute and checksums is not None:
        meteor_app.upkeep.add(
            f"directories {len(services)}",
            precomputing.INTERVAL_SECONDS,
            lambda: precomputing.read_quiet(settings, checksums, meteor_app.db.clock()),
        )


def _figures_of(meteor_app: MeteorApp) -> tuple[ArchiveFigures, list[service.ArchiveService]]:
    """What the archive routes of an application have in common, at however many paths they are."""
    extensions = meteor_app.app.extensions
    if _EXTENSION not in extensions:
        shared: tuple[ArchiveFigures, list[service.ArchiveService]] = (ArchiveFigures(), [])
        extensions[_EXTENSION] = shared
        meteor_app.collectors.append(lambda: gauges.families(*shared))
    return cast(tuple[ArchiveFigures, list[service.ArchiveService]], extensions[_EXTENSION])


@blueprint.before_request
def _sweep() -> None:
    service.current_service().sweep_now_and_then()


@blueprint.after_app_request
def _tell_as_fpx(response: Response) -> Response:
    package = refusals.target_endpoint().rpartition(".")[0]
    is_ours = current_app.blueprints.get(package) is blueprint
    return refusals.add_errors(response) if is_ours and request.method != "OPTIONS" else response


blueprint.register_error_handler(refusals.RefusedRequestError, refusals.answer_refusal)
blueprint.register_error_handler(refusals.MissingContentsError, refusals.answer_missing)
