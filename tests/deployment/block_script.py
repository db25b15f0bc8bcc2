"""A node by a sample script of ``wsgi/``, and blocks: two lines more, for whatever server starts it."""

from __future__ import annotations

import runpy

from meteorpi_server import block_api
from meteorpi_server.fastcgi import PatientServer
from tests.deployment.deployed import SCRIPTS

_sample = runpy.run_path(str(SCRIPTS / "fastcgi.py"))
block_api.add_routes(meteor_app=_sample["meteor_app"], url_path=f"{_sample['url_path'].rstrip('/')}/api/v0")
_sample["meteor_app"].begin_serving()  # what blocks want done, too
application = _sample["application"]

if __name__ == "__main__":
    PatientServer(application, _sample["settings"].threads).run()
