"""Blocks alone, in any server that takes a module, such as gunicorn with threads, and in several processes.

As ``meteorpi block serve``, whose settings it takes under all their names: those of the node, those of the
container of a Qabel block server, and its files. METEORPI_BLOCK_EVENTS says how processes tell each other of
changes::

    METEORPI_BLOCK_EVENTS=database gunicorn --workers 4 --worker-class gthread --threads 12 \\
        --pythonpath /opt/meteorpi/wsgi blocks:application
"""

from __future__ import annotations

import os

from meteorpi_server.block_serving.application import make_block_app
from meteorpi_server.block_serving.loading import Places, load_block_settings
from meteorpi_server.block_serving.logs import configure_block_logging
from meteorpi_server.fronting import behind_web_server

found = load_block_settings(Places(environ=os.environ))
settings = found.loaded.settings
configure_block_logging(found)
found.tell()
meteor_app = make_block_app(settings.open_database(), settings)
meteor_app.begin_serving()
application = behind_web_server(meteor_app.app, settings)
