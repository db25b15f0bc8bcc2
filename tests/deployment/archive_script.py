"""A node by a sample script of ``wsgi/``, and archives: two lines more, for whatever server starts it."""

from __future__ import annotations

import runpy

from meteorpi_server import archive_api
from meteorpi_server.fastcgi import PatientServer
from tests.deployment.deployed import SCRIPTS

_sample = runpy.run_path(str(SCRIPTS / "fastcgi.py"))
archive_api.add_routes(meteor_app=_sample["meteor_app"], url_path=_sample["url_path"])
_sample["meteor_app"].begin_serving()  # what archives want done, too
application = _sample["application"]

if __name__ == "__main__":
    PatientServer(application, _sample["settings"].threads).run()
