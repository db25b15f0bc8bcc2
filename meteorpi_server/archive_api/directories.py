"""Archives of directories, and of published tickets: the unguessable name is the only protection."""

from __future__ import annotations

from typing import Final

from flask import Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from meteorpi_db.archives.tickets import Ticket
from meteorpi_model.errors import NotFoundError
from meteorpi_server import problems
from meteorpi_server.archive_api.answers import archive_response
from meteorpi_server.archive_api.downloads import ticket_response
from meteorpi_server.archive_api.items import DIRECTORY_NAME
from meteorpi_server.archive_api.planning import directory_plan
from meteorpi_server.archive_api.routes import blueprint
from meteorpi_server.archive_api.service import ArchiveService, current_service
from meteorpi_server.archive_api.tree_entries import directories
from meteorpi_server.describing import describe
from meteorpi_server.settings import Settings

GONE: Final = {
    "en": "This archive does not exist, or it was removed.",
    "de": "Dieses Archiv gibt es nicht, oder es wurde entfernt.",
    "es": "Este archivo no existe o ha sido eliminado.",
    "fr": "Cette archive n'existe pas ou a été supprimée.",
}
"""What people are told, whatever the reason; English where they ask for another language."""

POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_JSON_TYPES: Final = ("application/json", problems.CONTENT_TYPE)


@blueprint.get("/archive/<name>/", strict_slashes=True)
@describe(content=True, problems=[404, 409, 412, 416, 429, 503])
def send_directory(name: str) -> ResponseReturnValue:
    """Send the archive of the directory of that name, whole or in ranges."""
    service = current_service()
    if not DIRECTORY_NAME.fullmatch(name):
        return gone_response()
    try:
        ticket = _published(service, name)
        if ticket is not None:
            return ticket_response(service, ticket)
        plan = directory_plan(service.planner, name)
    except NotFoundError:
        return gone_response()
    return archive_response(service, plan, name=name, link=name)


@blueprint.get("/archive/")
@describe(media_type="text/html", problems=[404])
def show_directories() -> ResponseReturnValue:
    """Show the directories that are offered, in debug mode only."""
    return index_response(current_service().settings)


def index_response(settings: Settings, base: str = "") -> Response:
    """The page of the directories that are offered; 404 unless in debug mode.

    Args:
        settings: where directories are, and the mode.
        base: what leads from the address of the page to that of the archives.
    """
    if not settings.archive_debug:
        abort(404)
    names = directories(settings)
    return _page(render_template("meteorpi_archives.html", names=names, base=base), 200)


def _published(service: ArchiveService, name: str) -> Ticket | None:
    """The ticket that was published under that name, if its link is good."""
    try:
        ticket = service.register.published_ticket(name)
    except NotFoundError:
        return None
    return None if ticket.is_gone(service.db.clock()) else ticket


def gone_response() -> Response:
    """404 in the form and the language that the caller asks for."""
    language = request.accept_languages.best_match(list(GONE), default="en")
    text = GONE[str(language)]
    offered = ["text/plain", "text/html", *_JSON_TYPES]
    wanted = request.accept_mimetypes.best_match(offered, default="text/plain")
    if wanted in _JSON_TYPES:
        response = jsonify(
            type=f"{problems.TYPE_PREFIX}not-found",
            title="Not Found",
            status=404,
            detail=text,
            code="not-found",
            message=text,
            errors={"id": [text]},
        )
        response.status_code, response.content_type = 404, problems.CONTENT_TYPE
    elif wanted == "text/html":
        response = _page(render_template("meteorpi_archive_gone.html", text=text, language=language), 404)
    else:
        response = Response(f"{text}\n", 404, content_type="text/plain; charset=utf-8")
    response.headers["Content-Language"] = str(language)
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(["Accept", "Accept-Language"])
    return response


def _page(text: str, status: int) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return Response(text, status, content_type="text/html; charset=utf-8", headers=headers)
