"""Random model objects, within the limits of the contract."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from hypothesis import strategies as st

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
)
from meteorpi_model.values import truncate_to_milliseconds

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(truncate_to_milliseconds)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64) | st.integers(-(2**53), 2**53)
ids = st.uuids().map(lambda value: UUID(int=value.int))
ns_strings = st.builds(NSString, text, text.filter(lambda value: ":" not in value))
metas = st.builds(Meta, ns_strings, text | numbers | times)
md5s = st.text("0123456789abcdef", min_size=32, max_size=32)


@st.composite
def file_records(draw: st.DrawFn) -> FileRecord:
    record = FileRecord(
        draw(text), draw(text), draw(ns_strings), draw(ids), draw(st.none() | text), draw(st.none() | md5s)
    )
    record.file_id = draw(st.none() | ids)
    record.file_time = draw(st.none() | times)
    record.file_size = draw(st.integers(0, 2**40))
    record.meta = draw(st.lists(metas, max_size=3))
    return record


events = st.builds(
    Event,
    text,
    times,
    st.none() | ids,
    ns_strings,
    ids,
    st.lists(file_records(), max_size=3),
    st.lists(metas, max_size=3),
)


@st.composite
def camera_statuses(draw: st.DrawFn) -> CameraStatus:
    status = CameraStatus(
        draw(text),
        draw(text),
        draw(st.none() | text),
        draw(st.none() | text),
        Orientation(*draw(st.tuples(*[numbers] * 5))),
        Location(draw(numbers), draw(numbers), draw(st.booleans()), draw(numbers)),
        draw(text),
        draw(st.none() | ids),
    )
    status.software_version = draw(st.integers(1, 99))
    status.valid_from = draw(st.none() | times)
    status.valid_to = draw(st.none() | times)
    for corners in draw(st.lists(st.lists(numbers, min_size=6, max_size=10), max_size=2)):
        status.add_region(corners[: len(corners) // 2 * 2])
    return status


constraints = (
    st.builds(MetaConstraint, st.just("string_equals"), ns_strings, text)
    | st.builds(MetaConstraint, st.sampled_from(MetaConstraint.NUMBER_TYPES), ns_strings, numbers)
    | st.builds(MetaConstraint, st.sampled_from(MetaConstraint.DATE_TYPES), ns_strings, times)
)


@st.composite
def _common(draw: st.DrawFn) -> dict[str, object]:
    def pair(values: st.SearchStrategy[object]) -> tuple[object, object]:
        low, high = sorted(draw(st.tuples(values, values)))  # type: ignore[type-var]  # pairs of one ordered type
        return draw(st.sampled_from([(None, None), (low, None), (None, high), (low, high)]))

    lat_min, lat_max = pair(st.floats(-90, 90))
    long_min, long_max = pair(st.floats(-180, 180))
    after, before = pair(times)
    after_offset, before_offset = pair(st.integers(0, 86400))
    return {
        "camera_ids": draw(st.none() | text | st.lists(text, min_size=1, max_size=3)),
        "lat_min": lat_min,
        "lat_max": lat_max,
        "long_min": long_min,
        "long_max": long_max,
        "after": after,
        "before": before,
        "after_offset": after_offset,
        "before_offset": before_offset,
        "meta_constraints": draw(st.lists(constraints, max_size=3)),
        "limit": draw(st.none() | st.integers(0, 1000)),
        "skip": draw(st.integers(0, 1000)),
        "exclude_export_to": draw(st.none() | ids),
        "exclude_imported": draw(st.booleans()),
    }


@st.composite
def file_searches(draw: st.DrawFn) -> FileRecordSearch:
    own = {
        "mime_type": draw(st.none() | text),
        "semantic_type": draw(st.none() | ns_strings),
        "exclude_events": draw(st.booleans()),
    }
    return FileRecordSearch(**draw(_common()), **own)  # type: ignore[arg-type]  # keyword sets built above


@st.composite
def event_searches(draw: st.DrawFn) -> EventSearch:
    return EventSearch(**draw(_common()), event_type=draw(st.none() | ns_strings))  # type: ignore[arg-type]  # as above


export_configurations = st.builds(
    ExportConfiguration,
    text,
    text,
    st.none() | text,
    file_searches() | event_searches(),
    text,
    text,
    st.booleans(),
    st.none() | ids,
)
users = st.builds(User, text, st.integers(0, 7))
