"""An application with one request that lasts as long as a test wants, under each server a node may run on.

usage: python -m tests.system.held_app SERVER ADDRESS    SERVER is a key of `SERVERS`, ADDRESS its port

TEST_DB_PATH names the database, TEST_DIRECTORY a directory for the file store and for talking to the test:
the view makes the file ``begun``, and goes on when the pipe ``go`` was opened for writing and closed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from flask import Flask

from meteorpi_db import MeteorDatabase
from meteorpi_server import MeteorApp, MeteorServer, query_api
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import serve

DIRECTORY = Path(os.environ["TEST_DIRECTORY"])
DB_PATH = os.environ["TEST_DB_PATH"]
FILE_STORE_PATH = str(DIRECTORY / "files")


def add_held_view(meteor_app: MeteorApp) -> Flask:
    """Add ``GET /held``, which asks the database before and after it was held up."""

    def held() -> dict[str, object]:
        before = meteor_app.db.get_cameras()
        (DIRECTORY / "begun").touch()
        (DIRECTORY / "go").read_bytes()
        return {"before": before, "after": meteor_app.db.get_cameras()}

    meteor_app.app.add_url_rule("/held", view_func=held)
    return meteor_app.app


def make_application() -> Flask:
    """The application as a deployment makes it; gunicorn, Apache and the like call this."""
    db = MeteorDatabase(db_path=DB_PATH, file_store_path=FILE_STORE_PATH)
    meteor_app = MeteorApp(db=db)
    query_api.add_routes(meteor_app=meteor_app)
    return add_held_view(meteor_app)


def serve_alone(port: int) -> None:
    serve(make_application(), Settings(port=port))


def serve_for_development(port: int) -> None:
    server = MeteorServer(db_path=DB_PATH, file_store_path=FILE_STORE_PATH, port=port)
    add_held_view(server.meteor_app)
    server.start()


def serve_with_cheroot(port: int) -> None:
    from cheroot.wsgi import Server

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit()

    server = Server(("127.0.0.1", port), make_application(), numthreads=4)
    signal.signal(signal.SIGTERM, stop)
    server.safe_start()  # turns SystemExit into an orderly stop


def serve_with_flup(_port: int) -> None:
    from flup.server.fcgi import WSGIServer

    WSGIServer(make_application()).run()


SERVERS: dict[str, Callable[[int], None]] = {
    "MeteorServer": serve_for_development,
    "cheroot": serve_with_cheroot,
    "flup": serve_with_flup,
    "standalone": serve_alone,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]))
