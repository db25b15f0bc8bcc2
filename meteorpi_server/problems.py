"""Errors as RFC 9457 documents: every answer that is not a success has this one form.

``type`` is ``urn:meteorpi:problem:<code>``; ``code``, ``message`` and (where it is known) ``entity_id`` are
extension members, the last two kept from the first generation of the API. The handlers start from
``error.get_response()``, so that ``Allow``, ``WWW-Authenticate`` and ``Retry-After`` survive.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Final
from uuid import UUID

from flask import Flask, request
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response

from meteorpi_model.errors import InvalidDocumentError, MeteorError, TooManyAttemptsError
from meteorpi_model.values import JsonObject

logger = logging.getLogger("meteorpi.server.problems")

TYPE_PREFIX: Final = "urn:meteorpi:problem:"
CONTENT_TYPE: Final = "application/problem+json"
CHALLENGES: Final = ('Basic realm="MeteorPi", charset="UTF-8"', 'Bearer realm="MeteorPi"')

STATUS_BY_CODE: Final[dict[str, int]] = {
    "invalid-document": 400,
    "unknown-status": 400,
    "unknown-entity": 400,
    "incomplete-body": 400,
    "not-authenticated": 401,
    "quota-reached": 402,
    "traffic-reached": 402,
    "not-allowed": 403,
    "not-found": 404,
    "conflict": 409,
    "gone": 410,
    "precondition-failed": 412,
    "too-large": 413,
    "digest-mismatch": 422,
    "locked": 423,
    "too-many-attempts": 429,
    "checksum-mismatch": 460,  # of resumable uploads (tus), not of HTTP
    "internal": 500,
    "configuration": 500,
    "schema-version": 500,
    "peer-unavailable": 502,
    "peer-refused": 502,
    "peer": 502,
    "corrupt": 503,
    "unavailable": 503,
    "accounting-unavailable": 503,
    "busy": 503,
    "store-full": 507,
}
"""HTTP status of each problem code that one of our own errors can have."""

CODE_BY_STATUS: Final[dict[int, str]] = {
    400: "invalid-document",
    401: "not-authenticated",
    403: "not-allowed",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "incomplete-body",
    409: "conflict",
    412: "precondition-failed",
    413: "too-large",
    414: "too-large",
    415: "unsupported-media-type",
    416: "range-not-satisfiable",
    426: "upgrade-required",
    429: "too-many-attempts",
    431: "too-large",
    500: "internal",
    501: "not-implemented",
    503: "unavailable",
    507: "store-full",
}
"""Problem code of errors that the web framework raises by status alone."""

RETRY_AFTER_SECONDS: Final[dict[str, int]] = {"unavailable": 5, "busy": 5, "corrupt": 3600, "store-full": 600}
_HIDDEN_DETAIL: Final = "the server could not handle the request; its log has the reason"


def register_handlers(app: Flask) -> None:
    """Make `app` answer every error, unrouted 404 and 405 included, with a problem document."""
    app.register_error_handler(MeteorError, answer_error)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, answer_unexpected)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    entity_id: str | None = None,
    errors: list[JsonObject] | None = None,
    members: JsonObject | None = None,
) -> Response:
    """A problem document.

    Args:
        status: HTTP status.
        code: last part of the problem type.
        detail: one sentence for a person.
        entity_id: what it is about.
        errors: members that could not be read, as ``{'pointer', 'detail'}``.
        members: further ones, that belong to the code.
    """
    response = Response(status=status)
    _fill(response, code, detail, entity_id=entity_id, errors=errors, members=members)
    if code in RETRY_AFTER_SECONDS:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS[code])
    if status == HTTPStatus.UNAUTHORIZED:
        for challenge in CHALLENGES:
            response.headers.add("WWW-Authenticate", challenge)
    return response


def answer_error(error: MeteorError) -> Response:
    """The answer to one of our own errors."""
    status = STATUS_BY_CODE.get(error.code, 500)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("request failed path=%s code=%s detail=%s", request.path, error.code, error.detail)
    detail = _HIDDEN_DETAIL if status == HTTPStatus.INTERNAL_SERVER_ERROR else error.detail
    errors: list[JsonObject] | None = None
    if isinstance(error, InvalidDocumentError):
        errors = [{"pointer": error.pointer, "detail": error.detail}]
    response = problem(status, error.code, detail, entity_id=_entity_id(error), errors=errors)
    wait_seconds = error.context.get("retry_after_seconds")
    if isinstance(error, TooManyAttemptsError):
        wait_seconds = error.retry_after_seconds
    if isinstance(wait_seconds, int):
        response.headers["Retry-After"] = str(max(1, wait_seconds))
    return response


def answer_http_error(error: HTTPException) -> Response:
    """The answer to an error of the web framework, its headers kept."""
    response = error.get_response()
    status = response.status_code
    if status < HTTPStatus.BAD_REQUEST:
        return response
    code = (
        "incomplete-body" if isinstance(error, ClientDisconnected) else CODE_BY_STATUS.get(status, "internal")
    )
    _fill(response, code, error.description or HTTP_STATUS_CODES[status])
    return response


def answer_unexpected(error: Exception) -> Response:
    """The answer to anything else: logged with its traceback, nothing of it shown."""
    logger.error("unexpected failure method=%s path=%s", request.method, request.path, exc_info=error)
    return problem(500, "internal", _HIDDEN_DETAIL)


def all_codes() -> list[str]:
    """Every problem code that the server can answer with, for documents and tests."""
    return sorted({*STATUS_BY_CODE, *CODE_BY_STATUS.values()})


def title_of(status: int) -> str:
    """The short name of an HTTP status."""
    return HTTP_STATUS_CODES.get(status, "Error")


def _fill(
    response: Response,
    code: str,
    detail: str,
    *,
    entity_id: str | None = None,
    errors: list[JsonObject] | None = None,
    members: JsonObject | None = None,
) -> None:
    document: JsonObject = {
        "type": TYPE_PREFIX + code,
        "title": title_of(response.status_code),
        "status": response.status_code,
        "detail": detail,
        "code": code,
        "message": detail,
    }
    if entity_id is not None:
        document["entity_id"] = entity_id
    if errors is not None:
        document["errors"] = errors
    document |= members or {}
    response.set_data(json.dumps(document) + "\n")
    response.content_type = CONTENT_TYPE
    response.headers["Cache-Control"] = "no-store"


def _entity_id(error: MeteorError) -> str | None:
    entity_id = error.context.get("entity_id")
    if entity_id is None:
        return None
    return entity_id.hex if isinstance(entity_id, UUID) else str(entity_id)
