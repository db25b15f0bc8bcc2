"""Answers that carry search results: JSON, CSV or JSON lines, page by page or as a stream in constant memory.

A page carries links to its neighbours (RFC 8288): in the header ``Link``, and as members ``next`` and
``previous``.
Streams say how many results there were at their end, since only then they know.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from flask import request
from werkzeug.exceptions import NotAcceptable
from werkzeug.wrappers import Response

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject

JSON_TYPE: Final = "application/json"
CSV_TYPE: Final = "text/csv"
LINES_TYPE: Final = "application/x-ndjson"
TYPE_BY_FORMAT: Final = {"json": JSON_TYPE, "csv": CSV_TYPE, "jsonl": LINES_TYPE}

_TYPES: Final = (JSON_TYPE, CSV_TYPE, LINES_TYPE, "application/jsonl", "application/json-lines")
_FLUSH_BYTES: Final = 1 << 16


class Record(Protocol):
    """Something with a wire form."""

    def as_dict(self) -> JsonObject:
        """The wire form."""


RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[RecordT]):
    """Results of a search, about to be sent.

    Attributes:
        member: name of the list in the JSON form.
        records: the results, perhaps lazy.
        columns: of the CSV form: name, and how to get the value out of the wire form.
        count: number of all matches; None when it is `skip` plus the number of `records`.
        skip: results left out from the front.
        links: addresses of the neighbouring pages by relation, ``next`` and ``previous``.
    """

    member: str
    records: Iterable[RecordT]
    columns: Mapping[str, Callable[[JsonObject], object]]
    count: int | None
    skip: int
    links: Mapping[str, str]


def wanted_type() -> str:
    """The content type that the caller wants, by ``?format=`` or by ``Accept``.

    Raises:
        InvalidDocumentError: there is no such format.
        NotAcceptable: nothing that the caller accepts can be had.
    """
    name = request.args.get("format")
    if name is not None:
        if name not in TYPE_BY_FORMAT:
            formats = ", ".join(TYPE_BY_FORMAT)
            raise InvalidDocumentError(
                f"format must be one of {formats}, not {name[:40]!r}", pointer="/format"
            )
        return TYPE_BY_FORMAT[name]
    if not request.accept_mimetypes:
        return JSON_TYPE
    best = request.accept_mimetypes.best_match(_TYPES)
    if best is None:
        raise NotAcceptable(f"results can be had as {', '.join(TYPE_BY_FORMAT.values())}")
    return best if best in {JSON_TYPE, CSV_TYPE} else LINES_TYPE


def page_response(listing: Listing[RecordT]) -> Response:
    """The answer with a page of results in memory, tagged so that a repeated request costs no transfer."""
    body = b"".join(_encoded(listing, wanted_type()))
    response = _response(listing, wanted_type(), [body])
    response.headers["Content-Length"] = str(len(body))
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.headers["Cache-Control"] = "no-cache"
    return response.make_conditional(request)


def stream_response(listing: Listing[RecordT]) -> Response:
    """The answer with results one after the other; the first one is fetched before anything is promised."""
    records = iter(listing.records)
    first = list(itertools.islice(records, 1))
    ready = Listing(
        member=listing.member,
        records=itertools.chain(first, records),
        columns=listing.columns,
        count=listing.count,
        skip=listing.skip,
        links=listing.links,
    )
    response = _response(listing, wanted_type(), _in_pieces(_encoded(ready, wanted_type())))
    response.headers["Cache-Control"] = "no-store"
    return response


def json_response(document: JsonObject) -> Response:
    """The answer with one JSON object, tagged as pages are."""
    body = json.dumps(document, separators=(",", ":")).encode()
    response = Response(body, content_type=JSON_TYPE)
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.headers["Cache-Control"] = "no-cache"
    return response.make_conditional(request)


def _response(listing: Listing[RecordT], content_type: str, body: Iterable[bytes]) -> Response:
    content_type = "text/csv; charset=utf-8; header=present" if content_type == CSV_TYPE else content_type
    response = Response(body, content_type=content_type)
    response.vary.add("Accept")
    if listing.links:
        links = (f'<{url}>; rel="{relation}"' for relation, url in listing.links.items())
        response.headers["Link"] = ", ".join(links)
    return response


def _encoded(listing: Listing[RecordT], content_type: str) -> Iterator[bytes]:
    if content_type == CSV_TYPE:
        return _as_csv(listing)
    if content_type == LINES_TYPE:
        return (
            json.dumps(record.as_dict(), separators=(",", ":")).encode() + b"\n" for record in listing.records
        )
    return _as_json(listing)


def _as_json(listing: Listing[RecordT]) -> Iterator[bytes]:
    yield f'{{"{listing.member}":['.encode()
    number = 0
    for number, record in enumerate(listing.records, start=1):
        separator = b"," if number > 1 else b""
        yield separator + json.dumps(record.as_dict(), separators=(",", ":")).encode()
    count = listing.skip + number if listing.count is None else listing.count
    rest = {"count": count, **listing.links}
    yield b"]," + json.dumps(rest, separators=(",", ":")).encode().removeprefix(b"{")


def _as_csv(listing: Listing[RecordT]) -> Iterator[bytes]:
    yield _csv_row(list(listing.columns))
    for record in listing.records:
        document = record.as_dict()
        yield _csv_row([value_of(document) for value_of in listing.columns.values()])


def _csv_row(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()


def _in_pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer, larger pieces: each one costs the server a system call."""
    held: list[bytes] = []
    length = 0
    for chunk in chunks:
        held.append(chunk)
        length += len(chunk)
        if length >= _FLUSH_BYTES:
            yield b"".join(held)
            held, length = [], 0
    yield b"".join(held)
