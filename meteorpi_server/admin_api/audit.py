"""The audit log: who changed what, and when."""

from __future__ import annotations

from typing import Final

from flask import request
from flask.typing import ResponseReturnValue

from meteorpi_db import AuditEntry
from meteorpi_model.documents import drop_missing
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject, utc_datetime_to_milliseconds
from meteorpi_server.admin_api.routes import ADMIN, blueprint
from meteorpi_server.auth import requires_auth
from meteorpi_server.context import current_database
from meteorpi_server.describing import describe

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
_MAX_DIGITS: Final = 18


@blueprint.get("/audit")
@requires_auth(ADMIN)
@describe(
    reply={"entries": {"type": "array", "items": {"type": "object"}}},
    parameters=[
        {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": MAX_LIMIT}},
        {"name": "before", "in": "query", "schema": {"type": "integer"}},
    ],
    problems=[400],
)
def list_audit_entries() -> ResponseReturnValue:
    """List what was changed, newest first; `before` takes the smallest `entry_id` of the page before."""
    limit = min(_count("limit") or DEFAULT_LIMIT, MAX_LIMIT)
    entries = current_database().get_audit_log(limit, _count("before"))
    return {"entries": [_document(entry) for entry in entries]}


def _count(name: str) -> int | None:
    text = request.args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidDocumentError(f"{name} must be a whole number", pointer=f"/{name}")
    return int(text)


def _document(entry: AuditEntry) -> JsonObject:
    return drop_missing(
        {
            "entry_id": entry.entry_id,
            "recorded_at": utc_datetime_to_milliseconds(entry.recorded_at),
            "actor": entry.actor,
            "address": entry.address,
            "action": entry.action,
            "subject": entry.subject,
            "detail": entry.detail,
        }
    )
