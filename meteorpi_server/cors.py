"""Cross-origin requests: which pages of other sites may call a route, and which may change anything.

Source:
    Fetch standard, section 3.2 (CORS protocol).
"""

from __future__ import annotations

from typing import Final, cast
from urllib.parse import urlsplit

from flask import Request, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from meteorpi_model.errors import NotAllowedError

ALLOWED_HEADERS: Final = (
    "Authorization, Content-Digest, Content-MD5, Content-Type, If-Match, If-Modified-Since, If-None-Match, "
    "If-Range, If-Unmodified-Since, Last-Event-ID, Range, Repr-Digest, Tus-Resumable, Upload-Checksum, "
    "Upload-Defer-Length, Upload-Length, Upload-Metadata, Upload-Offset, X-Content-SHA256, "
    "X-HTTP-Method-Override, X-Request-ID"
)
EXPOSED_HEADERS: Final = (
    "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, Date, ETag, Link, Location, "
    "Repr-Digest, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, "
    "Tus-Version, Upload-Defer-Length, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, "
    "X-Request-ID"
)
"""What pages may read of answers; Upload and Tus are of resumable uploads."""
PREFLIGHT_SECONDS: Final = 3600
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def add_headers(response: Response, allowed_origins: tuple[str, ...]) -> None:
    """Let pages of `allowed_origins` (``*`` for any) read `response`, and preflights succeed."""
    origin = request.headers.get("Origin")
    any_origin = "*" in allowed_origins
    if allowed_origins and not any_origin:
        response.vary.add("Origin")
    if origin is None or not (any_origin or origin in allowed_origins):
        return
    response.headers["Access-Control-Allow-Origin"] = "*" if any_origin else origin
    response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    if _is_preflight(request):
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(response.allow)) or "GET"
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)


def target_blueprint() -> str | None:
    """Name of the route package that the request, or the one that a preflight asks about, belongs to.

    None when no route has that path and method.
    """
    if not _is_preflight(request):
        return request.blueprint
    method = request.headers["Access-Control-Request-Method"].upper()
    adapter = current_app.create_url_adapter(request)
    try:
        endpoint, _ = (
            cast("tuple[str, dict[str, object]]", adapter.match(method=method)) if adapter else ("", {})
        )
    except HTTPException:
        return request.blueprint
    return endpoint.rpartition(".")[0] or None


def refuse_foreign_pages(allowed_origins: tuple[str, ...], *, is_socket: bool = False) -> None:
    """Refuse a change that a page of another site asks for, or a socket, which such a page could read.

    Browsers add the Basic credentials they remember to requests that a foreign page makes, so that being
    logged in must not be enough to change something.

    Raises:
        NotAllowedError: the method changes something, or it `is_socket`, and the page is neither ours nor in
            `allowed_origins`.
    """
    origin = request.headers.get("Origin")
    if (request.method in _SAFE_METHODS and not is_socket) or origin is None:
        return
    if "*" in allowed_origins or origin in allowed_origins:
        return
    if request.headers.get("Sec-Fetch-Site") == "same-origin" or urlsplit(origin).netloc == request.host:
        return
    raise NotAllowedError(
        "pages of other sites may not use this route; METEORPI_CORS_ORIGINS names those that may"
    )


def _is_preflight(incoming: Request) -> bool:
    return incoming.method == "OPTIONS" and "Access-Control-Request-Method" in incoming.headers
