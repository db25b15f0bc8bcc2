"""Wire forms: what goes out comes back, fits its schema, and bad input is named."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from meteorpi_model import (
    CameraStatus,
    Event,
    EventSearch,
    ExportConfiguration,
    FileRecord,
    FileRecordSearch,
    Location,
    Meta,
    MetaConstraint,
    NSString,
    Orientation,
    User,
    now,
    schemas,
)
from meteorpi_model.errors import InvalidDocumentError, UnavailableError

from . import strategies as random_objects

REGISTRY: Registry[Any] = Registry().with_resources(
    [(schemas.URN + name, Resource.from_contents(schemas.load(name))) for name in schemas.names()]
)

KINDS: dict[str, tuple[st.SearchStrategy[Any], Callable[[object], Any]]] = {
    "meta": (random_objects.metas, Meta.from_dict),
    "file_record": (random_objects.file_records(), FileRecord.from_dict),
    "event": (random_objects.events, Event.from_dict),
    "camera_status": (random_objects.camera_statuses(), CameraStatus.from_dict),
    "meta_constraint": (random_objects.constraints, MetaConstraint.from_dict),
    "file_record_search": (random_objects.file_searches(), FileRecordSearch.from_dict),
    "event_search": (random_objects.event_searches(), EventSearch.from_dict),
    "export_configuration": (random_objects.export_configurations, ExportConfiguration.from_dict),
    "user": (random_objects.users, User.from_dict),
}

PUBLISHED_FILE = json.loads(
    '{"file_id":"a3949199e2df41a0bff500985dc2c93e","camera_id":"aabbccddeeff","file_time":1427847660000,'
    '"file_size":21,"mime_type":"text/plain","semantic_type":"meteorpi:test_file",'
    '"status_id":"ababc09c8199431ba54e2e0f35f5fb25","md5":"fb49ad202107210b4b01d2cf3249a11d",'
    '"meta":[{"type":"string","key":"meteorpi:meta_key_0","value":"meta_value_0"}]}'
)
PUBLISHED_STATUS = json.loads(
    '{"status_id":"ababc09c8199431ba54e2e0f35f5fb25","camera_id":"aabbccddeeff","lens":"a_lens",'
    '"sensor":"a_sensor","inst_url":"http://example.org","inst_name":"name","software_version":1,'
    '"valid_from":1427846460000,"valid_to":1427847000000,'
    '"location":{"lat":10,"long":10,"gps":true,"error":12.8},'
    '"orientation":{"alt":0.5,"az":0.6,"error":0.7,"rot":1.0,"width":80.0},'
    '"regions":[[{"x":0,"y":0},{"x":100,"y":0},{"x":0,"y":100}]]}'
)
PUBLISHED_EVENT = {
    "event_id": "c3949199e2df41a0bff500985dc2c93e",
    "camera_id": "aabbccddeeff",
    "event_time": 1427846760000,
    "event_type": "meteorpi:omgmeteors",
    "status_id": "ababc09c8199431ba54e2e0f35f5fb25",
    "files": [PUBLISHED_FILE],
    "meta": [{"type": "number", "key": "meteorpi:file_count", "value": 2}],
}
PUBLISHED_SEARCH = json.loads(
    '{"camera_ids":["aabbccddeeff"],"after":1427846460000,"exclude_events":true,"limit":100,"skip":0,'
    '"meta":[{"key":"meteorpi:number_key","type":"less","value":4}]}'
)
PUBLISHED_EXPORT = {
    "type": "file",
    "config_id": "d3949199e2df41a0bff500985dc2c93e",
    "target_url": "http://host/import",
    "user_id": "u",
    "password": "p",
    "search": PUBLISHED_SEARCH,
    "config_name": "name",
    "config_description": "description",
    "enabled": False,
}
PUBLISHED_USER = {"user_id": "the_user", "role_mask": 1, "roles": ["user"]}


@pytest.mark.contract("2.4/forms", "2.4/round-trip", "B-04", "B-06")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_documents_round_trip_through_json_and_fit_their_schema(kind: str, data: st.DataObject) -> None:
    strategy, from_dict = KINDS[kind]
    thing = data.draw(strategy)

    document = json.loads(json.dumps(thing.as_dict()))
    back = from_dict(document)

    assert back == thing
    assert back.as_dict() == thing.as_dict()
    assert str(back) == str(thing)
    Draft202012Validator(schemas.load(kind), registry=REGISTRY).validate(document)


@pytest.mark.contract("2.4/left-out")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_unknown_keys_are_ignored_and_none_is_left_out(kind: str, data: st.DataObject) -> None:
    strategy, from_dict = KINDS[kind]
    document = data.draw(strategy).as_dict()

    assert None not in document.values()
    assert from_dict(document | {"$$hashKey": "object:7"}).as_dict() == document


@pytest.mark.contract(
    "2.5/file-record", "2.5/event", "2.5/camera-status", "2.5/search", "2.5/export-configuration", "2.5/user"
)
@pytest.mark.parametrize(
    ("from_dict", "document"),
    [
        (FileRecord.from_dict, PUBLISHED_FILE),
        (CameraStatus.from_dict, PUBLISHED_STATUS),
        (Event.from_dict, PUBLISHED_EVENT),
        (FileRecordSearch.from_dict, PUBLISHED_SEARCH),
        (ExportConfiguration.from_dict, PUBLISHED_EXPORT),
        (User.from_dict, PUBLISHED_USER),
    ],
)
def test_published_examples_are_read_and_written_alike(
    from_dict: Callable[[object], Any], document: object
) -> None:
    assert from_dict(document).as_dict() == document


@pytest.mark.contract("B-05")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_documents_raise_value_errors_only(kind: str, data: st.DataObject) -> None:
    strategy, from_dict = KINDS[kind]
    document = json.loads(json.dumps(data.draw(strategy).as_dict()))
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    )
    key = data.draw(st.sampled_from(sorted(document) or ["x"]))
    document[key] = data.draw(junk)

    with contextlib.suppress(ValueError):  # whatever else escapes fails the test
        from_dict(document).as_dict()


JUNK: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e300, math.nan, math.inf, 10**400),
    *("", "x", ":", "a:", "\0", [], [None], [[]], ["x"], {}, {"x": 1}),
]
PUBLISHED = {
    "file_record": PUBLISHED_FILE,
    "event": PUBLISHED_EVENT,
    "camera_status": PUBLISHED_STATUS,
    "file_record_search": PUBLISHED_SEARCH,
    "export_configuration": PUBLISHED_EXPORT,
    "user": PUBLISHED_USER,
}


def places_in(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in `document`, with each of its keys."""
    if isinstance(document, dict | list):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from places_in(document[key])


