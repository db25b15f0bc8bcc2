"""Answers that are errors, turned back into the exceptions they were raised as."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping

import requests

from meteorpi_model import errors
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    InvalidDocumentError,
    MeteorError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    PeerRefusedError,
    PeerUnavailableError,
    StoreFullError,
    TooLargeError,
    TooManyAttemptsError,
    UnavailableError,
)
from meteorpi_model.values import JsonObject

MAX_DETAIL_CHARACTERS = 500
DEFAULT_RETRY_AFTER_SECONDS = 1
_CHUNK_BYTES = 1 << 16
_MAX_PROBLEM_CHUNKS = 16

# For answers without a problem code: proxies, older nodes.
_BY_STATUS: Mapping[int, type[MeteorError]] = {
    400: InvalidDocumentError,
    401: NotAuthenticatedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: DigestMismatchError,
    429: TooManyAttemptsError,
    502: PeerUnavailableError,
    503: UnavailableError,
    504: PeerUnavailableError,
    507: StoreFullError,
}


def error_from_reply(reply: requests.Response) -> MeteorError:
    """The exception that `reply`, whose status is 400 or more, stands for.

    The problem's ``code`` decides; without one (a proxy, an older node) the status does. An internal error of
    the node becomes `PeerRefusedError`: it is not the caller's, and repeating it rarely helps.
    """
    problem = _problem_document(reply)
    detail = (
        _text(problem, "detail") or _text(problem, "message") or f"the node answered HTTP {reply.status_code}"
    )
    kind = _CLASSES.get(_text(problem, "code") or "") or _BY_STATUS.get(reply.status_code, PeerRefusedError)
    context: dict[str, object] = {"http_status": reply.status_code, "url": reply.url}
    if entity_id := _text(problem, "entity_id"):
        context["entity_id"] = entity_id
    detail = detail[:MAX_DETAIL_CHARACTERS]
    if issubclass(kind, TooManyAttemptsError):
        return kind(detail, retry_after_seconds=retry_after_seconds(reply), **context)
    if issubclass(kind, InvalidDocumentError):
        return kind(detail, pointer=_first_pointer(problem), **context)
    return kind(detail, **context)


def retry_after_seconds(reply: requests.Response) -> int:
    """What ``Retry-After`` asks for, in seconds; 1 when it is absent or a date."""
    value = reply.headers.get("Retry-After", "")
    return int(value) if value.isascii() and value.isdigit() else DEFAULT_RETRY_AFTER_SECONDS


def _problem_document(reply: requests.Response) -> JsonObject:
    try:
        document = json.loads(b"".join(_first_chunks(reply)))
    except (requests.RequestException, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _first_chunks(reply: requests.Response) -> Iterator[bytes]:
    """At most about a mebibyte of the body: what calls itself an error may be of any size."""
    return itertools.islice(reply.iter_content(_CHUNK_BYTES), _MAX_PROBLEM_CHUNKS)


def _text(problem: JsonObject, key: str) -> str | None:
    value = problem.get(key)
    return value if isinstance(value, str) and value else None


def _first_pointer(problem: JsonObject) -> str:
    members = problem.get("errors")
    first = members[0] if isinstance(members, list) and members else None
    pointer = first.get("pointer") if isinstance(first, dict) else None
    return pointer if isinstance(pointer, str) else ""


# Only the classes of the tree itself: other packages refine some of them, under the same code.
_CLASSES: Mapping[str, type[MeteorError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MeteorError) and kind is not MeteorError
}
