"""A node in the present process, for development and tests; not meant for production."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from meteorpi_db import MeteorDatabase
from meteorpi_server import admin_api, importer_api, node_api, query_api
from meteorpi_server.app import MeteorApp
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer, stopped_by_signals

SCRIPT_PORT = 12345


class MeteorServer:
    """A database, its application and a server for it.

    The constructor opens the database but no port, so that several instances may exist.

    Attributes:
        db: the database.
        meteor_app: the application.
        server: what is serving at present, or None.
        port: TCP port; 0 becomes the number of a free one when serving starts.

    Args:
        db_path: as for `MeteorDatabase`.
        file_store_path: as for `MeteorDatabase`.
        port: TCP port to listen on.
        add_routes: install all route sets.
        settings: None takes the defaults; host and port in them are not looked at.
    """

    def __init__(
        self,
        db_path: str | None,
        file_store_path: str | None,
        port: int,
        add_routes: bool = True,
        *,
        settings: Settings | None = None,
    ) -> None:
        self._settings = dataclasses.replace(settings or Settings(), host="localhost")
        self.db = MeteorDatabase(db_path=db_path, file_store_path=file_store_path)
        self.meteor_app = MeteorApp(db=self.db, settings=self._settings)
        self.server: StandaloneServer | None = None
        self.port = port
        if add_routes:
            self.add_all_routes(self.meteor_app)

    @staticmethod
    def add_all_routes(meteor_app: MeteorApp) -> None:
        """Add the admin, importer, query and node routes to `meteor_app`, at their default paths."""
        admin_api.add_routes(meteor_app=meteor_app)
        importer_api.add_routes(meteor_app=meteor_app)
        query_api.add_routes(meteor_app=meteor_app)
        node_api.add_routes(meteor_app=meteor_app)

    def base_url(self) -> str:
        """Address of the node, with a slash at its end."""
        return f"http://localhost:{self.port}/"

    def start_non_blocking(self) -> Callable[[], None]:
        """Serve from a thread in the background; calling the result stops it and frees the port."""
        server = self._open()
        thread = threading.Thread(target=server.run, name=f"meteorpi-server-{self.port}", daemon=True)
        thread.start()

        def stop() -> None:
            server.stop()
            thread.join()
            self.server = None

        return stop

    def start(self) -> None:
        """Serve until the process is told to end, or interrupted."""
        server = self._open()
        try:
            with stopped_by_signals(server.stop):
                server.run()
        finally:
            self.server = None

    def _open(self) -> StandaloneServer:
        self.meteor_app.stopping.asked_at = None  # it may be served again
        on_stop = self.meteor_app.stopping.ask
        self.server = StandaloneServer(self.meteor_app.app, self._settings, self.port, on_stop=on_stop)
        self.port = self.server.port
        return self.server
