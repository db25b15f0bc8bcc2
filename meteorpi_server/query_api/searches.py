"""Searches for file records and events, in the path or in the query string, and single records by id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote, urlencode

from flask import request
from flask.typing import ResponseReturnValue

from meteorpi_db import MeteorDatabase
from meteorpi_model import Event, EventSearch, FileRecord, FileRecordSearch
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import JsonObject, milliseconds_to_utc_datetime
from meteorpi_server import auth, parsing
from meteorpi_server.context import current_database, current_settings
from meteorpi_server.describing import describe
from meteorpi_server.listing import Listing, json_response, page_response, stream_response
from meteorpi_server.query_api.routes import blueprint

SearchT = TypeVar("SearchT", FileRecordSearch, EventSearch)
RecordT = TypeVar("RecordT", FileRecord, Event)

PAGE_IN_MEMORY: Final = 1000
"""Up to so many results are put together before they are sent; more are streamed."""

_COMMON_FIELDS: Final = frozenset(
    {
        "camera_ids", "lat_min", "lat_max", "long_min", "long_max", "after", "before", "after_offset",
        "before_offset", "meta", "limit", "skip", "exclude_export_to", "exclude_imported",
    }
)  # fmt: skip


def _iso_time(member: str) -> Callable[[JsonObject], object]:
    def read(document: JsonObject) -> object:
        milliseconds = document.get(member)
        if not isinstance(milliseconds, int):
            return None
        return milliseconds_to_utc_datetime(milliseconds).isoformat(timespec="milliseconds") + "Z"

    return read


def _member(name: str) -> Callable[[JsonObject], object]:
    return lambda document: document.get(name)


def _metadata(document: JsonObject) -> object:
    return json.dumps(document["meta"], separators=(",", ":"))


def _file_ids(document: JsonObject) -> object:
    files = document["files"]
    return " ".join(str(record["file_id"]) for record in files) if isinstance(files, list) else ""


@dataclass(frozen=True, kw_only=True)
class _Kind(Generic[SearchT, RecordT]):
    """What differs between searching for files and for events."""

    member: str
    fields: frozenset[str]
    columns: Mapping[str, Callable[[JsonObject], object]]
    search: Callable[[MeteorDatabase, SearchT], tuple[int, list[RecordT]]]
    iterate: Callable[[MeteorDatabase, SearchT], Iterable[RecordT]]


def _search_files(db: MeteorDatabase, search: FileRecordSearch) -> tuple[int, list[FileRecord]]:
    found = db.search_files(search)
    return found["count"], found["files"]


def _search_events(db: MeteorDatabase, search: EventSearch) -> tuple[int, list[Event]]:
    found = db.search_events(search)
    return found["count"], found["events"]


FILES: Final = _Kind[FileRecordSearch, FileRecord](
    member="files",
    fields=_COMMON_FIELDS | {"mime_type", "semantic_type", "exclude_events"},
    columns={
        "file_id": _member("file_id"),
        "camera_id": _member("camera_id"),
        "file_time": _member("file_time"),
        "time_utc": _iso_time("file_time"),
        "file_size": _member("file_size"),
        "file_name": _member("file_name"),
        "mime_type": _member("mime_type"),
        "semantic_type": _member("semantic_type"),
        "status_id": _member("status_id"),
        "md5": _member("md5"),
        "meta": _metadata,
    },
    search=_search_files,
    iterate=lambda db, search: db.iterate_files(search),
)
EVENTS: Final = _Kind[EventSearch, Event](
    member="events",
    fields=_COMMON_FIELDS | {"event_type"},
    columns={
        "event_id": _member("event_id"),
        "camera_id": _member("camera_id"),
        "event_time": _member("event_time"),
        "time_utc": _iso_time("event_time"),
        "event_type": _member("event_type"),
        "status_id": _member("status_id"),
        "file_ids": _file_ids,
        "meta": _metadata,
    },
    search=_search_events,
    iterate=lambda db, search: db.iterate_events(search),
)


@blueprint.get("/files")
@describe(query="file_record_search", reply={"files": ["file_record"], "count": "count"}, problems=[400])
def list_files() -> ResponseReturnValue:
    """Search for file records, the criteria given as query string parameters.

    Times are milliseconds since 1970 or ISO 8601. `camera_ids` and `meta` may be repeated; `meta` is a JSON
    object. `format` is json, csv or jsonl. A `limit` of 0 streams everything.
    """
    search = parsing.query_search(FileRecordSearch, _criteria(), FILES.fields)
    return _listing(FILES, search, _query_address("files"))


@blueprint.get("/files/<path:search>")
@describe(path="file_record_search", reply={"files": ["file_record"], "count": "count"}, problems=[400])
def search_files(search: str) -> ResponseReturnValue:
    """Search for file records with a search document, percent-encoded twice, as path segment."""
    return _listing(FILES, parsing.search_segment(FileRecordSearch, search), _path_address("files"))


@blueprint.get("/events")
@describe(query="event_search", reply={"events": ["event"], "count": "count"}, problems=[400])
def list_events() -> ResponseReturnValue:
    """Search for events, the criteria given as query string parameters, as for files."""
    search = parsing.query_search(EventSearch, _criteria(), EVENTS.fields)
    return _listing(EVENTS, search, _query_address("events"))


@blueprint.get("/events/<path:search>")
@describe(path="event_search", reply={"events": ["event"], "count": "count"}, problems=[400])
def search_events(search: str) -> ResponseReturnValue:
    """Search for events with a search document, percent-encoded twice, as path segment."""
    return _listing(EVENTS, parsing.search_segment(EventSearch, search), _path_address("events"))


@blueprint.get("/file/<file_id>")
@describe(reply={"file": "file_record", "content": {"type": "object"}}, problems=[400, 404])
def show_file(file_id: str) -> ResponseReturnValue:
    """Show one file record, and size and digests of its content."""
    found_id = parsing.hex_id(file_id, "file id")
    record = current_database().get_file(found_id)
    if record is None:
        raise NotFoundError("no such file", entity_id=found_id)
    facts = current_database().content_facts(found_id)
    content = {"size": facts.size, "md5": facts.md5, "sha256": facts.sha256, "crc32": facts.crc32}
    return json_response({"file": record.as_dict(), "content": content})


@blueprint.get("/event/<event_id>")
@describe(reply={"event": "event"}, problems=[400, 404])
def show_event(event_id: str) -> ResponseReturnValue:
    """Show one event with its files."""
    found_id = parsing.hex_id(event_id, "event id")
    event = current_database().get_event(found_id)
    if event is None:
        raise NotFoundError("no such event", entity_id=found_id)
    return json_response({"event": event.as_dict()})


def _criteria() -> parsing.Arguments:
    """The query string without the parameter that is about the answer, not the search."""
    arguments = request.args.copy()
    arguments.poplist("format")
    return arguments


def _listing(
    kind: _Kind[SearchT, RecordT], search: SearchT, address: Callable[[SearchT], str]
) -> ResponseReturnValue:
    db = current_database()
    if 0 < search.limit <= PAGE_IN_MEMORY:
        count, records = kind.search(db, search)
        return page_response(_with_links(kind, search, address, records, count))
    ceiling = _ceiling()
    wanted = min(search.limit or ceiling, ceiling or search.limit)
    if wanted == 0 and search.skip == 0:
        return stream_response(_with_links(kind, search, address, kind.iterate(db, search), None))
    count, _ = kind.search(db, search.page(limit=1))
    if wanted and count - search.skip <= wanted and search.limit == 0:
        wanted = 0
    page = search.page(limit=wanted, skip=search.skip)
    exact = None if wanted == 0 and (search.skip == 0 or count > search.skip) else count
    return stream_response(_with_links(kind, page, address, kind.iterate(db, page), exact, count))


def _ceiling() -> int:
    """Most results for the caller of the current request; 0 when there is no such limit."""
    ceiling = current_settings().anonymous_limit
    return 0 if ceiling == 0 or auth.identify() is not None else ceiling


def _with_links(
    kind: _Kind[SearchT, RecordT],
    search: SearchT,
    address: Callable[[SearchT], str],
    records: Iterable[RecordT],
    count: int | None,
    total: int | None = None,
) -> Listing[RecordT]:
    """The results with the addresses of their neighbouring pages; there are none without a limit."""
    links: dict[str, str] = {}
    matches = count if total is None else total
    if search.limit and matches is not None and search.skip + search.limit < matches:
        links["next"] = address(search.page(search.limit, search.skip + search.limit))
    if search.limit and search.skip:
        links["previous"] = address(search.page(search.limit, max(0, search.skip - search.limit)))
    return Listing(
        member=kind.member,
        records=records,
        columns=kind.columns,
        count=count,
        skip=search.skip,
        links=links,
    )


def _base(member: str) -> str:
    """Address of the searches; without host, which is right behind every proxy."""
    head, slash, _ = request.path.partition(f"/{member}")
    return quote(request.script_root + head + slash)


def _format() -> list[tuple[str, str]]:
    return [("format", text) for text in request.args.getlist("format")]


def _query_address(member: str) -> Callable[[FileRecordSearch | EventSearch], str]:
    base, extra = _base(member), _format()
    return lambda search: f"{base}?{urlencode(parsing.query_of_search(search) + extra)}"


def _path_address(member: str) -> Callable[[FileRecordSearch | EventSearch], str]:
    base, extra = _base(member), _format()
    query = f"?{urlencode(extra)}" if extra else ""
    return lambda search: f"{base}/{parsing.segment_of_search(search)}{query}"
