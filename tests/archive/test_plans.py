"""Plans: what they promise, what tells them apart, and what a ticket keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.archiving import Entry, Form, OnError, Plan
from meteorpi_server.archiving.timestamps import dos_time_and_date, extended_time
from tests.archive.plans import MTIME, archive, directory_entry, plans, text_entry, without_crcs

RECORD = Entry(
    name="a.jpg", kind="record", reference="0" * 32, size=5, crc=1, mtime=MTIME, details={"md5": "0" * 32}
)


@pytest.mark.contract("archive-3.8/etag", "archive-defect-25")
@settings(max_examples=50)
@given(one=plans(), other=plans())
def test_tags_are_equal_exactly_when_the_bytes_are(one: Plan, other: Plan) -> None:
    again = Plan.from_bytes(one.to_bytes())

    assert again == one
    assert again.etag == one.etag
    assert (one.etag == other.etag) == (archive(one) == archive(other))


CHANGES: list[dict[str, Any]] = [
    {"name": "b.jpg"},
    {"size": 6},
    {"crc": 2},
    {"mtime": MTIME + 1},
    {"form": Form.BLOCKS},
    {"kind": "directory", "name": "a.jpg/", "size": 0, "crc": 0},
]


@pytest.mark.contract("archive-3.8/etag")
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_bytes_changes_the_tag(change: dict[str, Any]) -> None:
    assert Plan((RECORD,)).etag != Plan((replace(RECORD, **change),)).etag


@pytest.mark.contract("archive-3.8/etag")
def test_comment_and_order_are_in_the_tag() -> None:
    other = replace(RECORD, name="b.jpg")

    tags = {Plan((RECORD,)).etag, Plan((RECORD,), b"x").etag, Plan((RECORD, other)).etag}
    tags.add(Plan((other, RECORD)).etag)

    assert len(tags) == 4


@pytest.mark.contract("archive-3.8/etag", "archive-3.15/encoder")
def test_encoder_of_a_deflated_body_is_in_the_tag() -> None:
    deflated = replace(RECORD, form=Form.DEFLATED, stored_size=3, details={"encoder": "zlib 1.3 level 1"})

    other = replace(deflated, details={"encoder": "isal 2.31 level 1"})

    assert Plan((deflated,)).etag != Plan((other,)).etag


@pytest.mark.contract("archive-3.8/etag", "archive-6.2")
def test_tag_does_not_depend_on_where_the_content_is() -> None:
    elsewhere = replace(RECORD, kind="path", reference="night/a.jpg", details={"inode": 7})

    assert Plan((RECORD,)).etag == Plan((elsewhere,)).etag


@pytest.mark.parametrize(
    ("change", "is_sized", "is_resumable"),
    [
        ({}, True, True),
        ({"form": Form.BLOCKS}, True, True),
        ({"form": Form.BLOCKS, "crc": None}, True, False),
        ({"form": Form.STREAMED, "size": None, "crc": None}, False, False),
    ],
)
@pytest.mark.contract("archive-4.4")
def test_what_is_known_of_the_entries_decides_what_a_plan_promises(
    change: dict[str, Any], is_sized: bool, is_resumable: bool
) -> None:
    plan = Plan((directory_entry("d"), replace(RECORD, **change)))

    assert (plan.is_sized, plan.is_resumable) == (is_sized, is_resumable)
    assert (plan.total_bytes is not None, plan.etag is not None) == (is_sized, is_resumable)


@pytest.mark.contract("archive-3.12/policies")
@pytest.mark.parametrize("on_error", [OnError.SKIP, OnError.PARTIAL])
def test_leaving_out_what_fails_costs_the_length_of_plans_with_urls_only(on_error: OnError) -> None:
    remote = replace(RECORD, kind="url", reference="http://source.example/a.jpg")

    assert Plan((RECORD,), on_error=on_error).is_resumable
    assert not Plan((RECORD, remote), on_error=on_error).is_sized
    assert Plan((RECORD, remote)).is_resumable


@pytest.mark.contract("archive-4.4", "archive-3.8/etag")
@settings(max_examples=20)
@given(plan=plans())
def test_checksums_that_a_pass_found_make_the_plan_resumable(plan: Plan) -> None:
    found = {index: entry.crc for index, entry in enumerate(plan.entries) if entry.crc is not None}

    assert without_crcs(plan).with_crcs(found).etag == plan.etag


def test_newest_time_is_that_of_the_latest_entry() -> None:
    assert Plan((text_entry("a", mtime=5), text_entry("b", mtime=9), text_entry("c"))).newest == MTIME
    assert Plan(()).newest == 0


def test_names_that_are_not_utf_8_survive_in_references() -> None:
    plan = Plan((replace(RECORD, kind="path", reference="night/\udce9.txt"),), "é".encode(), OnError.SKIP)

    assert Plan.from_bytes(plan.to_bytes()) == plan


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda stored: stored[:-3],
    lambda stored: b"MPA9" + stored[4:],
    lambda stored: stored[:4] + b"\0" + stored[5:],
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_plans_are_refused(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidDocumentError):
        Plan.from_bytes(damage(Plan((RECORD,)).to_bytes()))


@pytest.mark.contract("archive-3.13/times")
@pytest.mark.parametrize(
    ("mtime", "date", "clock"),
    [
        (MTIME, (2015, 12, 13), (9, 46, 40)),
        (MTIME + 1, (2015, 12, 13), (9, 46, 40)),
        (0, (1980, 1, 1), (0, 0, 0)),
        (-1, (1980, 1, 1), (0, 0, 0)),
        (2**40, (2107, 12, 31), (23, 59, 58)),
        (951_827_696, (2000, 2, 29), (12, 34, 56)),
    ],
)
def test_dos_times_are_utc_and_clamped(
    mtime: int, date: tuple[int, int, int], clock: tuple[int, int, int]
) -> None:
    time_field, date_field = dos_time_and_date(mtime)

    assert (1980 + (date_field >> 9), date_field >> 5 & 15, date_field & 31) == date
    assert (time_field >> 11, time_field >> 5 & 63, (time_field & 31) * 2) == clock


@pytest.mark.contract("archive-3.13/times", "archive-defect-8")
@pytest.mark.parametrize(
    ("mtime", "field"),
    [
        (MTIME, "5554050001803e6d56"),
        (-1, "5554050001ffffffff"),
        (2**31 - 1, "5554050001ffffff7f"),
        (2**31, ""),
        (-(2**31) - 1, ""),
    ],
)
def test_extended_time_is_to_the_second_where_it_fits(mtime: int, field: str) -> None:
    assert extended_time(mtime).hex() == field
