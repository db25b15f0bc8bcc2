"""Archives without a node, in any server that takes a module, such as gunicorn with threads.

As ``meteorpi archive server run``, whose settings it takes under all their names. Where threads hand on their
connection, as gunicorn's do, there is also the WebSocket in which tickets wait. Give it two threads more than
archives are to be sent at a time::

    gunicorn --worker-class gthread --threads 12 --pythonpath /opt/meteorpi/wsgi archive:application
"""

from __future__ import annotations

import os

from meteorpi_server.archive_server import make_archive_app, tell_of_aliases
from meteorpi_server.fronting import behind_web_server
from meteorpi_server.logs import configure_logging
from meteorpi_server.settings import load_settings

loaded = load_settings(os.environ, aliases=("container", "fpx"))
settings = loaded.settings.without_node()
configure_logging(
    settings.log_level, settings.log_format, path=settings.archive_log_file, config=settings.logging_config
)
tell_of_aliases(loaded)
meteor_app = make_archive_app(settings.open_database(), settings)
meteor_app.begin_serving()
application = behind_web_server(meteor_app.app, settings)
