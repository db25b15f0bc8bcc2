"""Nights run from local mean noon to the next."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.nights import day_of_night, night_of, parse_day

DAYS = st.dates(date(1900, 1, 2), date(2999, 12, 30))
LONGITUDES = st.none() | st.floats(-180, 180)


@pytest.mark.contract("archive-3.4/night")
@pytest.mark.parametrize(
    ("longitude", "start"),
    [
        (None, datetime(2016, 1, 31, 12)),
        (0.0, datetime(2016, 1, 31, 12)),
        (15.0, datetime(2016, 1, 31, 11)),
        (-75.0, datetime(2016, 1, 31, 17)),
        (174.76, datetime(2016, 1, 31, 0, 20, 57, 600_000)),
        (180.0, datetime(2016, 1, 31)),
        (-180.0, datetime(2016, 2, 1)),
    ],
)
def test_night_begins_at_local_mean_noon_of_its_date(longitude: float | None, start: datetime) -> None:
    assert night_of(date(2016, 1, 31), longitude) == (start, start + timedelta(days=1))


@given(DAYS, LONGITUDES, st.integers(0, 86_399_999))
def test_every_moment_belongs_to_one_night(day: date, longitude: float | None, milliseconds: int) -> None:
    night = night_of(day, longitude)

    assert day_of_night(night.start + timedelta(milliseconds=milliseconds), longitude) == day
    assert night.end == night_of(day + timedelta(days=1), longitude).start


def test_darkness_in_new_zealand_is_one_night() -> None:
    evening, morning = datetime(2016, 1, 31, 8, 30), datetime(2016, 1, 31, 17)

    assert {day_of_night(moment, 174.76) for moment in (evening, morning)} == {date(2016, 1, 31)}
    assert day_of_night(evening) != day_of_night(morning)


@pytest.mark.parametrize(
    "text", ["", "2016-1-31", "2016-02-30", "20160131xx", "2016-W04-7", "0001-01-01", 20160131]
)
def test_what_is_no_date_is_refused(text: object) -> None:
    with pytest.raises(InvalidDocumentError):
        parse_day(text)
