"""Whatever is held and whatever is asked: a search finds what a filter in Python finds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meteorpi_db import MeteorDatabase
from meteorpi_db.records.files import time_offset
from meteorpi_model import (
    Event,
    EventSearch,
    FileRecord,
    FileRecordSearch,
    Meta,
    MetaConstraint,
    NSString,
    utc_datetime_to_milliseconds,
)
from tests.conftest import OpenDatabase
from tests.db.making import add_status, at, new_file

CAMERAS = ("a", "b", "a ", "A")
MINUTES = st.sampled_from([0, 1, 1.0001, 2, 240, 1440, 1441, 2880])
KEYS = st.sampled_from(["k", "l"]).map(NSString)
TEXTS = st.sampled_from(["", "x", "X", "x ", "é", "y" * 64, "y" * 64 + "z", "y" * 65])
NUMBERS = st.sampled_from([-1, 0, 0.5, 1, 2**53])
DATES = MINUTES.map(at)
PLACES = st.sampled_from([-10, 0, 0.5, 10])
METAS = st.lists(st.builds(Meta, KEYS, TEXTS | NUMBERS | DATES), max_size=4)
ENTITIES = st.lists(
    st.tuples(st.sampled_from(CAMERAS), MINUTES, METAS, st.sampled_from(["t", "u"]), st.integers(0, 3)),
    max_size=12,
)
STATUSES = st.lists(st.tuples(st.sampled_from(CAMERAS), MINUTES, PLACES, PLACES), max_size=4)


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def _ordered(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    pairs = st.tuples(_maybe(values), _maybe(values))
    return pairs.filter(lambda pair: None in pair or pair[0] <= pair[1])


CONSTRAINTS = st.one_of(
    st.builds(MetaConstraint, st.just("string_equals"), KEYS, TEXTS),
    st.builds(MetaConstraint, st.sampled_from(MetaConstraint.NUMBER_TYPES), KEYS, NUMBERS),
    st.builds(MetaConstraint, st.sampled_from(MetaConstraint.DATE_TYPES), KEYS, DATES),
)
COMMON = st.fixed_dictionaries(
    {
        "camera_ids": _maybe(st.lists(st.sampled_from(CAMERAS), min_size=1)),
        "lats": _ordered(PLACES),
        "longs": _ordered(PLACES),
        "times": _ordered(DATES),
        "offsets": _ordered(st.sampled_from([0, 28799, 28800, 28860, 28860.5, 43200, 86400])),
        "type": _maybe(st.sampled_from(["t", "u"]).map(NSString)),
        "meta_constraints": st.lists(CONSTRAINTS, max_size=2),
        "limit": st.sampled_from([0, 1, 3, 100]),
        "skip": st.sampled_from([0, 0, 1, 5]),
        "exclude_events": st.booleans(),
    }
)


def search_of(kind: Callable[..., Any], wanted: dict[str, Any]) -> Any:
    """The search document for drawn criteria."""
    criteria = {name: wanted[name] for name in ("camera_ids", "meta_constraints", "limit", "skip")}
    for plural, names in (
        ("lats", ("lat_min", "lat_max")),
        ("longs", ("long_min", "long_max")),
        ("times", ("after", "before")),
        ("offsets", ("after_offset", "before_offset")),
    ):
        criteria |= dict(zip(names, wanted[plural], strict=True))
    if kind is FileRecordSearch:
        return kind(**criteria, semantic_type=wanted["type"], exclude_events=wanted["exclude_events"])
    return kind(**criteria, event_type=wanted["type"])


def meets(meta: list[Meta], constraint: MetaConstraint) -> bool:
    """Whether one item meets a constraint, by the words of the contract."""
    expected: Any = constraint.value
    for item in meta:
        value: Any = item.value
        if item.key != constraint.key:
            continue
        if constraint.constraint_type in MetaConstraint.STRING_TYPES:
            matched = item.type() == "string" and value == expected
        elif constraint.constraint_type == "number_equals":
            matched = item.type() == "number" and value == expected
        elif constraint.constraint_type in MetaConstraint.NUMBER_TYPES:
            less = constraint.constraint_type == "less"
            matched = item.type() == "number" and (value <= expected if less else value >= expected)
        else:
            before = constraint.constraint_type == "before"
            matched = item.type() == "date" and (value <= expected if before else value >= expected)
        if matched:
            return True
    return False


def within(value: float | datetime, low: Any, high: Any, *, strict: bool) -> bool:
    if strict:
        return (low is None or value > low) and (high is None or value < high)
    return (low is None or value >= low) and (high is None or value <= high)


def matches(
    entity: FileRecord | Event,
    search: FileRecordSearch | EventSearch,
    places: dict[UUID, tuple[float, float]],
    of_events: set[UUID],
) -> bool:
    """Whether a search should find an entity, by the words of the contract."""
    if isinstance(entity, FileRecord):
        time, kind, wanted = entity.file_time, entity.semantic_type, getattr(search, "semantic_type", None)
        if getattr(search, "exclude_events", False) and entity.file_id in of_events:
            return False
    else:
        time, kind, wanted = entity.event_time, entity.event_type, getattr(search, "event_type", None)
    assert time is not None
    latitude, longitude = places[entity.status_id]
    offset = time_offset(utc_datetime_to_milliseconds(time))
    return (
        (search.camera_ids is None or entity.camera_id in search.camera_ids)
        and within(latitude, search.lat_min, search.lat_max, strict=False)
        and within(longitude, search.long_min, search.long_max, strict=False)
        and within(time, search.after, search.before, strict=True)
        and within(offset, search.after_offset, search.before_offset, strict=True)
        and (wanted is None or kind == wanted)
        and all(meets(entity.meta, constraint) for constraint in search.meta_constraints)
    )


def fill(db: MeteorDatabase, statuses: Any, entities: Any) -> tuple[list[FileRecord], list[Event]]:
    """Everything drawn, in order of registration."""
    for camera in CAMERAS:
        add_status(db, camera, minute=-60, latitude=0, longitude=0)
    for camera, minute, latitude, longitude in sorted(statuses, key=lambda drawn: drawn[1]):
        add_status(db, camera, minute, latitude=latitude, longitude=longitude)
    files: list[FileRecord] = []
    events: list[Event] = []
    for number, (camera, minute, metas, kind, members) in enumerate(entities):
        new = new_file(minute, *metas, camera=camera)
        changed = type(new)(**(vars(new) | {"semantic_type": NSString(kind)}))
        files.append(db.add_file(changed, [bytes([number])]))
        if members:
            records = files[-members:]
            events.append(db.register_event(camera, at(minute), NSString(kind), records, metas))
    return files, events


def expected(entities: list[Any], search: Any, time: str, *context: Any) -> tuple[int, list[Any]]:
    """Number of matches and page, by filtering and sorting in Python."""
    found = [
        (getattr(entity, time), number)
        for number, entity in enumerate(entities)
        if matches(entity, search, *context)
    ]
    page = [entities[number] for _, number in sorted(found, reverse=True)][search.skip :]
    return len(found), page[: search.limit] if search.limit else page


@pytest.mark.contract(
    "3.3/result-order",
    "3.3/meta",
    "3.3/event_type",
    "3.2/and",
    "4.1/search_files",
    "4.2/search_events",
    "issue-2.2",
)
@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(statuses=STATUSES, entities=ENTITIES, searches=st.lists(COMMON, min_size=1, max_size=12))
def test_search_finds_what_a_filter_finds(
    open_database: OpenDatabase, statuses: Any, entities: Any, searches: list[dict[str, Any]]
) -> None:
    db = open_database(file_store_path="memory:")
    db.clear_database()
    files, events = fill(db, statuses, entities)
    places = {
        status.status_id: (status.location.latitude, status.location.longitude)
        for camera in CAMERAS
        for status in db.get_status_history(camera)
        if status.status_id is not None
    }
    of_events = {record.file_id for event in events for record in event.file_records if record.file_id}

    for wanted in searches:
        for_files = search_of(FileRecordSearch, wanted)
        count, page = expected(files, for_files, "file_time", places, of_events)
        assert db.search_files(for_files) == {"count": count, "files": page}
        assert list(db.iterate_files(for_files)) == page
        for_events = search_of(EventSearch, wanted)
        count, page = expected(events, for_events, "event_time", places, of_events)
        assert db.search_events(for_events) == {"count": count, "events": page}
        assert list(db.iterate_events(for_events)) == page
