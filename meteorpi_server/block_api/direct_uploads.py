"""Views of uploads that a client sends to the object store itself.

Source: K-310 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, jsonify, url_for
from flask.typing import ResponseReturnValue
from werkzeug.http import http_date

from meteorpi_db import limits
from meteorpi_db.blocks.names import tag_of
from meteorpi_db.blocks.uploads import Plan
from meteorpi_model.errors import InvalidDocumentError, NotFoundError
from meteorpi_server import parsing
from meteorpi_server.block_api.current import current_service, needs_account
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.block_api.upload_plans import KEYS, plan_of

_LONGEST: Final = 4096
_NO_STORE: Final = {"Cache-Control": "no-store"}


def add_views(blueprint: Blueprint) -> None:
    """Attach the views of this module."""
    for view in (offer_upload, complete_upload):
        needs_account(view)
    blueprint.add_url_rule("/uploads/direct", view_func=offer_upload, methods=["POST"])
    where = "/uploads/direct/<upload_id>/complete"
    blueprint.add_url_rule(where, view_func=complete_upload, methods=["POST"])


def offer_upload() -> ResponseReturnValue:
    """An address of the object store that takes the bytes of an object."""
    service = _service()
    terms = service.terms_of(service.caller())
    plan = _read_plan(parsing.json_body())
    offer = service.direct.offer(plan, terms)
    complete = url_for(".complete_upload", upload_id=offer.upload_id)
    document = {
        "method": "PUT",
        "url": offer.url,
        "headers": {"Content-Length": str(plan.length)},
        "expires": offer.expires_at.isoformat(timespec="seconds") + "Z",
        "complete": complete,
    }
    return jsonify(document), 201, _NO_STORE


def complete_upload(upload_id: str) -> ResponseReturnValue:
    """Make what was sent to the address the object."""
    service = _service()
    progress = service.direct.complete(upload_id, service.terms_of(service.caller()))
    if progress.stored is not None:
        service.announce(progress.stored.event)
    response = Response(status=204, headers=_NO_STORE)
    assert progress.row.sha256 is not None
    response.headers["ETag"] = tag_of(progress.row.sha256)
    response.headers["Date"] = http_date()
    return response


def _service() -> BlockService:
    service = current_service()
    if not (service.settings.block_direct_uploads and service.direct.is_possible):
        raise NotFoundError("uploads go through this node: it gives no addresses of its store")
    return service


def _read_plan(document: Mapping[str, object]) -> Plan:
    for name in document:
        if name not in KEYS | {"length"}:
            raise InvalidDocumentError(f"nothing of an upload is called {name}", pointer=f"/{name}")
    length = document.get("length")
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise InvalidDocumentError("length is the number of bytes", pointer="/length")
    if "sha256" not in document:
        raise InvalidDocumentError("sha256 is missing", pointer="/sha256")
    said = {
        name: limits.checked_text(value, name, _LONGEST)
        for name, value in document.items()
        if name != "length"
    }
    return plan_of(said, length, "direct")
