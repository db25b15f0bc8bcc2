"""Is the process alive, and does it send archives? For containers and load balancers."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from meteorpi_model.errors import UnavailableError
from meteorpi_server.archive_api.routes import blueprint
from meteorpi_server.archive_api.service import current_service
from meteorpi_server.describing import describe


@blueprint.get("/archive/healthz")
@describe(reply={"status": {"const": "ok"}}, problems=[503])
def show_archive_health() -> ResponseReturnValue:
    """Answer, to show that the process is alive; 503 once it was asked to end. Nothing else is looked at."""
    if current_service().is_stopping:
        raise UnavailableError("this server is about to stop")
    return {"status": "ok"}, 200, {"Cache-Control": "no-store"}
