"""Ranges of content, as pure functions."""

from __future__ import annotations

import email

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from meteorpi_server.ranges import MAX_RANGES, ByteRange, MultipartRanges, parse_ranges


@pytest.mark.contract("8.1/range", "8.1/open-range")
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=90-", [(90, 100)]),
        ("bytes=-10", [(90, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=50-100000", [(50, 100)]),
        ("bytes=99-99", [(99, 100)]),
        ("Bytes=1-2", [(1, 3)]),
        ("bytes= 1-2 , 4-5", [(1, 3), (4, 6)]),
        ("bytes=,1-2,,", [(1, 3)]),
        ("bytes=0-1,200-300", [(0, 2)]),
        ("bytes=0-" + "9" * 10000, [(0, 100)]),
    ],
)
def test_ranges_are_cut_to_the_content(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 100) == [ByteRange(*each) for each in expected]


@pytest.mark.contract("8.1/malformed-range")
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=a-b",
        "bytes=5-3",
        "bytes=-",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=0-9, x",
        "bytes=1 -2",
        "bytes=+1-2",
        "bytes=٣-٤",
        "bits=0-9",
        "items=0-9",
        "0-9",
    ],
)
def test_malformed_ranges_and_other_units_are_ignored(header: str | None) -> None:
    assert parse_ranges(header, 100) == []


@pytest.mark.contract("8.1/unsatisfiable")
@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=500-600,700-800"])
def test_ranges_beyond_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RequestedRangeNotSatisfiable) as caught:
        parse_ranges(header, 100)

    assert dict(caught.value.get_headers())["Content-Range"] == "bytes */100"


@pytest.mark.contract("8.1/several-ranges")
@pytest.mark.parametrize(
    "header",
    ["bytes=0-99,0-99", "bytes=0-60,40-99", "bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1))],
)
def test_ranges_that_cost_more_than_the_content_are_ignored(header: str) -> None:
    assert parse_ranges(header, 100) == []


def test_nothing_can_be_cut_out_of_empty_content() -> None:
    assert parse_ranges("bytes=0-", 0) == []


@pytest.mark.contract("8.1/range", "B-34")
@given(size=st.integers(1, 1000), first=st.integers(0, 1200), extra=st.integers(0, 1200))
def test_a_range_names_what_slicing_names(size: int, first: int, extra: int) -> None:
    content = bytes(number % 251 for number in range(size))
    header = f"bytes={first}-{first + extra}"

    if first >= size:
        with pytest.raises(RequestedRangeNotSatisfiable):
            parse_ranges(header, size)
    else:
        (found,) = parse_ranges(header, size)
        assert content[found.start : found.stop] == content[first : first + extra + 1]
        assert found.content_range(size) == f"bytes {first}-{min(first + extra, size - 1)}/{size}"


@pytest.mark.contract("8.1/malformed-range", "faults/http-input")
@given(header=st.text(max_size=40).map("bytes={}".format) | st.text(max_size=40), size=st.integers(0, 50))
def test_any_text_gives_ranges_within_the_content_or_none(header: str, size: int) -> None:
    try:
        found = parse_ranges(header, size)
    except RequestedRangeNotSatisfiable:
        return

    assert all(0 <= each.start < each.stop <= size for each in found)


@pytest.mark.contract("8.1/several-ranges")
@given(
    content=st.binary(min_size=1, max_size=200),
    cuts=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 199)), min_size=2, max_size=5),
)
def test_several_ranges_become_a_multipart_body_of_the_announced_length(
    content: bytes, cuts: list[tuple[int, int]]
) -> None:
    size = len(content)
    ranges = [ByteRange(min(a, b) % size, min(a, b) % size + 1) for a, b in cuts]
    several = MultipartRanges(ranges, size, "image/png", "boundary")

    body = b"".join(head + content[each.start : each.stop] for head, each in several.parts()) + several.tail

    assert len(body) == several.length
    message = email.message_from_bytes(f"Content-Type: {several.content_type}\r\n\r\n".encode() + body)
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part["Content-Range"] for part in parts] == [each.content_range(size) for each in ranges]
    assert {part.get_content_type() for part in parts} == {"image/png"}
