"""Any part of an archive is what stands there in the whole, whatever was asked for before."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.archiving import Form, Plan, ZipLayout
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.stored_blocks import blocks, content_offset, stored_length
from tests.archive.plans import (
    SOURCES,
    archive,
    directory_entry,
    filling,
    planned,
    plans,
    text_entry,
    without_crcs,
)


def part(plan: Plan, start: int, stop: int) -> bytes:
    return b"".join(send(plan, SOURCES, start, stop))


@cache
def mixed_plan() -> Plan:
    entries = [directory_entry("empty"), text_entry("none.txt")]
    entries += [
        text_entry(f"{form}-{size}.bin", filling(size, size), form)
        for form in (Form.STORED, Form.BLOCKS, Form.DEFLATED)
        for size in (1, 65_535, 65_536, 131_072)
    ]
    return Plan(tuple(entries), b"comment")


@pytest.mark.contract("archive-4.5", "archive-3.8/range", "archive-6.2")
@settings(max_examples=30)
@given(plan=plans(), data=st.data())
def test_every_part_is_what_stands_in_the_whole(plan: Plan, data: st.DataObject) -> None:
    whole = archive(plan)

    for _ in range(20):
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, len(whole)) | st.integers(start, min(len(whole), start + 70)))
        assert part(plan, start, stop) == whole[start:stop]


@pytest.mark.contract("archive-4.5", "archive-6.2")
def test_parts_that_begin_and_end_beside_every_boundary_are_right() -> None:
    plan = mixed_plan()
    whole = archive(plan)
    layout = plan.layout
    edges = {*layout.starts, *(layout.directory_start + each for each in layout.directory_starts)}
    edges |= set(piece_ends(layout)) | {0, layout.total}
    near = sorted({at + step for at in edges for step in (-1, 0, 1)} & set(range(layout.total + 1)))

    for start, stop in pairwise(near):
        assert part(plan, start, stop) == whole[start:stop]
    for at in near:
        stop = min(at + 1, layout.total)
        assert part(plan, at, stop) == whole[at:stop]


def piece_ends(layout: ZipLayout) -> list[int]:
    ends, position = [], 0
    for piece in layout.pieces():
        position += len(piece) if isinstance(piece, bytes) else piece.stop - piece.start
        ends.append(position)
    return ends


@pytest.mark.contract("archive-6.2", "archive-defect-15")
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(0, 10**6), min_size=20, max_size=20))
def test_download_that_breaks_twenty_times_is_the_whole_in_the_end(cuts: list[int]) -> None:
    plan = mixed_plan()
    whole = archive(plan)
    received = b""

    for cut in sorted(cut % len(whole) for cut in cuts):
        received += part(Plan.from_bytes(plan.to_bytes()), len(received), max(cut, len(received)))
    received += part(plan, len(received), len(whole))

    assert received == whole


@pytest.mark.contract("archive-4.5")
def test_one_byte_far_inside_a_huge_archive_costs_no_walk() -> None:
    """Only the slice asked for is ever named: nobody could read the other terabytes."""
    layout = ZipLayout([planned(f"{number}.bin", 1 << 36) for number in range(200)])
    middle = layout.starts[100] + 10**9

    (piece,) = layout.pieces(middle, middle + 1)

    data = layout.starts[100] + 30 + len("100.bin") + 9 + 20
    assert not isinstance(piece, bytes)
    assert (piece.index, piece.start, piece.stop) == (100, middle - data, middle - data + 1)


def test_archive_whose_checksums_are_not_known_has_no_parts() -> None:
    plan = without_crcs(Plan((text_entry("a", b"content", Form.BLOCKS),)))

    assert plan.total_bytes is not None
    with pytest.raises(InvalidDocumentError):
        send(plan, SOURCES, 1)


@pytest.mark.contract("archive-4.4", "archive-4.5")
@settings(max_examples=80)
@given(
    size=st.sampled_from([0, 1, 65_534, 65_535, 65_536, 131_070, 131_071, 140_000]) | st.integers(0, 1000),
    step=st.sampled_from([1, 999, 65_535, 65_536, 10**6]),
    data=st.data(),
)
def test_blocks_of_a_part_are_those_of_the_whole(size: int, step: int, data: st.DataObject) -> None:
    step = max(step, size // 500)
    content = filling(size, 7)
    length = stored_length(size)
    whole = b"".join(blocks([content], size, 0, length))
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    first, last = content_offset(start), content_offset(stop)

    found = b"".join(
        blocks((content[at : min(at + step, last)] for at in range(first, last, step)), size, start, stop)
    )

    assert found == whole[start:stop]
    assert len(whole) == length
