"""A node under Apache with mod_wsgi, or any server that takes a module: all routes, and perhaps the exporter.

Settings come from ``/etc/meteorpi/meteorpi.toml``. Apache's ``SetEnv`` cannot change them: it acts on
requests, after this script has run. ``apache.conf`` beside this file is a complete configuration.
"""

from __future__ import annotations

import os

from meteorpi_server import MeteorApp, admin_api, importer_api, node_api, query_api
from meteorpi_server.deployment import start_exporter
from meteorpi_server.fronting import behind_web_server
from meteorpi_server.logs import configure_logging
from meteorpi_server.settings import Settings

settings = Settings.load(os.environ)
configure_logging(settings.log_level, settings.log_format, config=settings.logging_config)
db = settings.open_database()
meteor_app = MeteorApp(db=db, settings=settings)

# What this node offers is this list, whatever METEORPI_ROUTES says to `meteorpi serve`.
url_path = settings.url_path.rstrip("/")
admin_api.add_routes(meteor_app=meteor_app, url_path=url_path)
importer_api.add_routes(meteor_app=meteor_app, url_path=f"{url_path}/import")
query_api.add_routes(meteor_app=meteor_app, url_path=url_path)
node_api.add_routes(meteor_app=meteor_app, url_path=url_path)

if settings.export:
    start_exporter(db, settings)

meteor_app.begin_serving()
application = behind_web_server(meteor_app.app, settings)
