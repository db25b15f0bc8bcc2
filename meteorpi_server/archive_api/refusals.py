"""Requests that the archive routes refuse, told in two ways: as a problem document, and as FPX told it.

Every problem of these routes carries the member ``errors``, always an object: ``json`` for what is wrong with
a body, ``access`` for rights and limits, ``id`` for what does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from flask import current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from meteorpi_model.errors import ConflictError, InvalidDocumentError
from meteorpi_server import problems

UNPROCESSABLE: Final = 422

_MEMBER_BY_STATUS: Final[Mapping[int, str]] = {
    400: "json", 401: "access", 403: "access", 404: "id", 409: "json", 413: "json", 422: "json",
    429: "access", 503: "access",
}  # fmt: skip


class RefusedRequestError(InvalidDocumentError):
    """A request that can be read and asks for something that cannot be had (422).

    Args:
        errors: what is wrong, by the member it is wrong with; below ``items`` by index.
        detail: one sentence for a person; None makes one of the errors.
        member: ``json`` for what is wrong with a body, ``query`` for what is with the query string.
    """

    def __init__(
        self, errors: Mapping[str, object], detail: str | None = None, *, member: str = "json"
    ) -> None:
        super().__init__(detail or f"the request cannot be used: {json.dumps(errors)[:500]}")
        self.errors = {member: dict(errors)}


class MissingContentsError(ConflictError):
    """Contents that were to be sent are not here, or are others (409).

    Args:
        names: ids of the records, or names of the entries.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__("the contents of some of these files are not here, or are not what they were")
        self.errors = {"json": {"items": names}}


def answer_refusal(error: RefusedRequestError) -> Response:
    """The answer to a request that cannot be used."""
    response = problems.answer_error(error)
    response.status_code = UNPROCESSABLE
    return _with_errors(response, error.errors)


def answer_missing(error: MissingContentsError) -> Response:
    """The answer to a request for contents that are not here."""
    return _with_errors(problems.answer_error(error), error.errors)


def add_errors(response: Response) -> Response:
    """Give a problem document that says it another way, or not at all, the member that FPX had."""
    if response.mimetype != problems.CONTENT_TYPE or response.is_streamed:
        return response
    document = json.loads(response.get_data())
    if isinstance(document.get("errors"), dict):
        return response
    member = _MEMBER_BY_STATUS.get(response.status_code, "request")
    return _with_errors(response, {member: [document["detail"]]})


def refusal(status: int, code: str, detail: str, errors: Mapping[str, object]) -> Response:
    """A problem document with the member that FPX had."""
    return _with_errors(problems.problem(status, code, detail), errors)


def _with_errors(response: Response, errors: Mapping[str, object]) -> Response:
    document = json.loads(response.get_data())
    document |= {
        "status": response.status_code,
        "title": problems.title_of(response.status_code),
        "errors": errors,
    }
    response.set_data(json.dumps(document) + "\n")
    return response


def target_endpoint() -> str:
    """The view that the address of the current request belongs to, whatever the method; empty for none."""
    if request.endpoint is not None:
        return request.endpoint
    adapter = current_app.create_url_adapter(request)
    methods = adapter.allowed_methods() if adapter is not None else ()
    try:
        found = adapter.match(method=next(iter(methods))) if adapter is not None and methods else ("", {})
    except HTTPException:
        return ""
    return str(found[0])
