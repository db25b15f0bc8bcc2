"""A WSGI script for a test: the node's application, and a note of each file that it lends to the server."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from meteorpi_server import MeteorApp, archive_api, query_api
from meteorpi_server.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

settings = Settings.load(os.environ)
meteor_app = MeteorApp(db=settings.open_database(), settings=settings)
query_api.add_routes(meteor_app, "/api")
archive_api.add_routes(meteor_app, "/api")
NOTES = Path(settings.file_store).parent / "lent"


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The node's answer, as the server gets it."""
    answer = meteor_app.app(environ, start_response)
    if isinstance(answer, environ["wsgi.file_wrapper"]):
        with NOTES.open("a") as notes:
            notes.write(f"{environ.get('HTTP_RANGE', 'whole')}\n")
    return answer
