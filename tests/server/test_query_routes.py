"""Cameras and searches over HTTP."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from werkzeug.test import TestResponse

from meteorpi_model import (
    CameraStatus,
    Event,
    EventSearch,
    FileRecord,
    FileRecordSearch,
    Meta,
    NSString,
    schemas,
    utc_datetime_to_milliseconds,
)
from meteorpi_server import parsing
from tests.server.conftest import CAMERA, START, Node, basic, id_of

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.engines("sqlite")


def body(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: dict[str, Any] = answer.json
    return found


def path_form(kind: str, search: FileRecordSearch | EventSearch) -> str:
    return f"/{kind}/{parsing.segment_of_search(search)}"


def add_files(node: Node, count: int) -> list[FileRecord]:
    return [node.add_file(f"file {i}".encode(), time=START + timedelta(minutes=1 + i)) for i in range(count)]


@pytest.mark.contract("8.1/cameras", "B-16")
def test_cameras_are_listed_in_descending_order(node: Node) -> None:
    for camera in ("zz", "Ä camera / with a slash", "  blank"):
        node.add_status(camera)

    assert body(node.get("/cameras")) == {"cameras": ["Ä camera / with a slash", "zz", CAMERA, "  blank"]}


@pytest.mark.contract("8.1/status", "8.1/status-time")
def test_status_of_a_camera_now_and_then(node: Node) -> None:
    node.add_status(time=START + timedelta(days=1))
    at_start = utc_datetime_to_milliseconds(START)

    now = body(node.get(f"/cameras/{CAMERA}/status"))["status"]
    then = body(node.get(f"/cameras/{CAMERA}/status/{at_start}"))["status"]

    jsonschema.validate(now, schemas.load("camera_status"))
    assert CameraStatus.from_dict(now).valid_from == START + timedelta(days=1)
    assert CameraStatus.from_dict(then).valid_to == START + timedelta(days=1)


@pytest.mark.contract("8.1/status", "8.1/status-time", "8.4/problems", "faults/http-input")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/cameras/unknown/status", 404),
        (f"/cameras/{CAMERA}/status/0", 404),
        (f"/cameras/{CAMERA}/status/-5", 404),
        (f"/cameras/{CAMERA}/status/tomorrow", 400),
        (f"/cameras/{CAMERA}/status/1e9", 400),
        (f"/cameras/{CAMERA}/status/99999999999999999999", 400),
        ("/cameras/a%00b/status", 400),
        ("/cameras/%FF%FE/status", 404),
        ("/cameras/" + "x" * 3000 + "/status", 400),
    ],
)
def test_unknown_cameras_and_bad_times_are_readable_problems(node: Node, path: str, status: int) -> None:
    answer = node.get(path)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


@pytest.mark.contract("8.1/status", "faults/names")
@pytest.mark.parametrize("camera", ["a/b", "a b", "100%", "ä+ö", "a%2Fb", "'; DROP TABLE--", "status/1"])
def test_cameras_of_any_name_are_found_encoded_once_or_twice(node: Node, camera: str) -> None:
    node.add_status(camera)
    once = quote(camera, safe="")

    for segment in (once, quote(once, safe="")):
        status = body(node.get(f"/cameras/{segment}/status"))["status"]
        assert CameraStatus.from_dict(status).camera_id == camera


@pytest.mark.contract("8.1/files", "8.1/search-strings", "issue-2.4/query-strings", "B-33")
def test_files_are_found_by_path_and_by_query_string(node: Node) -> None:
    wanted = node.add_file(
        file_name="Ünïcode / name.txt", metas=(Meta(NSString("note", "x y"), "1 + 1 = 2 % / ä"),)
    )
    node.add_file(b"other", mime_type="image/png")
    search = FileRecordSearch(camera_ids=CAMERA, mime_type="text/plain", before=datetime(2015, 4, 2))

    found = [
        body(node.get(path_form("files", search))),
        body(node.get("/files/" + quote(json.dumps(search.as_dict()), safe=""))),
        body(node.get("/files?" + urlencode(parsing.query_of_search(search)))),
    ]

    for each in found:
        assert each["count"] == 1
        jsonschema.validate(each["files"][0], schemas.load("file_record"), registry=registry())
        assert FileRecord.from_dict(each["files"][0]) == wanted


def registry() -> object:
    from referencing import Registry, Resource

    resources = [
        (f"{schemas.URN}{name}", Resource.from_contents(schemas.load(name))) for name in schemas.names()
    ]
    return Registry().with_resources(resources)


@pytest.mark.contract("8.1/events", "3.5/files", "B-10")
def test_events_are_found_with_their_files_in_order(node: Node) -> None:
    files = add_files(node, 3)
    event = node.db.register_event(
        CAMERA,
        START + timedelta(hours=1),
        NSString("omgmeteors"),
        [files[2], files[0]],
        [Meta(NSString("n"), 2)],
    )

    by_path = body(node.get(path_form("events", EventSearch())))
    by_query = body(node.get("/events?event_type=meteorpi:omgmeteors"))

    assert by_path == by_query
    jsonschema.validate(by_path["events"][0], schemas.load("event"), registry=registry())
    assert Event.from_dict(by_path["events"][0]) == event
    assert by_path["events"][0]["files"] == [files[2].as_dict(), files[0].as_dict()]


@pytest.mark.contract("8.1/files", "8.1/events", "B-09", "B-46", "faults/http-input")
@pytest.mark.parametrize("kind", ["files", "events"])
@pytest.mark.parametrize(
    "segment",
    [
        "nonsense",
        quote(quote("{", safe=""), safe=""),
        quote(quote('{"limit": -1}', safe=""), safe=""),
        quote(quote('{"limit": "1; DROP TABLE event"}', safe=""), safe=""),
        quote(quote('{"after": 2, "before": 1}', safe=""), safe=""),
        quote(quote('{"camera_ids": [""]}', safe=""), safe=""),
        quote(quote('{"camera_ids": ["a\\u0000"]}', safe=""), safe=""),
        quote(quote("limit: 5", safe=""), safe=""),
        "%25FF",
    ],
)
def test_bad_searches_are_400_with_a_reason(node: Node, kind: str, segment: str) -> None:
    answer = node.get(f"/{kind}/{segment}")

    assert answer.status_code == 400
    assert answer.json is not None
    jsonschema.validate(answer.json, schemas.load("problem"))
    assert answer.json["errors"][0]["detail"]


@pytest.mark.parametrize("query", ["limit=x", "colour=red", "format=xml", "limit=1&limit=2", "after=noon"])
def test_bad_query_strings_are_400_with_a_pointer(node: Node, query: str) -> None:
    answer = node.get(f"/files?{query}")

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["errors"][0]["pointer"] == "/" + query.partition("=")[0]


@pytest.mark.contract("issue-2.4/links")
@pytest.mark.parametrize("form", ["path", "query"])
def test_pages_link_to_their_neighbours(node: Node, form: str) -> None:
    records = add_files(node, 5)
    first = "/files?limit=2" if form == "query" else path_form("files", FileRecordSearch(limit=2))

    seen: list[FileRecord] = []
    address, previous = first, None
    while address:
        answer = node.get(address)
        page = body(answer)
        assert page["count"] == 5
        seen += [FileRecord.from_dict(each) for each in page["files"]]
        previous, address = page.get("previous"), page.get("next", "")
        links = answer.headers.get("Link", "")
        assert (f'<{address}>; rel="next"' in links) == bool(address)
        assert (f'<{previous}>; rel="previous"' in links) == bool(previous)

    assert seen == records[::-1]
    assert body(node.get(previous or ""))["files"] == [each.as_dict() for each in records[2:0:-1]]


@pytest.mark.contract("3.3/limit", "B-42", "B-62")
def test_limit_0_gives_everything_as_a_stream(node: Node) -> None:
    records = add_files(node, 7)

    everything = body(node.get(path_form("files", FileRecordSearch(limit=0))))
    the_end = body(node.get("/files?limit=0&skip=5"))
    beyond = body(node.get("/files?limit=0&skip=50"))
    many = body(node.get("/files?limit=100000"))

    assert everything == {"files": [each.as_dict() for each in records[::-1]], "count": 7}
    assert many == everything
    assert (len(the_end["files"]), the_end["count"]) == (2, 7)
    assert beyond == {"files": [], "count": 7}


@pytest.mark.contract("B-42")
def test_callers_without_account_get_so_many_and_a_link_to_the_rest(make_node: Callable[..., Node]) -> None:
    node = make_node(anonymous_limit=3)
    node.add_accounts()
    node.add_status()
    add_files(node, 7)

    seen = 0
    address = "/files?limit=0"
    while address:
        page = body(node.get(address))
        assert len(page["files"]) <= 3
        assert page["count"] == 7
        seen += len(page["files"])
        address = page.get("next", "")

    assert seen == 7
    assert len(body(node.get("/files?limit=0", headers=basic("visitor")))["files"]) == 7
    assert len(body(node.get("/files?limit=2000", headers=basic("visitor")))["files"]) == 7
    assert node.get("/files?limit=0", headers=basic("visitor", "wrong")).status_code == 401


@pytest.mark.contract("issue-2.4/formats")
def test_results_come_as_csv(node: Node) -> None:
    record = node.add_file(file_name='a "quoted", name', metas=(Meta(NSString("n"), 2),))

    for answer in (node.get("/files?format=csv"), node.get("/files?limit=0", headers={"Accept": "text/csv"})):
        assert answer.mimetype == "text/csv"
        (row,) = csv.DictReader(io.StringIO(answer.text))
        assert row["file_id"] == id_of(record).hex
        assert row["file_name"] == 'a "quoted", name'
        assert row["time_utc"] == "2015-04-01T01:00:00.000Z"
        assert json.loads(row["meta"]) == [{"type": "number", "key": "meteorpi:n", "value": 2}]


@pytest.mark.contract("issue-2.4/formats")
def test_results_come_as_json_lines(node: Node) -> None:
    event = node.db.register_event(CAMERA, START, NSString("omg"), add_files(node, 2))

    answer = node.get(path_form("events", EventSearch(limit=0)) + "?format=jsonl")
    accepted = node.get("/events", headers={"Accept": "application/x-ndjson"})
    (row,) = csv.DictReader(io.StringIO(node.get("/events?format=csv").text))

    assert answer.mimetype == accepted.mimetype == "application/x-ndjson"
    assert [Event.from_dict(json.loads(line)) for line in answer.text.splitlines()] == [event]
    assert row["file_ids"].split() == [id_of(each).hex for each in event.file_records]


def test_what_nobody_can_give_is_not_acceptable(node: Node) -> None:
    assert node.get("/files", headers={"Accept": "application/xml"}).status_code == 406
    assert node.get("/files", headers={"Accept": "text/html,*/*;q=0.1"}).mimetype == "application/json"


@pytest.mark.contract("issue-2.4/etags")
def test_a_repeated_request_costs_no_transfer(node: Node) -> None:
    add_files(node, 2)
    etag = node.get("/files").headers["ETag"]

    repeated = node.get("/files", headers={"If-None-Match": etag})
    node.add_file(b"news")
    changed = node.get("/files", headers={"If-None-Match": etag})

    assert repeated.status_code == 304
    assert repeated.data == b""
    assert changed.status_code == 200


def test_single_records_are_shown_by_id(node: Node) -> None:
    record = node.add_file()
    event = node.db.register_event(CAMERA, START, NSString("omg"), [record])
    assert event.event_id is not None

    shown = body(node.get(f"/file/{id_of(record).hex}"))

    assert shown["file"] == record.as_dict()
    assert shown["content"] == vars(node.db.content_facts(id_of(record)))
    assert body(node.get(f"/event/{event.event_id.hex}")) == {"event": event.as_dict()}


@pytest.mark.contract("8.1/content", "8.4/problems", "faults/http-input")
@pytest.mark.parametrize("path", ["/file/", "/event/", "/files/content/", "/files/thumbnail/"])
@pytest.mark.parametrize(
    ("file_id", "status"), [("0" * 32, 404), ("xyz", 400), ("0" * 31, 400), ("..%2Fx", 400)]
)
def test_unknown_and_malformed_ids(node: Node, path: str, file_id: str, status: int) -> None:
    answer = node.get(path + file_id)

    assert answer.status_code in ({400, 404} if "%2F" in file_id else {status})
    assert answer.json is not None
    if status == 404:
        assert answer.json["entity_id"] == file_id


@pytest.mark.contract("8.1/head-options")
@pytest.mark.parametrize("path", ["/cameras", f"/cameras/{CAMERA}/status", "/files", "/events?limit=0"])
def test_head_and_options_are_answered(node: Node, path: str) -> None:
    got, head, options = node.get(path), node.http.head(path), node.http.options(path)

    assert head.status_code == 200
    assert head.data == b""
    assert head.headers.get("Content-Length") == got.headers.get("Content-Length")
    assert options.status_code == 200
    assert {"GET", "HEAD", "OPTIONS"} <= set(options.headers["Allow"].split(", "))


@pytest.mark.engines("sqlite", "firebird", "postgresql")
@pytest.mark.contract("8.1/cameras", "8.1/files", "8.1/events", "8.1/content")
def test_every_engine_answers_the_same(node: Node) -> None:
    record = node.add_file(file_name="ä.txt", metas=(Meta(NSString("n"), 2.5),))
    event = node.db.register_event(CAMERA, START, NSString("omg"), [record])

    assert body(node.get("/cameras")) == {"cameras": [CAMERA]}
    assert body(node.get("/events"))["events"] == [event.as_dict()]
    assert body(node.get("/files?limit=0"))["files"] == [record.as_dict()]
    assert node.get(f"/files/content/{id_of(record).hex}").data == b"hello meteor"
    assert node.get("/login", headers=basic("visitor")).status_code == 200
    assert node.get("/login", headers=basic("visitor", "wrong")).status_code == 401
    assert (
        node.as_admin("PUT", "/users/roles", {"new_roles": [{"user_id": "x", "roles": []}]}).status_code
        == 404
    )
    assert node.get("/ready").status_code == 200
    assert node.get("/metrics").status_code == 200
