"""Reading search segments, query strings and JSON."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from meteorpi_model import EventSearch, FileRecordSearch, MetaConstraint, NSString
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject
from meteorpi_server import parsing
from meteorpi_server.query_api.searches import EVENTS, FILES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
CONSTRAINTS = st.one_of(
    st.builds(lambda key, value: MetaConstraint("string_equals", NSString(key), value), TEXT, TEXT),
    st.builds(
        lambda key, value: MetaConstraint("less", NSString(key), value),
        TEXT,
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.builds(lambda key, value: MetaConstraint("after", NSString(key), value), TEXT, TIMES),
)
FILE_SEARCHES = st.builds(
    FileRecordSearch,
    camera_ids=st.none() | st.lists(TEXT, min_size=1, max_size=3),
    after=st.none() | TIMES,
    lat_min=st.none() | st.floats(-90, 90),
    mime_type=st.none() | TEXT,
    semantic_type=st.none() | TEXT.map(NSString),
    exclude_events=st.booleans(),
    meta_constraints=st.lists(CONSTRAINTS, max_size=3),
    limit=st.integers(0, 10**6),
    skip=st.integers(0, 10**6),
    exclude_export_to=st.none() | st.uuids(),
    exclude_imported=st.booleans(),
)


@pytest.mark.contract("8.1/search-strings")
def test_published_example_of_a_segment_is_read() -> None:
    segment = "%7B%22limit%22%3A100%2C%22skip%22%3A0%2C%22meta%22%3A%5B%5D%7D"  # decoded once by the server

    assert parsing.search_segment(EventSearch, segment) == EventSearch()
    assert parsing.segment_of_search(EventSearch(limit=7)) == quote(
        quote('{"meta":[],"limit":7,"skip":0}', safe=""), safe=""
    )


@pytest.mark.contract("8.1/search-strings", "B-33")
@given(search=FILE_SEARCHES)
def test_a_search_survives_being_encoded_twice(search: FileRecordSearch) -> None:
    segment = unquote(parsing.segment_of_search(search))

    assert parsing.search_segment(FileRecordSearch, segment) == search


@pytest.mark.contract("8.1/search-strings")
@given(search=FILE_SEARCHES)
def test_a_search_encoded_once_is_read_too(search: FileRecordSearch) -> None:
    assert parsing.search_segment(FileRecordSearch, json.dumps(search.as_dict())) == search


@pytest.mark.contract("issue-2.4/query-strings")
@given(search=FILE_SEARCHES)
def test_a_search_survives_the_query_string(search: FileRecordSearch) -> None:
    query = urlencode(parsing.query_of_search(search))
    arguments = MultiDict(parse_qsl(query, keep_blank_values=True))

    assert parsing.query_search(FileRecordSearch, arguments, FILES.fields) == search


@pytest.mark.contract("B-33")
@pytest.mark.parametrize("name", ["a b", "a+b", "100%", "a%20b", "ä/ö", "a&b=c#d"])
def test_blanks_pluses_and_percents_survive(name: str) -> None:
    search = FileRecordSearch(camera_ids=[name])

    found = parsing.search_segment(FileRecordSearch, unquote(parsing.segment_of_search(search)))

    assert found.camera_ids == [name]


@pytest.mark.contract("B-33", "8.1/search-strings")
def test_plus_that_a_client_left_as_it_is_means_plus() -> None:
    document = '{"camera_ids": ["a+b"]}'
    decoded_once = quote(document, safe="+")

    for segment in (document, decoded_once):
        assert parsing.search_segment(FileRecordSearch, segment).camera_ids == ["a+b"]


@pytest.mark.contract("B-46", "faults/http-input")
@pytest.mark.parametrize(
    "segment",
    [
        "",
        "x",
        "limit: 5",
        "[]",
        "null",
        "{",
        '{"limit": -1}',
        '{"limit": 1.5}',
        '{"limit": "1; DROP TABLE"}',
        '{"skip": NaN}',
        '{"lat_min": 1e999}',
        '{"limit": ' + "9" * 5000 + "}",
        '{"lat_min": ' + "9" * 400 + "}",
        '{"meta": [{"key": "a", "type": "less", "value": ' + "9" * 400 + "}]}",
        '{"camera_ids": []}',
        '{"camera_ids": ["\\ud800"]}',
        '{"meta": [{"key": "a", "type": "no", "value": 1}]}',
        '{"after": "yesterday"}',
        '{"after": 1e300}',
        "[" * 100_000,
        '{"a":' * 100 + "1" + "}" * 100,
        "%7B%FF%7D",
    ],
)
def test_bad_segments_are_refused_readably(segment: str) -> None:
    with pytest.raises(InvalidDocumentError):
        parsing.search_segment(FileRecordSearch, segment)


@pytest.mark.contract("8.4/problems")
def test_errors_point_at_the_culprit() -> None:
    document: JsonObject = {"meta": [{"key": "ok", "type": "less", "value": 1}, {"key": "a", "type": "less"}]}

    with pytest.raises(InvalidDocumentError) as caught:
        parsing.search_segment(FileRecordSearch, json.dumps(document))

    assert caught.value.pointer == "/meta/1/value"


@pytest.mark.contract("issue-2.4/query-strings", "faults/http-input")
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("colour=red", "/colour"),
        ("a%2Fb=1", "/a~1b"),
        ("limit=1&limit=2", "/limit"),
        ("limit=many", "/limit"),
        ("lat_min=1e999", "/lat_min"),
        ("after=yesterday", "/after"),
        ("after=10-10", "/after"),
        ("exclude_events=perhaps", "/exclude_events"),
        ("meta=%7B", "/meta"),
        ("event_type=x", "/event_type"),
    ],
)
def test_bad_query_parameters_are_named(query: str, pointer: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        parsing.query_search(FileRecordSearch, MultiDict(parse_qsl(query)), FILES.fields)

    assert caught.value.pointer == pointer


def test_query_strings_take_times_as_people_write_them() -> None:
    arguments = MultiDict(
        [("after", "2015-04-01T00:21:03.456Z"), ("before", "1427847663457"), ("_", "cache buster")]
    )

    search = parsing.query_search(EventSearch, arguments, EVENTS.fields)

    assert search.after == datetime(2015, 4, 1, 0, 21, 3, 456000)
    assert search.before == datetime(2015, 4, 1, 0, 21, 3, 457000)


@pytest.mark.contract("B-46", "faults/http-input")
@given(body=st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_json_or_a_readable_refusal(body: bytes | str) -> None:
    with contextlib.suppress(InvalidDocumentError):
        parsing.load_json(body)


@pytest.mark.contract("8.1/status-time")
@pytest.mark.parametrize("text", ["", "1.5", "abc", "1e5", "9" * 17, "9" * 16, "٣", "--1", "0x10", " 1"])
def test_bad_times_in_paths_are_refused(text: str) -> None:
    with pytest.raises(InvalidDocumentError):
        parsing.path_time(text)


def test_ids_are_read_in_either_spelling() -> None:
    expected = UUID("a3949199e2df41a0bff500985dc2c93e")

    assert parsing.hex_id("a3949199e2df41a0bff500985dc2c93e") == expected
    assert parsing.hex_id("A3949199-E2DF-41A0-BFF5-00985DC2C93E") == expected


def test_names_in_paths_can_be_encoded_once_or_twice() -> None:
    assert parsing.names_in_path("a b", "name") == ["a b"]
    assert parsing.names_in_path("a%2Fb", "name") == ["a%2Fb", "a/b"]
    with pytest.raises(InvalidDocumentError):
        parsing.names_in_path("a\0b", "name")
    with pytest.raises(InvalidDocumentError):
        parsing.names_in_path("a%00b", "name")
