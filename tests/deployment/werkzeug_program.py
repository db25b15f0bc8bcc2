"""Serve a WSGI script with werkzeug's development server.

usage: python -m tests.deployment.werkzeug_program SCRIPT PORT
"""

from __future__ import annotations

import runpy
import signal
import sys
from types import FrameType
from typing import NoReturn

from werkzeug.serving import make_server

from meteorpi_db.testing.processes import LOOPBACK


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit()


def main(script: str, port: str) -> None:
    """Serve until SIGTERM."""
    application = runpy.run_path(script)["application"]
    signal.signal(signal.SIGTERM, _stop)
    make_server(LOOPBACK, int(port), application, threaded=True).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