@pytest.mark.contract("B-05")
@pytest.mark.parametrize("kind", PUBLISHED)
def test_any_member_that_is_junk_or_missing_raises_value_errors_only(kind: str) -> None:
    document = copy.deepcopy(PUBLISHED[kind])

    for container, key in list(places_in(document)):
        kept = container[key]
        for junk in JUNK:
            container[key] = junk
            with contextlib.suppress(ValueError):  # whatever else escapes fails the test
                KINDS[kind][1](document).as_dict()
        if isinstance(container, dict):
            del container[key]
            with contextlib.suppress(ValueError):
                KINDS[kind][1](document).as_dict()
        container[key] = kept

    assert KINDS[kind][1](document).as_dict() == PUBLISHED[kind]


@pytest.mark.contract("B-05")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("junk", [None, 3, "text", [], [1]])
def test_what_is_no_object_is_refused(kind: str, junk: object) -> None:
    with pytest.raises(ValueError, match="JSON object"):
        KINDS[kind][1](junk)


@pytest.mark.contract("B-05")
def test_errors_point_at_the_culprit() -> None:
    document = {
        "event_id": "0" * 32,
        "camera_id": "c",
        "event_time": 0,
        "event_type": "a:b",
        "status_id": "0" * 32,
    }
    bad = document | {"meta": [], "files": [PUBLISHED_FILE | {"meta": [{"type": "string", "key": "k"}]}]}

    with pytest.raises(InvalidDocumentError) as caught:
        Event.from_dict(bad)

    assert caught.value.pointer == "/files/0/meta/0/value"


@pytest.mark.contract("2.3")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_things_are_equal_when_class_and_every_attribute_are(kind: str, data: st.DataObject) -> None:
    strategy, from_dict = KINDS[kind]
    thing = data.draw(strategy)
    same, other = from_dict(thing.as_dict()), from_dict(thing.as_dict())
    attributes = [name for name in vars(other) if not name.startswith("_")]
    name = data.draw(st.sampled_from(attributes))
    setattr(other, name, object())

    assert thing == same
    assert not thing != same  # noqa: SIM202 - the operator itself is tested
    assert thing != other
    assert thing != thing.as_dict()
    assert thing != type("Lookalike", (), {})()


