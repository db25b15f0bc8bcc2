"""Is the process alive, and can it do its work? The second question is for load balancers and watchdogs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from flask.typing import ResponseReturnValue

from meteorpi_model.errors import MeteorError
from meteorpi_server import problems
from meteorpi_server.context import current_database, current_settings
from meteorpi_server.describing import describe
from meteorpi_server.node_api.routes import blueprint

logger = logging.getLogger("meteorpi.server.health")

_CHECKS_SCHEMA: Final = {"type": "object", "additionalProperties": {"type": "string"}}


@blueprint.get("/health")
@describe(reply={"status": {"const": "ok"}})
def show_health() -> ResponseReturnValue:
    """Answer, to show that the process is alive; nothing is looked at."""
    return {"status": "ok"}, 200, {"Cache-Control": "no-store"}


@blueprint.get("/ready")
@describe(reply={"status": {"const": "ok"}, "checks": _CHECKS_SCHEMA}, problems=[503])
def show_readiness() -> ResponseReturnValue:
    """Show whether database and file store answer; 503 names the one that does not."""
    db = current_database()
    checks: dict[str, Callable[[], object]] = {
        "database": db.get_schema_version,
        "file_store": db.stores.everything.check,
    }
    for name, check in checks.items():
        try:
            check()
        except MeteorError as error:
            logger.warning("not ready check=%s detail=%s", name, error.detail)
            return problems.problem(503, "unavailable", f"the {name.replace('_', ' ')} does not answer")
    document = {"status": "ok", "checks": dict.fromkeys(checks, "ok"), **current_settings().named_release}
    return document, 200, {"Cache-Control": "no-store"}
