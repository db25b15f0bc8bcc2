"""Large objects that others send: the object store, by a redirect, or the web server in front.

Source: K-138 of the storage contract.
"""

from __future__ import annotations

from typing import Final

from flask import Response, request

from meteorpi_db.blocks.rows import ObjectRow
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.fronting import INTERNAL_PREFIX, any_offload_header

_OWN_CONDITIONS: Final = ("If-Match", "If-Range", "If-Modified-Since", "If-Unmodified-Since")
"""Others would look at these again, without knowing our tags and times."""


def offloaded(service: BlockService, row: ObjectRow, *, has_one_range: bool) -> Response | None:
    """An answer that has others send the object; None where the node has to.

    Args:
        has_one_range: the request is for one range, which whoever sends cuts out.
    """
    settings = service.settings
    if settings.block_offload == "none" or request.method != "GET" or row.size < settings.block_offload_min:
        return None
    if any(name in request.headers for name in _OWN_CONDITIONS) or not row.size:
        return None
    if "Range" in request.headers and not has_one_range:
        return None
    return _redirect(service, row) if settings.block_offload == "redirect" else _left_to_front(service, row)


def _redirect(service: BlockService, row: ObjectRow) -> Response | None:
    seconds = service.settings.block_offload_seconds
    url = service.store.url(row.content_id, "GET", seconds, content_type=row.media_type)
    if url is None:
        return None
    response = Response(status=307)
    response.headers["Location"] = url
    response.headers["Cache-Control"] = "private, no-store"
    response.autocorrect_location_header = False
    return response


def _left_to_front(service: BlockService, row: ObjectRow) -> Response | None:
    if "local-path" not in service.store.capabilities:
        return None
    with service.store.local_path(row.content_id) as path:
        header = any_offload_header(request.environ, path, INTERNAL_PREFIX)
    if header is None:
        return None
    response = Response(status=200, content_type=row.media_type)
    response.automatically_set_content_length = False
    response.headers[header[0]] = header[1]
    return response
