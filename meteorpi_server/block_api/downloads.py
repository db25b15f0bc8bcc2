"""An object on its way out: conditions, one range, and nothing that lets a browser run it.

Source: K-111, K-113, K-135 to K-137, K-145, K-146, K-221 of the storage contract; RFC 9110.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import http_date, parse_date

from meteorpi_db.blocks.conditions import matches
from meteorpi_db.blocks.names import tag_of
from meteorpi_db.blocks.rows import ObjectRow
from meteorpi_db.filestore import CHUNK_BYTES
from meteorpi_model.errors import CorruptContentError, PreconditionFailedError
from meteorpi_server.block_api.offloading import offloaded
from meteorpi_server.block_api.service import BlockService
from meteorpi_server.block_api.traffic import CountedChunks
from meteorpi_server.content import Chunks, repr_digest
from meteorpi_server.ranges import ByteRange, parse_ranges

CACHE_CONTROL: Final = "private, no-transform"
SANDBOX: Final = "sandbox"


def object_response(service: BlockService, row: ObjectRow, account_id: str | None) -> Response:
    """The answer to the current GET or HEAD request for an object.

    Args:
        service: of the routes.
        row: the object.
        account_id: who pays for the traffic, None for nobody.

    Raises:
        PreconditionFailedError: ``If-Match`` or ``If-Unmodified-Since`` does not hold.
        RequestedRangeNotSatisfiable: the range lies beyond the end.
        NotFoundError: it was removed just now.
        CorruptContentError: its bytes are known to be damaged.
        TrafficReachedError: more was read of the account than it may offer.
    """
    _require_conditions(row)
    if _is_known(row):
        response = Response(status=304)
    elif row.is_corrupt:
        raise CorruptContentError("the stored bytes are damaged; whoever has them can upload them again")
    else:
        response = _body(service, row, account_id)
        response.headers["Repr-Digest"] = repr_digest(row.sha256)
        response.headers["Accept-Ranges"] = "bytes"
        response.headers["Last-Modified"] = http_date(_modified(row))
    response.headers["ETag"] = tag_of(row.sha256)
    response.headers.setdefault("Cache-Control", CACHE_CONTROL)
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _require_conditions(row: ObjectRow) -> None:
    if_match = request.headers.get("If-Match")
    if if_match is not None:
        holds = matches(if_match, row.sha256, weakly=False)
    else:
        since = parse_date(request.headers.get("If-Unmodified-Since"))
        holds = since is None or _modified(row) <= since
    if not holds:
        raise PreconditionFailedError("the object is not the one that is asked for", tag=tag_of(row.sha256))


def _is_known(row: ObjectRow) -> bool:
    """Whether the caller has this state of the object."""
    if_none_match = request.headers.get("If-None-Match")
    if if_none_match is not None:
        return matches(if_none_match, row.sha256, weakly=True)
    since = parse_date(request.headers.get("If-Modified-Since"))
    return since is not None and _modified(row) <= since


def _body(service: BlockService, row: ObjectRow, account_id: str | None) -> Response:
    wanted = _wanted_range(row)
    start, stop = (0, row.size) if wanted is None else (wanted.start, wanted.stop)
    body: Iterator[bytes] | None = None
    if request.method != "HEAD":
        is_slow = account_id is not None and service.allowances.is_slow(account_id)
        sent_by_others = None if is_slow else offloaded(service, row, has_one_range=wanted is not None)
        if sent_by_others is not None:
            if account_id is not None:
                service.traffic.add(account_id, stop - start)
            return sent_by_others
        body = _chunks(service, row.content_id, start, stop, account_id, is_slow=is_slow)
    response = Response(body, status=200 if wanted is None else 206, content_type=row.media_type)
    response.headers["Content-Length"] = str(stop - start)
    if wanted is not None:
        response.headers["Content-Range"] = wanted.content_range(row.size)
    return response


def _chunks(
    service: BlockService, content_id: UUID, start: int, stop: int, account_id: str | None, *, is_slow: bool
) -> Chunks:
    """Bytes of the content, counted where somebody pays for them, and held back where that is due."""
    most = service.slow_reading.chunk_bytes if is_slow else CHUNK_BYTES
    chunks = service.transfers.open(service.store, content_id, start, stop, most)
    if account_id is None:
        return chunks
    if is_slow:
        chunks = service.slow_reading.slowed(chunks, account_id)
    return CountedChunks(chunks, service.traffic, account_id)


def _wanted_range(row: ObjectRow) -> ByteRange | None:
    """The one range that is asked for; several, or another unit, are answered with everything."""
    condition = request.headers.get("If-Range")
    if "Range" not in request.headers or (condition is not None and condition.strip() != tag_of(row.sha256)):
        return None
    try:
        found = parse_ranges(request.headers["Range"], row.size)
    except RequestedRangeNotSatisfiable as error:
        raise RequestedRangeNotSatisfiable(row.size) from error
    return found[0] if len(found) == 1 else None


def _modified(row: ObjectRow) -> datetime:
    """To the second, as headers have it."""
    return datetime.fromtimestamp(row.modified_at // 1000, UTC)
