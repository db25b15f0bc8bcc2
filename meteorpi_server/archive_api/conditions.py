"""Which part of an archive a request wants, and whether it wants any.

Source:
    RFC 9110 sections 13.2.2 (precedence), 13.1.5 (``If-Range``) and 14.2; section 3.8 of the archive
    contract.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from flask import request
from werkzeug.exceptions import PreconditionFailed
from werkzeug.http import parse_date

from meteorpi_server.ranges import ByteRange, parse_ranges

MAX_RANGES: Final = 16


def is_not_modified(etag: str | None, newest: int) -> bool:
    """Whether the caller has the archive already (304).

    Args:
        etag: of the archive; None for one that has none.
        newest: its ``Last-Modified``, seconds since 1970.

    Raises:
        PreconditionFailed: it wants another one.
    """
    modified = datetime.fromtimestamp(newest, UTC)
    if "If-Match" in request.headers:
        if not (request.if_match.star_tag or (etag is not None and request.if_match.contains(etag))):
            raise PreconditionFailed("the archive is not the one that If-Match names")
    elif (before := request.if_unmodified_since) is not None and modified > before:
        raise PreconditionFailed("the archive was modified after If-Unmodified-Since")
    if "If-None-Match" in request.headers:
        tags = request.if_none_match
        return tags.star_tag or (etag is not None and tags.contains_weak(etag))
    since = request.if_modified_since
    return since is not None and modified <= since


def wanted_ranges(etag: str, newest: int, total: int) -> list[ByteRange]:
    """The parts that a GET request wants, sorted, each byte once; none for the whole.

    Raises:
        RequestedRangeNotSatisfiable: there is no byte of the archive in any of them.
    """
    if request.method != "GET" or not _range_applies(etag, newest):
        return []
    return parse_ranges(request.headers.get("Range"), total, most=MAX_RANGES, is_merged=True)


def goes_on_with(etag: str | None) -> bool:
    """Whether the request goes on with a download of exactly these bytes."""
    if etag is None or "Range" not in request.headers:
        return False
    condition = request.headers.get("If-Range", "").strip()
    return condition == f'"{etag}"' or ("If-Match" in request.headers and request.if_match.contains(etag))


def _range_applies(etag: str, newest: int) -> bool:
    """Whether ``If-Range`` names the present archive: by its strong tag, or by exactly its date."""
    condition = request.headers.get("If-Range")
    if condition is None or condition.strip() == f'"{etag}"':
        return True
    date = parse_date(condition)
    return date is not None and date == datetime.fromtimestamp(newest, UTC)
