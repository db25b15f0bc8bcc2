"""Views of objects: upload, download, removal, and the list of those below a prefix."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.http import http_date

from meteorpi_db.blocks import listing
from meteorpi_db.blocks.changes import Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.names import checked_path, checked_prefix, tag_of
from meteorpi_db.blocks.rows import ObjectRow
from meteorpi_model.errors import InvalidDocumentError, NotFoundError
from meteorpi_model.values import milliseconds_to_utc_datetime
from meteorpi_server.block_api.bodies import incoming_object
from meteorpi_server.block_api.current import current_service, needs_account
from meteorpi_server.block_api.downloads import CACHE_CONTROL, object_response
from meteorpi_server.block_api.reading import create_link, require_readable, use_link
from meteorpi_server.block_api.receiving import new_upload_id

FALLBACK_TYPE: Final = "application/octet-stream"
KEPT_TYPES: Final = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/fits", "application/fits"}
    | {"video/mp4", "video/webm", "text/plain", "text/csv", "application/json", "application/zip"}
)
"""Types of the uploader that a browser shows without running anything."""


def add_views(blueprint: Blueprint) -> None:
    """Attach the views of this module."""
    for view in (write_object, remove_object, list_objects):
        needs_account(view)
    where = "/files/<prefix>/<path:path>"
    blueprint.add_url_rule(where, view_func=read_object, methods=["GET"])
    blueprint.add_url_rule(where, view_func=write_object, methods=["POST", "PUT"])
    blueprint.add_url_rule(where, view_func=remove_object, methods=["DELETE"])
    blueprint.add_url_rule("/files/<prefix>/", view_func=list_objects, methods=["GET"])


def read_object(prefix: str, path: str) -> ResponseReturnValue:
    """Give the object, as far as the read policy allows."""
    service = current_service()
    place, row = service.register.look(checked_prefix(prefix), checked_path(path))
    counter = require_readable(service, place, prefix, path)
    if place is None or row is None:
        raise NotFoundError("there is no such object")
    use_link(service, counter, prefix, path)
    return object_response(service, row, place.account_id)


def write_object(prefix: str, path: str) -> ResponseReturnValue:
    """Create or replace the object; or, for ``?link=``, make a link to it."""
    if request.method == "POST" and "link" in request.args:
        return create_link(prefix, path)
    service = current_service()
    checked_prefix(prefix), checked_path(path)
    account = service.caller()
    incoming = incoming_object(request, service.settings.block_max_body_bytes)
    upload = Upload(
        prefix=prefix,
        path=path,
        demands=_demands(),
        media_type=request.mimetype if request.mimetype in KEPT_TYPES else FALLBACK_TYPE,
        upload_id=new_upload_id(),
    )
    stored = service.upload(account, upload, incoming)
    response = _no_content(stored.row)
    if stored.is_created:
        response.headers["Location"] = url_for(".read_object", prefix=prefix, path=path)
    return response


def remove_object(prefix: str, path: str) -> ResponseReturnValue:
    """Remove the object; harmless when there is none."""
    service = current_service()
    checked_prefix(prefix), checked_path(path)
    service.remove(service.caller(), prefix, path, _demands())
    return Response(status=204)


def list_objects(prefix: str) -> ResponseReturnValue:
    """A page of what is below the prefix, for its owner."""
    service = current_service()
    checked_prefix(prefix)
    terms = service.terms_of(service.caller())
    page = service.register.list_page(
        prefix,
        terms,
        start=_short("start"),
        after=_short("after"),
        limit=_limit(),
        delimiter=_short("delimiter"),
    )
    return jsonify(objects=[_entry(row) for row in page.objects], folders=page.folders, next=page.next_after)


def _entry(row: ObjectRow) -> dict[str, object]:
    modified = milliseconds_to_utc_datetime(row.modified_at).isoformat(timespec="milliseconds") + "Z"
    return {"path": row.path, "size": row.size, "etag": tag_of(row.sha256), "modified": modified}


def _short(name: str) -> str:
    text = request.args.get(name, "")
    if len(text) > 1024 or not text.isascii() or "\0" in text:
        raise InvalidDocumentError(f"{name} is no beginning of a path", pointer=f"/{name}")
    return text


def _limit() -> int:
    text = request.args.get("limit", str(listing.MOST_ENTRIES))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= listing.MOST_ENTRIES):
        raise InvalidDocumentError(f"limit is 1 to {listing.MOST_ENTRIES}", pointer="/limit")
    return int(text)


def _demands() -> Demands:
    return Demands(
        if_match=request.headers.get("If-Match"), if_none_match=request.headers.get("If-None-Match")
    )


def _no_content(row: ObjectRow) -> Response:
    response = Response(status=204)
    response.headers["ETag"] = tag_of(row.sha256)
    response.headers["Date"] = http_date()
    response.headers["Cache-Control"] = CACHE_CONTROL
    return response
