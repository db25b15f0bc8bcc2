"""One file of another server through this one, for a link that a client signed itself.

The status is decided by the answer of the source, before the first byte: what cannot be had is an error,
never an empty success. The source is asked once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import Headers
from werkzeug.http import http_date, parse_options_header
from werkzeug.wrappers import Response

from meteorpi_db.archives.clients import Client
from meteorpi_db.archives.tickets import Owner
from meteorpi_model.errors import (
    InvalidDocumentError,
    MeteorError,
    NotAllowedError,
    UnavailableError,
)
from meteorpi_server.archive_api.deliveries import FAILED, Delivery
from meteorpi_server.archive_api.readers import Reader
from meteorpi_server.archive_api.refusals import refusal
from meteorpi_server.archive_api.remote_items import may_ask
from meteorpi_server.archive_api.routes import blueprint
from meteorpi_server.archive_api.service import ArchiveService, current_service
from meteorpi_server.archive_api.signed_links import SignedLink, read_link
from meteorpi_server.archive_api.slots import Claim, Slot
from meteorpi_server.archiving.entry_names import clean_component, name_of_url
from meteorpi_server.content import SANDBOX, Chunks
from meteorpi_server.describing import describe
from meteorpi_server.outbound import Answer, OutboundError, Reason, Request

DEFAULT_TYPE: Final = "application/octet-stream"

# All that a browser shows and never runs; whatever else there may be, such as HTML and SVG, is kept.
_SHOWN_TYPES: Final = re.compile(
    r"(image/(?!svg)|audio/|video/)[a-z0-9.-]+|text/plain|application/(octet-stream|pdf|json)"
)
_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?")
_REFUSED: Final = frozenset({Reason.REFUSED_URL, Reason.REFUSED_ADDRESS, Reason.REFUSED_HEADER})
_UNSATISFIABLE: Final = 416


@blueprint.get("/stream/url/<token>")
@describe(
    content=True,
    parameters=[{"name": "client", "in": "query", "required": True, "schema": {"type": "string"}}],
    problems=[403, 404, 416, 422, 502, 503, 504],
)
def stream_link(token: str) -> ResponseReturnValue:
    """Send what the address in a token leads to, a JSON Web Token signed (HS256) with a client's secret.

    Claims are `url`, `content-type`, `response_headers`, `exp` and `nbf`. A range is passed on to the source.
    """
    service = current_service()
    try:
        client = _client(service)
        link = _link(service, client, token)
        return _stream(service, client, link)
    except _AnsweredError as error:
        return error.response


class _AnsweredError(Exception):
    """The request has its answer. Nothing of it is logged: the address of the request is a secret."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _client(service: ArchiveService) -> Client:
    name = request.args.get("client")
    if not name:
        errors = {"query": {"client": ["Missing data for required field."]}}
        raise _AnsweredError(refusal(422, "invalid-document", "client is missing", errors))
    client = service.register.client(name)
    if client is None or not client.is_enabled:
        detail = "there is no such client"
        raise _AnsweredError(refusal(404, "not-found", detail, {"client": [detail]}))
    return client


def _link(service: ArchiveService, client: Client, token: str) -> SignedLink:
    try:
        link = _verified(service, client, token)
    except InvalidDocumentError as error:
        answer = refusal(422, error.code, error.detail, {"url": [error.detail]})
        raise _AnsweredError(answer) from error
    except NotAllowedError as error:
        raise _AnsweredError(_no_access(403, error)) from error
    return link


def _verified(service: ArchiveService, client: Client, token: str) -> SignedLink:
    if client.signing_key is None:
        raise InvalidDocumentError("this client has no secret that can sign")
    requires_expiry = service.settings.archive_stream_require_exp or client.rights.requires_expiry
    link = read_link(token, client.signing_key, time.time(), requires_expiry=requires_expiry)
    if not may_ask(client.rights, link.url):
        raise NotAllowedError("this client may not ask for that address")
    return link


def _stream(service: ArchiveService, client: Client, link: SignedLink) -> Response:
    claim = Claim(
        link=f"stream:{uuid4().hex}",
        owner=Owner(client_id=client.client_id).key,
        most_of_owner=client.limits.downloads,
        reader=Reader.of(request.environ),
    )
    try:
        slot = service.slot(claim) if request.method == "GET" else Slot(claim, lambda _: None)
    except UnavailableError as error:
        raise _AnsweredError(_no_access(503, error)) from error
    return relayed(service, link, {}, slot)


