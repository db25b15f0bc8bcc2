"""Conversions: every instant survives, noon starts the night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_model import (
    NSString,
    User,
    get_day_and_offset,
    get_md5_hash,
    milliseconds_to_utc_datetime,
    now,
    utc_datetime_to_milliseconds,
)
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import parse_hex_id

MIDNIGHT = datetime(2015, 4, 1)


@pytest.mark.contract("2.1/now", "2.1/forms")
def test_now_is_naive_utc() -> None:
    difference = datetime.now(UTC).replace(tzinfo=None) - now()

    assert now().tzinfo is None
    assert abs(difference) < timedelta(seconds=5)


@pytest.mark.contract("2.1/from-ms", "B-02")
def test_published_instant_comes_back_with_its_milliseconds() -> None:
    assert milliseconds_to_utc_datetime(1427847663456) == datetime(2015, 4, 1, 0, 21, 3, 456000)


@pytest.mark.contract("2.1/to-ms", "2.1/forms")
@pytest.mark.parametrize("minute", [0, 1, 21, 1440])
def test_check_values_of_the_contract(minute: int) -> None:
    assert (
        utc_datetime_to_milliseconds(MIDNIGHT + timedelta(minutes=minute)) == 1427846400000 + 60000 * minute
    )


@pytest.mark.contract("2.1/to-ms", "2.1/from-ms")
def test_none_stays_none_both_ways() -> None:
    assert utc_datetime_to_milliseconds(None) is None
    assert milliseconds_to_utc_datetime(None) is None


@pytest.mark.contract("2.1/to-ms", "2.1/day-and-offset", "B-01")
def test_aware_datetimes_are_converted_to_utc() -> None:
    in_oslo = datetime(2015, 4, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))

    assert utc_datetime_to_milliseconds(in_oslo) == 1427846400000
    assert get_day_and_offset(in_oslo)["seconds"] == 43200


@pytest.mark.contract("2.1/to-ms")
def test_microseconds_are_cut_not_rounded_even_before_1970() -> None:
    assert utc_datetime_to_milliseconds(datetime(1970, 1, 1, 0, 0, 0, 1999)) == 1
    assert utc_datetime_to_milliseconds(datetime(1969, 12, 31, 23, 59, 59, 999999)) == -1


@pytest.mark.contract("2.1/from-ms", "B-02")
@given(st.integers(-(10**13), 10**14))
def test_milliseconds_round_trip(milliseconds: int) -> None:
    assert utc_datetime_to_milliseconds(milliseconds_to_utc_datetime(milliseconds)) == milliseconds


@pytest.mark.contract("2.1/from-ms")
def test_a_time_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        milliseconds_to_utc_datetime(10**18)


@pytest.mark.contract("2.1/day-and-offset", "B-03")
@pytest.mark.parametrize(
    ("hour", "minute", "seconds", "noon_day"),
    [
        (0, 0, 43200, 31),
        (2, 0, 50400, 31),
        (11, 59, 86340, 31),
        (12, 0, 0, 1),
        (12, 30, 1800, 1),
        (13, 0, 3600, 1),
        (23, 0, 39600, 1),
    ],
)
def test_day_and_offset_at_published_times(hour: int, minute: int, seconds: int, noon_day: int) -> None:
    day = get_day_and_offset(datetime(2015, 4, 1, hour, minute))

    assert day["seconds"] == seconds
    assert (day["previous_noon"].day, day["previous_noon"].hour) == (noon_day, 12)


@pytest.mark.contract("2.1/day-and-offset", "B-03")
@given(st.datetimes())
def test_day_and_offset_names_the_latest_noon_not_after(moment: datetime) -> None:
    if moment < datetime(1, 1, 1, 12):
        return
    day = get_day_and_offset(moment)

    assert 0 <= day["seconds"] < 86400
    assert day["previous_noon"] <= moment < day["previous_noon"] + timedelta(days=1)


@pytest.mark.contract("2.1/md5")
def test_md5_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")

    assert get_md5_hash(path) == get_md5_hash(str(path)) == "900150983cd24fb0d6963f7d28e17f72"


@pytest.mark.contract("2.2/refusals")
@pytest.mark.parametrize(("s", "ns"), [("", "meteorpi"), ("x", ""), ("x", "a:b")])
def test_namespaced_string_refuses_bad_parts(s: str, ns: str) -> None:
    with pytest.raises(ValueError):
        NSString(s, ns)


@pytest.mark.contract("2.2/refusals", "B-05")
def test_namespaced_string_refuses_what_is_no_text() -> None:
    with pytest.raises(ValueError):
        NSString(3)  # type: ignore[arg-type]  # what a careless caller does
    with pytest.raises(ValueError):
        NSString.from_string(3)  # type: ignore[call-overload]  # likewise


@pytest.mark.contract("2.2/fields", "2.2/text", "2.2/from_string")
def test_namespaced_string_text_form() -> None:
    assert (NSString("a").s, NSString("a").ns) == ("a", "meteorpi")
    assert str(NSString("a:b", "ns")) == "ns:a:b"
    assert NSString.from_string("ns:a:b") == NSString("a:b", "ns")
    assert NSString.from_string("plain") == NSString("plain", "meteorpi")
    assert NSString.from_string(None) is None


@pytest.mark.contract("2.3")
def test_equality_is_by_class_and_attributes() -> None:
    assert NSString("a") == NSString("a")
    assert NSString("a") != NSString("b")
    assert NSString("a") != "meteorpi:a"
    assert len({NSString("a"), NSString("a"), NSString("b")}) == 2


@pytest.mark.contract("3.9/roles", "3.9/has_role", "3.9/masks")
def test_roles_are_bits_in_order() -> None:
    assert User.roles == ["user", "camera_admin", "import"]
    assert User.role_mask_from_roles(["user", "import"]) == 5
    assert User.role_mask_from_roles(None) == 0
    assert User.roles_from_role_mask(6) == ["camera_admin", "import"]
    assert User("me", 5).get_roles() == ["user", "import"]
    assert User("me", 5).has_role("import")
    assert not User("me", 5).has_role("camera_admin")
    assert not User("me", 5).has_role("emperor")
    with pytest.raises(ValueError, match="emperor"):
        User.role_mask_from_roles(["emperor"])
    with pytest.raises(ValueError, match="list"):
        User.role_mask_from_roles("user")


@pytest.mark.contract("0/hex-id")
@pytest.mark.parametrize("text", ["", "abc", "g" * 32, "0" * 31, "0" * 33, 7, None])
def test_malformed_ids_are_refused(text: object) -> None:
    with pytest.raises(InvalidDocumentError):
        parse_hex_id(text)


@pytest.mark.contract("0/hex-id")
@given(st.uuids())
def test_ids_are_read_in_every_usual_form(value: object) -> None:
    text = str(value)

    assert parse_hex_id(text).hex == parse_hex_id(text.replace("-", "").upper()).hex == text.replace("-", "")
