"""Deploy once, where it may be killed: ``python -m tests.deploying.deploy_once ROOT COMMIT STOP``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from meteorpi_server.deploying.deployment import Deployment
from meteorpi_server.deploying.instructions import read_instructions
from meteorpi_server.deploying.ways import Wish

if __name__ == "__main__":
    root, commit, stop = sys.argv[1:]
    deployment = Deployment(read_instructions(Path(root)), os.environ, lambda what, more: None)
    deployment.deploy(commit, Wish(may_stop=stop == "1"))
