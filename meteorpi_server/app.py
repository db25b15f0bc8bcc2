"""A database as a WSGI application. No routes of its own: a deployment attaches the ones it wants."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from meteorpi_db import MeteorDatabase
from meteorpi_model import User
from meteorpi_model.errors import CorruptContentError
from meteorpi_server import auth, context, cors, parsing, problems, thumbnails
from meteorpi_server.context import current_database, current_request_id, current_settings
from meteorpi_server.metrics import REFUSED, Family, Memo, RequestMetrics
from meteorpi_server.settings import Settings
from meteorpi_server.stopping import StopRequest, tell_of_stop
from meteorpi_server.upkeep import Upkeep

__all__ = [
    "Attachment",
    "MeteorApp",
    "current_database",
    "current_meteor_app",
    "current_request_id",
    "current_settings",
]

access = logging.getLogger("meteorpi.server.access")

REQUEST_ID_HEADER: Final = "X-Request-ID"
_EXTENSION: Final = "meteorpi"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Attachment:
    """A route package on this application.

    Attributes:
        name: name of the package, such as ``query``.
        url_path: path below which its routes are.
        version: version of its routes, announced by the node routes.
    """

    name: str
    url_path: str
    version: int


class MeteorApp:
    """A database as a WSGI application.

    Attributes:
        db: the database that the routes work on.
        app: the WSGI callable, a Flask application.
        settings: limits and switches of the routes.
        attachments: the route packages attached so far.
        metrics: counts and times of the requests answered.
        memo: figures that are costly to get, kept for a while.
        collectors: give further metrics, of route packages.
        stopping: whether the process has to end; whoever serves the application asks for it.
        upkeep: what routes want done now and then; whoever serves the application starts it.

    Args:
        db: the database.
        settings: None takes the defaults.
    """

    def __init__(self, db: MeteorDatabase, settings: Settings | None = None) -> None:
        self.db = db
        self.settings = settings or Settings()
        self.attachments: list[Attachment] = []
        self.metrics = RequestMetrics()
        self.memo = Memo()
        self.collectors: list[Callable[[], Iterable[Family]]] = []
        self.stopping = StopRequest()
        self.upkeep = Upkeep()
        self.app = self._make_app()
        self._open_blueprints: set[str] = set()
        self._origins: dict[str, tuple[str, ...]] = {}
        self._accepts_ranges = False

    def _make_app(self) -> Flask:
        # No static folder: a node serves what is attached and nothing else.
        app = Flask("meteorpi_server", static_folder=None)
        # At the front of a path they count as one anyhow; elsewhere a redirect would lose the body of a POST.
        app.url_map.merge_slashes = False
        app.url_map.strict_slashes = False
        app.config["MAX_CONTENT_LENGTH"] = self.settings.max_upload_bytes
        app.json.sort_keys = False  # type: ignore[attr-defined]  # of the provider that Flask comes with
        app.extensions[_EXTENSION] = self
        context.bind(app, self._node_context())
        app.before_request(self._begin_request)
        app.after_request(self._finish_response)
        problems.register_handlers(app)
        app.register_error_handler(CorruptContentError, self._answer_corrupt)
        return app

    def _node_context(self) -> context.NodeContext:
        chosen = self.settings.thumbnail_path
        directory = Path(chosen) if chosen else thumbnails.default_directory(str(self.db.file_store_path))
        shelf = thumbnails.Shelf(
            self.db.store,
            directory,
            self.settings.thumbnail_cache_bytes,
            self.settings.thumbnail_max_pixels,
        )
        return context.NodeContext(self.db, self.settings, shelf)

    def attach(
        self,
        blueprint: Blueprint,
        url_path: str = "",
        version: int = 1,
        *,
        is_open: bool = False,
        accepts_ranges: bool = False,
        origins: tuple[str, ...] = (),
    ) -> None:
        """Add the routes of `blueprint`.

        Args:
            blueprint: the routes; the same one may be attached to several applications.
            url_path: path below which they are, such as ``/api``.
            version: version of the routes, announced by the node routes.
            is_open: pages of any origin may call them (CORS); else only those the settings name.
            accepts_ranges: every reply of the application says ``Accept-Ranges: bytes`` from now on.
            origins: pages of these may call them, beside those that the settings name; ``*`` for any.
        """
        url_path = "/" + url_path.strip("/") if url_path.strip("/") else ""
        name = blueprint.name
        if any(attached.name == name for attached in self.attachments):
            name = f"{name}@{len(self.attachments)}"
        self.app.register_blueprint(blueprint, url_prefix=url_path or None, name=name)
        self.attachments.append(Attachment(name, url_path, version))
        if is_open:
            self._open_blueprints.add(name)
        self._origins[name] = origins
        self._accepts_ranges = self._accepts_ranges or accepts_ranges

    def begin_serving(self) -> None:
        """Do what a process that serves the application has to do beside; for the scripts of web servers.

        Starts what routes want done now and then, and sees to it that they learn when the process has to end.
        """
        self.upkeep.start()
        tell_of_stop(self.stopping.ask)

    @staticmethod
    def success(message: str = "Okay") -> Response:
        """200 with ``{"message": ...}``."""
        return jsonify(message=message)

    @staticmethod
    def not_found(
        entity_id: uuid.UUID | str | None = None, message: str = "Entity not found"
    ) -> BaseResponse:
        """404, a problem document with `message` and `entity_id`."""
        hex_id = entity_id.hex if isinstance(entity_id, uuid.UUID) else entity_id
        return problems.problem(404, "not-found", message, entity_id=hex_id)

    @staticmethod
    def authentication_failure(message: str = "Authorization required") -> BaseResponse:
        """401 with a challenge, a problem document with `message`."""
        return problems.problem(401, "not-authenticated", message)

    @staticmethod
    def get_user() -> User | None:
        """The authenticated account of the current request, or None."""
        return auth.get_user()

    @staticmethod
    def requires_auth(
        roles: Iterable[str] | None = None,
    ) -> Callable[[Callable[..., ResponseReturnValue]], Callable[..., ResponseReturnValue]]:
        """Decorator for views: a valid account with every one of `roles`; None takes any valid account."""
        return auth.requires_auth(roles)

    def _answer_corrupt(self, error: CorruptContentError) -> BaseResponse:
        self.metrics.count_corrupt_read(REFUSED)
        return problems.answer_error(error)

    def _begin_request(self) -> None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        g.meteorpi_request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        g.meteorpi_timer = self.metrics.start()
        parsing.require_readable_query()

    def _finish_response(self, response: BaseResponse) -> BaseResponse:
        response.headers[REQUEST_ID_HEADER] = current_request_id()
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if auth.get_user() is not None:
            response.headers.setdefault("Cache-Control", "no-store")
        if self._accepts_ranges:
            response.headers.setdefault("Accept-Ranges", "bytes")
        cors.add_headers(response, self._allowed_origins())
        started = g.get("meteorpi_timer")
        self.metrics.finish(started, request.method, response.status_code)
        # The web server in front has its own log of requests; this one is for looking closer.
        access.debug(
            "answered method=%s path=%s status=%d seconds=%.3f",
            request.method,
            request.path,
            response.status_code,
            0.0 if started is None else time.perf_counter() - started,
        )
        return response

    def _allowed_origins(self) -> tuple[str, ...]:
        blueprint = cors.target_blueprint()
        if blueprint is None or blueprint in self._open_blueprints:
            return ("*",)
        return (*self.settings.cors_origins, *self._origins.get(blueprint, ()))


def current_meteor_app() -> MeteorApp:
    """The application that handles the current request."""
    return cast(MeteorApp, current_app.extensions[_EXTENSION])
