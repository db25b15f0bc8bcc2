"""Export configurations: what is pushed where, how it goes, and starting again after a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from flask.typing import ResponseReturnValue

from meteorpi_db import ExportState
from meteorpi_model import EventSearch, ExportConfiguration, FileRecordSearch
from meteorpi_model.documents import as_text, drop_missing, read, read_optional
from meteorpi_model.errors import InvalidDocumentError, NotFoundError
from meteorpi_model.values import JsonObject, utc_datetime_to_milliseconds
from meteorpi_server import parsing
from meteorpi_server.admin_api.routes import ADMIN, blueprint
from meteorpi_server.app import MeteorApp
from meteorpi_server.auth import record_audit, requires_auth
from meteorpi_server.context import current_database, current_settings
from meteorpi_server.describing import describe

_TEXT: Final = {"type": "string"}
_STATE: Final = {
    "type": "object",
    "properties": {
        "config_id": _TEXT,
        "pending": {"type": "integer"},
        "total": {"type": "integer"},
        "failures": {"type": "integer"},
        "last_error": _TEXT,
        "last_failure_at": {"type": "integer"},
        "last_success_at": {"type": "integer"},
        "suspended": {"type": "boolean"},
        "next_probe_at": {"type": "integer"},
    },
}


@blueprint.get("/export")
@requires_auth(ADMIN)
@describe(reply={"configs": ["export_configuration"]})
def list_export_configurations() -> ResponseReturnValue:
    """List every export configuration, newest first, without passwords."""
    configs = current_database().get_export_configurations()
    return {"configs": [_without_password(config) for config in configs]}


@blueprint.post("/export")
@requires_auth(ADMIN)
@describe(
    body={
        "type": {"enum": ["file", "event"]},
        "target_url": _TEXT,
        "user_id": _TEXT,
        "password": _TEXT,
        "name": _TEXT,
        "description": _TEXT,
    },
    reply={"config": "export_configuration"},
    problems=[400],
)
def create_export_configuration() -> ResponseReturnValue:
    """Create an export configuration, disabled, that matches everything of its type."""
    body = parsing.json_body()
    config = ExportConfiguration(
        target_url=read(body, "target_url", _as_target_url),
        user_id=read(body, "user_id", as_text),
        password=read(body, "password", as_text),
        search=read(body, "type", _as_search_for_all),
        name=read(body, "name", as_text),
        description=read_optional(body, "description", as_text) or "",
    )
    stored = current_database().create_or_update_export_configuration(config)
    record_audit("export.create", _hex(stored), stored.target_url)
    return {"config": _without_password(stored)}


@blueprint.get("/export/<config_id>")
@requires_auth(ADMIN)
@describe(reply={"config": "export_configuration"}, problems=[400, 404])
def show_export_configuration(config_id: str) -> ResponseReturnValue:
    """Show one export configuration, without its password."""
    return {"config": _without_password(_known(parsing.hex_id(config_id)))}


@blueprint.put("/export/<config_id>")
@requires_auth(ADMIN)
@describe(body_document="export_configuration", reply={"message": _TEXT}, problems=[400, 404])
def save_export_configuration(config_id: str) -> ResponseReturnValue:
    """Replace an export configuration; an absent or masked password leaves the stored one as it is."""
    known_id = parsing.hex_id(config_id)
    body = dict(parsing.json_body())
    if _is_masked(body.get("password")):
        del body["password"]
    config = ExportConfiguration.from_dict(body)
    if config.config_id not in (None, known_id):
        raise InvalidDocumentError("config_id is not the id in the path", pointer="/config_id")
    read(body, "target_url", _as_target_url)
    _known(known_id)
    config.config_id = known_id
    current_database().create_or_update_export_configuration(config)
    record_audit("export.update", known_id.hex, f"{config.target_url} enabled={config.enabled}")
    return MeteorApp.success()


@blueprint.delete("/export/<config_id>")
@requires_auth(ADMIN)
@describe(reply={"message": _TEXT}, problems=[400])
def delete_export_configuration(config_id: str) -> ResponseReturnValue:
    """Delete an export configuration and its tasks; no error when there is none."""
    found_id = parsing.hex_id(config_id)
    current_database().delete_export_configuration(found_id)
    record_audit("export.delete", found_id.hex)
    return MeteorApp.success()


@blueprint.get("/export/states")
@requires_auth(ADMIN)
@describe(reply={"states": {"type": "array", "items": _STATE}})
def list_export_states() -> ResponseReturnValue:
    """List how each export configuration is doing: tasks, failures and their reason, suspension."""
    return {"states": [_state(state) for state in current_database().get_export_states()]}


@blueprint.post("/export/<config_id>/resume")
@requires_auth(ADMIN)
@describe(reply={"state": _STATE}, problems=[400, 404])
def resume_export(config_id: str) -> ResponseReturnValue:
    """Enable an export configuration again after failures, and make its tasks due now."""
    known_id = parsing.hex_id(config_id)
    _known(known_id)
    current_database().resume_export(known_id)
    record_audit("export.resume", known_id.hex)
    states = current_database().get_export_states()
    return {"state": next(_state(state) for state in states if state.config_id == known_id)}


def _known(config_id: UUID) -> ExportConfiguration:
    config = current_database().get_export_configuration(config_id)
    if config is None:
        raise NotFoundError("no such export configuration", entity_id=config_id)
    return config


def _hex(config: ExportConfiguration) -> str:
    return "" if config.config_id is None else config.config_id.hex


def _without_password(config: ExportConfiguration) -> JsonObject:
    document = config.as_dict()
    document.pop("password", None)
    return document


def _is_masked(password: object) -> bool:
    """Whether a password stands for the stored one: pages show it as nothing, or as asterisks or dots."""
    return isinstance(password, str) and not password.strip("*\N{BULLET}")


def _state(state: ExportState) -> JsonObject:
    return drop_missing(
        {
            "config_id": state.config_id.hex,
            "pending": state.pending,
            "total": state.total,
            "failures": state.failures,
            "last_error": state.last_error,
            "last_failure_at": utc_datetime_to_milliseconds(state.last_failure_at),
            "last_success_at": utc_datetime_to_milliseconds(state.last_success_at),
            "suspended": state.suspended,
            "next_probe_at": utc_datetime_to_milliseconds(state.next_probe_at),
        }
    )


def _as_search_for_all(value: object) -> FileRecordSearch | EventSearch:
    searches: Mapping[object, type[FileRecordSearch | EventSearch]] = {
        "file": FileRecordSearch,
        "event": EventSearch,
    }
    if value not in ("file", "event"):
        raise InvalidDocumentError(f"type must be 'file' or 'event', not {value!r}")
    return searches[value](limit=0)


def _as_target_url(value: object) -> str:
    """An address that may be pushed to: HTTP, with a host, and one that the settings allow."""
    text = as_text(value)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidDocumentError(f"{text[:200]!r} is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise InvalidDocumentError("target_url must be a complete http or https address")
    if parts.username is not None or parts.password is not None:
        raise InvalidDocumentError("target_url must not hold credentials; user_id and password are for that")
    allowed = current_settings().export_target_hosts
    if allowed and host not in {name.lower() for name in allowed}:
        raise InvalidDocumentError(
            f"this node may not push to {host}: METEORPI_EXPORT_TARGET_HOSTS has the list"
        )
    return text
