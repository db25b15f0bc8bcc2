"""Views of resumable uploads, for clients that speak tus.

Source: part E of the storage contract; tus 1.0.0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Final

from flask import Blueprint, Response, after_this_request, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed, UnsupportedMediaType
from werkzeug.http import http_date
from werkzeug.wrappers import Response as BaseResponse

from meteorpi_db.blocks.names import tag_of
from meteorpi_db.blocks.resuming import Piece, Progress
from meteorpi_db.blocks.uploads import Plan
from meteorpi_model.errors import InvalidDocumentError, UnavailableError
from meteorpi_server import problems
from meteorpi_server.app import current_meteor_app
from meteorpi_server.block_api import tus_headers
from meteorpi_server.block_api.bodies import incoming_body
from meteorpi_server.block_api.current import current_service, needs_account
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.block_api.upload_plans import plan_of

View = Callable[..., ResponseReturnValue]

_STOP_SECONDS: Final = 5.0
"""A request that ends so soon after the process was told to end is taken wholly."""

_READ_BYTES: Final = 1 << 15
"""Little, since what is kept of a request that is cut off may be counted in these."""

_NO_STORE: Final = {"Cache-Control": "no-store"}


def add_views(blueprint: Blueprint) -> None:
    """Attach the views of this module."""
    for end in ("", "/"):
        where = f"/uploads{end}"
        blueprint.add_url_rule(
            where, view_func=describe_uploads, methods=["OPTIONS"], provide_automatic_options=False
        )
        blueprint.add_url_rule(
            where, view_func=begin_upload, methods=["POST"], provide_automatic_options=False
        )
    one = "/uploads/<upload_id>"
    blueprint.add_url_rule(one, view_func=show_upload, methods=["HEAD"])
    blueprint.add_url_rule(one, view_func=continue_upload, methods=["PATCH"])
    blueprint.add_url_rule(one, view_func=end_upload, methods=["DELETE"])
    blueprint.add_url_rule(one, view_func=override_method, methods=["POST"])


def _speaking_tus(view: View) -> View:
    """`view` for clients of this version of the protocol; every answer says which one it is."""

    @wraps(view)
    def spoken(**names: str) -> ResponseReturnValue:
        after_this_request(_name_version)
        if request.headers.get("Tus-Resumable") != tus_headers.VERSION:
            refusal = problems.problem(
                412, "precondition-failed", f"send the header Tus-Resumable: {tus_headers.VERSION}"
            )
            refusal.headers["Tus-Version"] = tus_headers.VERSION
            return refusal
        return view(**names)

    needs_account(spoken)
    return spoken


def _name_version(response: BaseResponse) -> BaseResponse:
    response.headers["Tus-Resumable"] = tus_headers.VERSION
    return response


def describe_uploads() -> ResponseReturnValue:
    """What a client can do here; also what browsers ask before they let a page do it."""
    told = tus_headers.announcement(current_service().settings.block_max_body_bytes)
    response = Response(status=204, headers=told | {"Tus-Resumable": tus_headers.VERSION})
    response.allow.update(("OPTIONS", "POST"))
    return response


@_speaking_tus
def begin_upload() -> ResponseReturnValue:
    """Begin an upload, with its first bytes if the request has some."""
    service = current_service()
    terms = service.terms_of(service.caller())
    if "Upload-Concat" in request.headers:
        raise InvalidDocumentError("uploads cannot be put together here")
    progress = service.uploads.begin(_plan(), terms)
    upload_id = progress.row.plan.upload.upload_id
    if _brings_bytes() and progress.row.sha256 is None:
        progress = service.uploads.receive(upload_id, _piece(service, 0), terms)
    response = _told(service, progress, 201)
    response.headers["Location"] = url_for(".continue_upload", upload_id=upload_id)
    return response


@_speaking_tus
def show_upload(upload_id: str) -> ResponseReturnValue:
    """How far the upload has come."""
    service = current_service()
    progress = service.uploads.look(upload_id, service.terms_of(service.caller()))
    response = _told(service, progress, 200)
    plan = progress.row.plan
    if plan.length is None:
        response.headers["Upload-Defer-Length"] = "1"
    else:
        response.headers["Upload-Length"] = str(plan.length)
    if plan.metadata:
        response.headers["Upload-Metadata"] = plan.metadata
    return response


@_speaking_tus
def continue_upload(upload_id: str) -> ResponseReturnValue:
    """Take further bytes; with the last of them the object is there."""
    service = current_service()
    terms = service.terms_of(service.caller())
    if not _brings_bytes():
        raise UnsupportedMediaType(f"bytes of an upload are {tus_headers.CONTENT_TYPE}")
    offset = tus_headers.read_number(request, "Upload-Offset")
    if offset is None:
        raise InvalidDocumentError("Upload-Offset is missing")
    return _told(service, service.uploads.receive(upload_id, _piece(service, offset), terms), 204)


@_speaking_tus
def end_upload(upload_id: str) -> ResponseReturnValue:
    """Forget the upload and its bytes."""
    service = current_service()
    service.uploads.discard(upload_id, service.terms_of(service.caller()))
    return Response(status=204)


@_speaking_tus
def override_method(upload_id: str) -> ResponseReturnValue:
    """For clients between whom and us somebody knows GET and POST only."""
    method = request.headers.get("X-HTTP-Method-Override", "").upper()
    if method not in _OVERRIDES:
        raise MethodNotAllowed(("DELETE", "HEAD", "PATCH"))
    return _OVERRIDES[method](upload_id=upload_id)


_OVERRIDES: Final[dict[str, View]] = {"PATCH": continue_upload, "DELETE": end_upload, "HEAD": show_upload}


def _plan() -> Plan:
    header = request.headers.get("Upload-Metadata", "")
    length = tus_headers.read_length(request)
    return plan_of(tus_headers.read_metadata(header), length, "resumable", header)


def _brings_bytes() -> bool:
    return request.mimetype == tus_headers.CONTENT_TYPE


def _piece(service: BlockService, offset: int) -> Piece:
    most_bytes = max(0, service.settings.block_max_body_bytes - offset)
    incoming = incoming_body(request, most_bytes, _READ_BYTES)
    return Piece(
        offset=offset,
        chunks=_until_stop(incoming.chunks),
        size=incoming.size,
        length=tus_headers.read_number(request, "Upload-Length"),
        checksum=tus_headers.read_checksum(request),
    )


def _until_stop(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks, until this process has to end: what has come is kept, and the client goes on later."""
    stopping = current_meteor_app().stopping
    for chunk in chunks:
        yield chunk
        if stopping.asked_at is not None and time.monotonic() - stopping.asked_at > _STOP_SECONDS:
            raise UnavailableError("this server is being stopped; go on with the upload")


def _told(service: BlockService, progress: Progress, status: int) -> Response:
    """The answer that says how far an upload has come, and what object it is once it is one."""
    row = progress.row
    if progress.stored is not None:
        service.announce(progress.stored.event)
    response = Response(status=status, headers=_NO_STORE)
    response.headers["Upload-Offset"] = str(progress.offset)
    if row.sha256 is None:
        response.headers["Upload-Expires"] = http_date(row.expires_at // 1000)
    else:
        response.headers["ETag"] = tag_of(row.sha256)
        response.headers["Date"] = http_date()
    return response