def relayed(service: ArchiveService, link: SignedLink, headers: Mapping[str, str], slot: Slot) -> Response:
    """What `link` leads to, or why it cannot be had; `slot` is given back in any case.

    Args:
        service: of the route.
        link: what to ask for, and what to call it.
        headers: sent along.
        slot: taken already.
    """
    asked = _request(link.url, headers)
    _count(service, asked)
    try:
        answer = service.remote.outbound.get(asked)
    except BaseException as error:
        slot.end()
        _note(service, slot)(slot.stop_reason or _reason_of(service, error))
        if isinstance(error, OutboundError):
            return _source_failed(error)
        raise
    slot.cut_by(answer.interrupt)
    slot.total_bytes = answer.size
    try:
        content = deliver(service, _Content(answer), slot)
    except OutboundError as error:
        return _source_failed(error)
    response = Response(content, answer.status)
    _set_headers(response, answer, link)
    return response


def _no_access(status: int, error: MeteorError) -> Response:
    return refusal(status, error.code, error.detail, {"access": [error.detail]})


def _request(url: str, headers: Mapping[str, str]) -> Request:
    """What to ask the source for; a range that is not one plain span is left out, and the whole is sent."""
    span = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    start = int(span[1]) if span else 0
    stop = int(span[2]) + 1 if span and span[2] else None
    if request.method == "HEAD" or (stop is not None and stop <= start):
        return Request(url=url, headers=headers, method=request.method)
    validator = request.headers.get("If-Range")
    return Request(url=url, headers=headers, start=start, stop=stop, validator=validator)


class _Content(Iterator[bytes]):
    """The content of an answer; nothing where none was asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._chunks = iter(answer) if request.method == "GET" else iter(())

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Free the connection; harmless when repeated."""
        self._answer.close()


def deliver(service: ArchiveService, chunks: Chunks, slot: Slot) -> Delivery:
    """One file on its way, counted and logged when it has ended.

    Raises:
        OutboundError: the source breaks off before its first byte; everything is free again.
    """
    return Delivery(
        chunks,
        slot,
        service.rates,
        reason_of=partial(_reason_of, service),
        note=_note(service, slot),
    )


def _count(service: ArchiveService, asked: Request) -> None:
    if request.method == "GET":
        service.figures.began(is_resumed=asked.start > 0)


def _note(service: ArchiveService, slot: Slot) -> Callable[[str], None]:
    """What is told how it ended; who asks for headers only has downloaded nothing."""
    return partial(service.figures.ended, slot) if request.method == "GET" else _ignore


def _ignore(_outcome: str) -> None:
    """Note nothing."""


def _reason_of(service: ArchiveService, error: BaseException) -> str:
    if not isinstance(error, OutboundError):
        return FAILED
    service.figures.failed(str(error.reason))
    return str(error.reason)


def _set_headers(response: Response, answer: Answer, link: SignedLink) -> None:
    headers = response.headers
    headers["Content-Type"] = answer.headers.get("content-type", DEFAULT_TYPE)
    headers["Cache-Control"] = "private, no-transform"
    _pass_extent(response, answer)
    if answer.modified is not None:
        headers["Last-Modified"] = http_date(answer.modified)
    for name, value in link.headers.items():
        headers[name] = value
    if link.content_type is not None:
        headers["Content-Type"] = link.content_type
    headers["Content-Disposition"] = _disposition(headers, link.url)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Security-Policy"] = SANDBOX
    headers["X-Accel-Buffering"] = "no"


def _pass_extent(response: Response, answer: Answer) -> None:
    """Length, part and tag, as the source has them; none of it holds once a coding is taken off."""
    headers = response.headers
    headers["Accept-Ranges"] = "none"
    if answer.is_coded:
        return
    for name in ("content-length", "content-range", "etag"):
        if name in answer.headers and not (name == "content-length" and answer.size is None):
            headers[name] = answer.headers[name]
    if answer.status == 206 or answer.headers.get("accept-ranges", "").strip().lower() == "bytes":
        headers["Accept-Ranges"] = "bytes"


def _disposition(headers: Headers, url: str) -> str:
    """How to keep the file: as asked for, but what a browser would run is kept, not shown."""
    kind, options = parse_options_header(headers.get("Content-Disposition") or "inline")
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_shown = kind.lower() == "inline" and _SHOWN_TYPES.fullmatch(content_type)
    return disposition("inline" if is_shown else "attachment", options.get("filename") or name_of_url(url))


def disposition(kind: str, name: str) -> str:
    """``Content-Disposition`` of a file called `name`, in both forms (RFC 6266)."""
    cleaned = clean_component(name) or "file"
    plain = cleaned.encode("ascii", "replace").decode("ascii").replace("?", "_").replace("%", "_")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(cleaned, safe='!#$&+-.^_`|~')}"


def _source_failed(error: OutboundError) -> Response:
    """The answer to a request whose source cannot be had."""
    if error.status == _UNSATISFIABLE:
        return refusal(416, "range-not-satisfiable", error.detail, {"url": [error.detail]})
    if error.reason in _REFUSED:
        return refusal(422, "invalid-document", error.detail, {"url": [error.detail]})
    status = 504 if error.reason is Reason.TIMEOUT else 502
    code = "peer-unavailable" if error.is_worth_retrying else "peer-refused"
    return refusal(status, code, error.detail, {"url": [error.detail]})
