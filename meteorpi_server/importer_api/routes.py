"""The two import routes of section 8.3 of the contract."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, cast

from flask import Blueprint, current_app, request
from flask.typing import ResponseReturnValue

from meteorpi_db.exporting.peer import CONCURRENCY_HEADER
from meteorpi_model.errors import DigestMismatchError, IncompleteBodyError
from meteorpi_model.values import JsonObject
from meteorpi_server import parsing
from meteorpi_server.auth import requires_auth
from meteorpi_server.importer_api import import_request as requests
from meteorpi_server.importer_api.import_request import ImportRequest
from meteorpi_server.importer_api.receiver import BaseImportReceiver, MeteorDatabaseImportReceiver
from meteorpi_server.importer_api.upload import incoming_file

if TYPE_CHECKING:
    from meteorpi_server.app import MeteorApp

blueprint = Blueprint("importer", __name__)
logger = logging.getLogger("meteorpi.server.import")

_HANDLERS: Final = "meteorpi_import_handlers"
_PART: Final = "file"


def add_routes(
    meteor_app: MeteorApp, handler: BaseImportReceiver | None = None, url_path: str = "/import"
) -> None:
    """Attach the import routes to `meteor_app`, below `url_path`.

    Args:
        meteor_app: the application.
        handler: what to do with what arrives; None keeps it in the application's database.
        url_path: several paths with a handler each may be attached.
    """
    meteor_app.attach(blueprint, url_path, version=1)
    handlers = meteor_app.app.extensions.setdefault(_HANDLERS, {})
    handlers[meteor_app.attachments[-1].name] = handler or MeteorDatabaseImportReceiver(db=meteor_app.db)


@blueprint.post("/")
@requires_auth(roles=["import"])
def receive_entity() -> ResponseReturnValue:
    """Take an event, a file record, a camera status, or the name of an entity that was sent before."""
    incoming = ImportRequest.process_request()
    reply = _reply(incoming)
    if reply.get("state") == "failed":
        logger.warning("import failed entity_id=%s reason=%s", incoming.entity_id, reply.get("message"))
    return reply, {CONCURRENCY_HEADER: str(_handler().concurrency)}


@blueprint.post("/data/<file_hex_id>/<md5_hex>")
@requires_auth(roles=["import"])
def receive_file_data(file_hex_id: str, md5_hex: str) -> ResponseReturnValue:
    """Take the content of a file; whether it was accepted shows at the next request for the entity."""
    file_id = parsing.hex_id(file_hex_id, "file id")
    upload = incoming_file(request, _PART)
    refusal = None
    try:
        _handler().receive_file_data(file_id, upload, md5_hex)
    except IncompleteBodyError:
        raise
    except DigestMismatchError as error:
        refusal = error.detail
        logger.warning("upload discarded file_id=%s reason=%s", file_id.hex, refusal)
    upload.finish()
    return ImportRequest.response_continue_after_file(refusal)


def _reply(incoming: ImportRequest) -> JsonObject:
    """What the handler says, or what it means when it says nothing."""
    handler = _handler()
    if incoming.entity_type == requests.EVENT:
        return handler.receive_event(incoming) or incoming.response_complete()
    if incoming.entity_type == requests.FILE:
        return handler.receive_file_record(incoming) or incoming.response_complete()
    if incoming.entity_type == requests.STATUS:
        return handler.receive_status(incoming) or incoming.response_continue()
    if incoming.entity_id is not None:
        return incoming.response_continue()
    return incoming.response_failed("this type of request is not known here")


def _handler() -> BaseImportReceiver:
    handlers = cast("dict[str, BaseImportReceiver]", current_app.extensions[_HANDLERS])
    return handlers[request.blueprint or ""]
