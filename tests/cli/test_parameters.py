"""Times, conditions and corners as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from meteorpi_model import MetaConstraint, NSString, now
from meteorpi_server.cli.parameters import read_constraint, read_region, read_time


@pytest.mark.contract("14.4/arguments")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2015-04-01", datetime(2015, 4, 1)),
        ("2015-04-01T21:30", datetime(2015, 4, 1, 21, 30)),
        ("2015-04-01T21:30+02:00", datetime(2015, 4, 1, 19, 30)),
        ("2015-04-01T21:30:00.5Z", datetime(2015, 4, 1, 21, 30, 0, 500000)),
        ("1427846400", datetime(2015, 4, 1)),
        ("1427846400.25", datetime(2015, 4, 1, 0, 0, 0, 250000)),
    ],
)
def test_time_is_read_as_utc(text: str, expected: datetime) -> None:
    assert read_time(text) == expected


@pytest.mark.contract("14.4/arguments")
@pytest.mark.parametrize(
    ("text", "ago"), [("now", 0), ("0", 0), ("24h", 86400), ("1.5m", 90), ("2w", 1209600)]
)
def test_time_may_be_relative_to_now(text: str, ago: float) -> None:
    assert abs(read_time(text) - (now() - timedelta(seconds=ago))) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["", "teatime", "99999999999999999999", "2015-13-01", "h", "-24h"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        read_time(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("skyClarity>=60", MetaConstraint("greater", NSString("skyClarity"), 60)),
        ("skyClarity<=2.5", MetaConstraint("less", NSString("skyClarity"), 2.5)),
        ("x:n=3", MetaConstraint("number_equals", NSString("n", "x"), 3)),
        ("name=a=b c", MetaConstraint("string_equals", NSString("name"), "a=b c")),
    ],
)
def test_condition_on_metadata_is_read(text: str, expected: MetaConstraint) -> None:
    assert read_constraint(text) == expected


@pytest.mark.parametrize("text", ["name", "name>=abc", "=3", ""])
def test_text_that_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"condition|number"):
        read_constraint(text)


@pytest.mark.contract("14.4/regions")
def test_corners_are_read() -> None:
    assert read_region("0,0 720,0  720.5,576") == [0, 0, 720, 0, 720.5, 576]


@pytest.mark.parametrize("text", ["", "0,0 1,1", "0,0 1,1 2", "0,0 1,1 a,b"])
def test_corners_that_are_no_polygon_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_region(text)
