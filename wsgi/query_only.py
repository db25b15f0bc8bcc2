"""The smallest node: whoever asks may search and read; nothing can be changed, nothing is sent."""

from __future__ import annotations

import os

from meteorpi_server import MeteorApp, query_api
from meteorpi_server.settings import Settings

settings = Settings.load(os.environ)
meteor_app = MeteorApp(db=settings.open_database(), settings=settings)
query_api.add_routes(meteor_app=meteor_app, url_path=settings.url_path)
application = meteor_app.app