@pytest.mark.contract("2.3")
def test_things_without_lists_can_be_hashed() -> None:
    def make() -> set[object]:
        return {NSString("a"), Meta(NSString("k"), 1), User("u", 1), Location(1, 2), Orientation(1, 2)}

    assert make() == make()
    for thing in (EventSearch(), FileRecord("c", "image/png", NSString("t"), UUID(int=1))):
        with pytest.raises(TypeError):
            hash(thing)


@pytest.mark.contract("3.4/from_dict")
@pytest.mark.parametrize("key", ["meta", "file_size"])
def test_a_file_record_needs_meta_and_size(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        FileRecord.from_dict({k: v for k, v in PUBLISHED_FILE.items() if k != key})


@pytest.mark.contract("3.5/from_dict")
@pytest.mark.parametrize("key", ["meta", "files"])
def test_an_event_needs_meta_and_files(key: str) -> None:
    event = Event("c", datetime(2015, 4, 1), None, NSString("e"), UUID(int=1)).as_dict()
    del event[key]

    with pytest.raises(ValueError, match=key):
        Event.from_dict(event)


@pytest.mark.contract("3.8/from_dict")
@pytest.mark.parametrize("key", ["location", "orientation", "regions"])
def test_a_status_needs_place_pointing_and_regions(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        CameraStatus.from_dict({k: v for k, v in PUBLISHED_STATUS.items() if k != key})


@pytest.mark.contract("3.4/attributes")
def test_a_new_file_record_is_empty() -> None:
    record = FileRecord("c", "image/png", NSString("t"), UUID(int=1), "name.png", "5d41")

    assert (record.camera_id, record.mime_type, record.semantic_type) == ("c", "image/png", NSString("t"))
    assert (record.status_id, record.file_name, record.md5) == (UUID(int=1), "name.png", "5d41")
    assert (record.file_id, record.file_time, record.file_size, record.meta) == (None, None, 0, [])
    with pytest.raises(UnavailableError):
        record.get_path()


@pytest.mark.contract("3.1/type", "3.1/values")
@pytest.mark.parametrize(
    ("value", "kind"),
    [(3, "number"), (2.5, "number"), (True, "number"), ("x", "string"), (datetime(2015, 4, 1), "date")],
)
def test_metadata_knows_its_type(value: Any, kind: str) -> None:
    item = Meta(NSString("k"), value)
    values = {"string": item.string_value(), "number": item.float_value(), "date": item.date_value()}

    assert item.type() == kind
    assert values.pop(kind) == value
    assert set(values.values()) == {None}


@pytest.mark.contract("3.1/type", "B-07")
@pytest.mark.parametrize("value", [None, b"bytes", ["list"]])
def test_metadata_of_unknown_type_is_not_written(value: Any) -> None:
    item = Meta(NSString("k"), value)

    assert item.type() == "unknown"
    with pytest.raises(ValueError, match="unknown type"):
        item.as_dict()


@pytest.mark.contract("3.1/key", "3.1/dict", "2.2/use", "B-06")
def test_metadata_keys_are_namespaced_on_both_sides() -> None:
    assert Meta.from_dict({"type": "string", "key": "a:b", "value": "v"}).key == NSString("b", "a")
    with pytest.raises(ValueError, match="type"):
        Meta.from_dict({"type": "blob", "key": "a:b", "value": "v"})


@pytest.mark.contract("3.1/dict", "2.1/forms")
def test_metadata_is_written_with_type_key_and_value() -> None:
    moment = datetime(2015, 4, 1, 0, 21, 3, 456000)

    assert Meta(NSString("k"), 2.5).as_dict() == {"type": "number", "key": "meteorpi:k", "value": 2.5}
    assert Meta(NSString("k", "x"), "v").as_dict() == {"type": "string", "key": "x:k", "value": "v"}
    date = {"type": "date", "key": "meteorpi:k", "value": 1427847663456}
    assert Meta(NSString("k"), moment).as_dict() == date
    assert Meta.from_dict(date).value == moment


@pytest.mark.contract("3.2/dict")
def test_constraints_on_dates_are_written_in_milliseconds() -> None:
    constraint = MetaConstraint("before", NSString("k"), datetime(2015, 4, 1, 0, 21, 3, 456000))

    assert constraint.as_dict() == {"type": "before", "key": "meteorpi:k", "value": 1427847663456}
    assert MetaConstraint.from_dict(constraint.as_dict()) == constraint


@pytest.mark.contract("3.2/dict")
def test_unknown_constraint_types_are_refused_everywhere() -> None:
    with pytest.raises(ValueError, match="like"):
        MetaConstraint("like", NSString("k"), "v").as_dict()
    with pytest.raises(ValueError, match="like"):
        MetaConstraint.from_dict({"type": "like", "key": "a:b", "value": "v"})


@pytest.mark.contract("3.2/dict")
@pytest.mark.parametrize(("kind", "value"), [("less", "x"), ("before", 3), ("string_equals", 3)])
def test_constraint_values_must_fit_their_type(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match=kind):
        MetaConstraint(kind, NSString("k"), value).as_dict()


@pytest.mark.contract("3.3/limit", "3.3/as_dict", "B-62")
def test_no_limit_is_written_as_zero_and_a_missing_limit_means_100() -> None:
    assert FileRecordSearch(limit=None).as_dict() == {"limit": 0, "skip": 0, "meta": []}
    assert EventSearch.from_dict(EventSearch(limit=None).as_dict()).limit == 0
    assert EventSearch.from_dict({}).limit == 100


@pytest.mark.contract("3.3/camera_ids", "3.3/box", "3.3/times", "3.3/offsets")
@pytest.mark.parametrize("search", [FileRecordSearch, EventSearch])
@pytest.mark.parametrize(
    "arguments",
    [
        {"camera_ids": []},
        {"camera_ids": ""},
        {"camera_ids": ["a", ""]},
        {"lat_min": 2, "lat_max": 1},
        {"long_min": 2, "long_max": 1},
        {"after": datetime(2015, 4, 2), "before": datetime(2015, 4, 1)},
        {"after_offset": 2, "before_offset": 1},
    ],
)
def test_searches_refuse_what_cannot_match(search: Any, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        search(**arguments)


@pytest.mark.contract("3.3/camera_ids", "3.3/times")
def test_equal_times_and_one_camera_are_fine() -> None:
    moment = datetime(2015, 4, 1)

    assert EventSearch(after=moment, before=moment).after == moment
    assert EventSearch(camera_ids="one").camera_ids == ["one"]
    assert EventSearch.from_dict({"camera_ids": "one"}).camera_ids == ["one"]


@pytest.mark.contract("3.3/limit", "3.3/skip", "B-09")
@pytest.mark.parametrize("value", [-1, 1.5, "1; drop table t_file", True])
@pytest.mark.parametrize("name", ["limit", "skip"])
def test_limit_and_skip_are_natural_numbers(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        FileRecordSearch(**{name: value})
    with pytest.raises(ValueError):
        EventSearch.from_dict({name: value})


@pytest.mark.contract("3.3/order")
def test_positional_arguments_keep_their_order() -> None:
    moment, later, config = datetime(2015, 4, 1), datetime(2015, 4, 2), UUID(int=9)
    kind, constraint = NSString("t"), MetaConstraint("less", NSString("k"), 4)

    files = FileRecordSearch(
        ["c"], 1, 2, 3, 4, moment, later, "image/png", kind, True, 5, 6, [constraint], 7, 8, config, True
    )
    events = EventSearch(["c"], 1, 2, 3, 4, moment, later, 5, 6, kind, [constraint], 7, 8, config, True)

    assert (files.mime_type, files.semantic_type, files.exclude_events) == ("image/png", kind, True)
    assert events.event_type == kind
    for search in (files, events):
        assert (search.lat_min, search.lat_max, search.long_min, search.long_max) == (1, 2, 3, 4)
        assert (search.after, search.before) == (moment, later)
        assert (search.after_offset, search.before_offset, search.limit, search.skip) == (5, 6, 7, 8)
        assert (search.meta_constraints, search.exclude_export_to) == ([constraint], config)
        assert search.exclude_imported


@pytest.mark.contract("3.3/exclude_events", "3.3/as_dict")
def test_any_true_value_excludes_events_and_old_keys_are_ignored() -> None:
    search = FileRecordSearch.from_dict({"exclude_events": "True", "exclude_incomplete": True})

    assert search.exclude_events
    assert FileRecordSearch.from_dict(search.as_dict()) == search


@pytest.mark.contract("3.3/as_dict")
def test_flags_of_a_search_are_written_only_when_true() -> None:
    plain = FileRecordSearch(camera_ids="one", semantic_type=NSString("t"), exclude_export_to=UUID(int=9))
    flagged = FileRecordSearch(exclude_events=True, exclude_imported=True)

    assert plain.as_dict() == {
        "camera_ids": ["one"],
        "semantic_type": "meteorpi:t",
        "exclude_export_to": UUID(int=9).hex,
        "limit": 100,
        "skip": 0,
        "meta": [],
    }
    assert {key for key, value in flagged.as_dict().items() if value is True} == {
        "exclude_events",
        "exclude_imported",
    }


@pytest.mark.contract("2.4/flags")
@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (1, True), ("true", False), (0, False), (2, False)]
)
def test_flags_are_true_only_for_true_or_one(value: object, expected: bool) -> None:
    assert EventSearch.from_dict({"exclude_imported": value}).exclude_imported is expected


@pytest.mark.contract("3.6", "3.7")
def test_orientation_has_its_error_third() -> None:
    assert Orientation(1, 2, 3, 4, 5).as_dict() == {"alt": 1, "az": 2, "error": 3, "rot": 4, "width": 5}
    assert Location(1, 2, True, 4).as_dict() == {"lat": 1, "long": 2, "gps": True, "error": 4}
    assert Location() == Location(0.0, 0.0, False, 0.0)


@pytest.mark.contract("3.8/attributes")
def test_a_new_status_is_current_and_without_regions() -> None:
    status = CameraStatus("lens", "chip", None, "Farm", Orientation(), Location(), "cam")

    assert (status.software_version, status.valid_from, status.valid_to) == (1, None, None)
    assert (status.regions, status.status_id) == ([], None)
    assert (status.lens, status.sensor, status.inst_url, status.inst_name) == ("lens", "chip", None, "Farm")
    assert (status.orientation, status.location, status.camera_id) == (Orientation(), Location(), "cam")
    assert not {"valid_to", "inst_url"} & status.as_dict().keys()


@pytest.mark.contract("3.5/attributes")
def test_a_new_event_has_neither_files_nor_metadata() -> None:
    event = Event("cam", datetime(2015, 4, 1), UUID(int=2), NSString("e"), UUID(int=1))

    assert (event.file_records, event.meta) == ([], [])
    assert (event.camera_id, event.event_time, event.event_id) == ("cam", datetime(2015, 4, 1), UUID(int=2))
    assert (event.event_type, event.status_id) == (NSString("e"), UUID(int=1))
    assert event.file_records is not Event("c", now(), None, NSString("e"), UUID(int=1)).file_records


@pytest.mark.contract("3.9/dict")
def test_an_account_is_read_by_its_mask() -> None:
    document = {"user_id": "u", "role_mask": 5, "roles": ["camera_admin"]}

    assert User.from_dict(document) == User("u", 5)
    assert User("u", 5).as_dict() == {"user_id": "u", "role_mask": 5, "roles": ["user", "import"]}


@pytest.mark.contract("3.10/attributes")
def test_a_new_export_is_disabled_and_without_id() -> None:
    config = ExportConfiguration("http://h/import", "u", "p", EventSearch(), "n", "d")

    assert (config.enabled, config.config_id) == (False, None)
    assert (config.target_url, config.user_id, config.password) == ("http://h/import", "u", "p")
    assert (config.search, config.name, config.description) == (EventSearch(), "n", "d")
    assert ExportConfiguration("http://h/", "u", "p", EventSearch(), "n", "d", True, UUID(int=1)).enabled


@pytest.mark.contract("3.8/add_region")
def test_regions_are_given_as_flat_coordinates() -> None:
    status = CameraStatus.from_dict(PUBLISHED_STATUS)
    status.add_region([1, 2, 3, 4, 5, 6])

    assert status.regions[-1] == [{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 6}]
    with pytest.raises(ValueError, match="corners"):
        status.add_region([1, 2, 3, 4, 5])


@pytest.mark.contract("3.10/search", "B-11")
@pytest.mark.parametrize("search", [None, {}, "search"])
def test_an_export_needs_one_of_the_two_searches(search: Any) -> None:
    with pytest.raises(ValueError):
        ExportConfiguration("http://h/import", "u", "p", search, "n", "d")


@pytest.mark.contract("3.10/search", "3.10/dict")
def test_export_configuration_type_follows_its_search() -> None:
    config = ExportConfiguration("http://h/import", "u", "p", EventSearch(), "n", "d")

    assert config.type == "event"
    assert config.as_dict()["enabled"] is False
    with pytest.raises(ValueError, match="type"):
        ExportConfiguration.from_dict(config.as_dict() | {"type": "status"})
