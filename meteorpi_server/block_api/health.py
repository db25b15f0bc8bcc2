"""Is the process alive, can it keep blocks, and what does it offer?

Source: K-170 and I-07 of the storage contract.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from meteorpi_db.filestore.measured import kind_of
from meteorpi_model.errors import MeteorError
from meteorpi_server.block_api.current import current_service
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.versions import software_version

logger = logging.getLogger("meteorpi.block.health")

OTHERS_SECONDS: Final = 5.0
"""How long an answer about the accounting server or the broker is good: anybody may ask, and each costs a
request."""

_NO_STORE: Final = {"Cache-Control": "no-store"}


def add_views(blueprint: Blueprint) -> None:
    """Attach the views of this module."""
    blueprint.add_url_rule("/health", view_func=show_health, methods=["GET"])
    blueprint.add_url_rule("/ready", view_func=show_readiness, methods=["GET"])
    blueprint.add_url_rule("/info", view_func=show_info, methods=["GET"])


def show_health() -> ResponseReturnValue:
    """Answer, to show that the process is alive; nothing is looked at."""
    return {"status": "ok"}, 200, _NO_STORE


def show_readiness() -> ResponseReturnValue:
    """Whether database, store, accounts and broker answer; 503 when one of the first three does not."""
    service = current_service()
    found = {
        "database": _look("database", service.register.check),
        "store": _look("store", service.store.check),
        "accounts": service.memo.get("accounts", OTHERS_SECONDS, lambda: _accounts(service)),
        "events": service.memo.get("events", OTHERS_SECONDS, lambda: _events(service)),
    }
    # Without a broker events are late, and that is all.
    is_ready = all(each["state"] == "ok" for name, each in found.items() if name != "events")
    status = "ok" if is_ready else "unavailable"
    document = {"status": status, "checks": found, **service.settings.named_release}
    return jsonify(document), 200 if is_ready else 503, _NO_STORE


def show_info() -> ResponseReturnValue:
    """Version, limits and what is offered; no addresses."""
    service = current_service()
    return jsonify(
        software=f"MeteorPi {software_version()}",
        accounts=service.accounts.name,
        store=kind_of(service.store),
        max_body_bytes=service.settings.block_max_body_bytes,
        read_policy=service.settings.block_read_policy,
        append_only=service.settings.block_append_only,
        retain_days=service.settings.block_retain_days,
        features=_features(service),
    )


def _features(service: BlockService) -> list[str]:
    found = ["conditions", "digests", "events", "links", "listing", "ranges", "resumable-uploads"]
    if service.settings.block_offload != "none":
        found.append("offload")
    if service.settings.block_direct_uploads and service.direct.is_possible:
        found.append("direct-uploads")
    return found


def _accounts(service: BlockService) -> dict[str, Any]:
    found = _look("accounts", service.accounts.check)
    stale = service.accounts.counted().stale
    return found | {"stale_answers": stale} if stale else found


def _events(service: BlockService) -> dict[str, Any]:
    return _look("events", service.events.broker.check)


def _look(name: str, check: Callable[[], object]) -> dict[str, Any]:
    begun, state = time.monotonic(), "ok"
    try:
        check()
    except MeteorError as error:
        logger.warning("not ready check=%s detail=%s", name, error.detail)
        state = error.code
    return {"state": state, "milliseconds": round(1000 * (time.monotonic() - begun), 1)}
