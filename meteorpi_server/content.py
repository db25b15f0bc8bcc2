"""Answers that carry the bytes of a file: ranges, conditional requests, names, and no way to run as a page.

Source:
    RFC 9110 (sections 8.8.3, 13, 14), RFC 6266 and RFC 8187 (names), RFC 9530 (Repr-Digest).
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from flask import request
from werkzeug.datastructures import ETags
from werkzeug.exceptions import PreconditionFailed
from werkzeug.wrappers import Response

from meteorpi_server.context import current_settings
from meteorpi_server.fronting import offload_header
from meteorpi_server.ranges import ByteRange, MultipartRanges, parse_ranges

FALLBACK_TYPE: Final = "application/octet-stream"
CACHE_SECONDS: Final = 86400
SANDBOX: Final = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
"""Policy of content: whatever it is, it runs no script and is no page of this site."""

_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*[\x20-\x7e]*)?")
_SHOWN_TYPES = re.compile(r"(?:image/(?!svg)|video/|audio/|text/plain|application/json)", re.IGNORECASE)
_UNSAFE_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/\\]")


class Chunks(Protocol):
    """An iterator of bytes that holds something open."""

    def __next__(self) -> bytes:
        """The next chunk."""

    def __iter__(self) -> Iterator[bytes]:
        """The iterator itself."""

    def close(self) -> None:
        """Give back what is held open."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """Some bytes to send.

    Attributes:
        size: how many.
        content_type: MIME type as it was stored, whatever it is.
        md5: hexadecimal; the entity tag.
        sha256: hexadecimal, or None when it is not known.
        file_name: what to call it when saved, or None.
        open: gives the bytes from one position up to, not including, another; raises before the first chunk.
        local_path: gives the path of a file with exactly these bytes that stays there; None where there is
            no such file.
        offload: gives the header that has the web server send the file at a path, None where it cannot; by
            default as the node is set.
    """

    size: int
    content_type: str
    md5: str
    sha256: str | None
    file_name: str | None
    open: Callable[[int, int], Chunks]
    local_path: Callable[[], AbstractContextManager[Path]] | None = None
    offload: Callable[[Path], tuple[str, str] | None] | None = None


def content_response(content: Content) -> Response:
    """The answer to the current GET or HEAD request for `content`.

    Raises:
        PreconditionFailed: ``If-Match`` names another content.
        RequestedRangeNotSatisfiable: the range lies beyond the end.
    """
    if "If-Match" in request.headers and not _matches(request.if_match, content.md5):
        raise PreconditionFailed("the content is not the one that If-Match names")
    if _matches(request.if_none_match, content.md5, is_weak=True):
        response = Response(status=304)
    else:
        response = _body(content)
        response.headers["Content-Disposition"] = disposition(content)
        if content.sha256 is not None:
            response.headers["Repr-Digest"] = repr_digest(content.sha256)
    response.set_etag(content.md5)
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def safe_content_type(mime_type: str) -> str:
    """`mime_type` as it is when it can stand in a header, else the type of unknown bytes."""
    return mime_type if _MEDIA_TYPE.fullmatch(mime_type) else FALLBACK_TYPE


def disposition(content: Content) -> str:
    """``Content-Disposition``: shown when it is of a harmless kind, else saved; the name in both forms."""
    kind = "inline" if _SHOWN_TYPES.match(safe_content_type(content.content_type)) else "attachment"
    if not content.file_name:
        return kind
    name = _UNSAFE_IN_NAMES.sub("_", content.file_name)
    name = name.encode("utf-8", "replace").decode("utf-8")
    ascii_name = name.encode("ascii", "replace").decode("ascii").replace("?", "_")
    quoted = ascii_name.replace('"', "_").replace("%", "_")
    if quoted == name:
        return f'{kind}; filename="{quoted}"'
    encoded = quote(name, safe="!#$&+-.^_`|~")
    return f"{kind}; filename=\"{quoted}\"; filename*=UTF-8''{encoded}"


def repr_digest(sha256: str) -> str:
    """``Repr-Digest`` of content with that hexadecimal SHA-256."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode('ascii')}:"


def _matches(tags: ETags, etag: str, *, is_weak: bool = False) -> bool:
    return tags.star_tag or (tags.contains_weak(etag) if is_weak else tags.contains(etag))


def _range_applies(etag: str) -> bool:
    """Whether the caller wants the rest of this content, and not all of whatever the present one is."""
    condition = request.headers.get("If-Range")
    return condition is None or condition.strip() == f'"{etag}"'


def _body(content: Content) -> Response:
    """All of the content, or the ranges that the request asks for."""
    applies = "Range" in request.headers and _range_applies(content.md5)
    ranges = parse_ranges(request.headers.get("Range"), content.size) if applies else []
    if len(ranges) > 1:
        return _partial(content, ranges)
    if ranges or not applies:
        response = _offloaded(content)
        if response is not None:
            return response  # a single range is cut out by the web server
    if ranges:
        return _partial(content, ranges)
    response = _whole(content)
    if applies:
        # Some web servers would try their own luck with a range that we do not serve, and refuse it.
        response.headers["Accept-Ranges"] = "none"
    return response


def _offloaded(content: Content) -> Response | None:
    """An answer whose body the web server adds, None where it cannot. Length and ranges are its business.

    Conditions that were found to hold are not: nginx would look at them again, without knowing our tags.
    """
    if content.local_path is None or request.method != "GET" or not content.size:
        return None
    if "If-Match" in request.headers or "If-Unmodified-Since" in request.headers:
        return None
    with content.local_path() as path:
        header = _node_offload(path) if content.offload is None else content.offload(path)
    if header is None:
        return None
    response = Response(status=200, content_type=safe_content_type(content.content_type))
    response.automatically_set_content_length = False
    response.headers[header[0]] = header[1]
    return response


def _node_offload(path: Path) -> tuple[str, str] | None:
    return offload_header(request.environ, current_settings(), path)


def _whole(content: Content) -> Response:
    return _answer(
        200, safe_content_type(content.content_type), content.size, lambda: content.open(0, content.size)
    )


def _partial(content: Content, ranges: Sequence[ByteRange]) -> Response:
    content_type = safe_content_type(content.content_type)
    if len(ranges) == 1:
        only = ranges[0]
        response = _answer(206, content_type, only.length, lambda: content.open(only.start, only.stop))
        response.headers["Content-Range"] = only.content_range(content.size)
        return response
    several = MultipartRanges(ranges, content.size, content_type, uuid.uuid4().hex)
    return _answer(206, several.content_type, several.length, lambda: _multipart(content, several))


def _multipart(content: Content, several: MultipartRanges) -> Iterator[bytes]:
    for head, each in several.parts():
        yield head
        with closing(content.open(each.start, each.stop)) as chunks:
            yield from chunks
    yield several.tail


def _answer(
    status: int, content_type: str, length: int, open_: Callable[[], Iterator[bytes] | Chunks]
) -> Response:
    """An answer whose body is opened at once, so that what is missing can still be said, but not for HEAD."""
    body = open_() if request.method != "HEAD" else None
    response = Response(body, status=status, content_type=content_type)
    response.headers["Content-Length"] = str(length)
    return response
