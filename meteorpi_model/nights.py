"""The nights of a camera: from local mean noon to the next, so that no night is cut in two.

The time-of-day offsets of searches are another thing: they count from noon UTC everywhere, see
:func:`meteorpi_model.get_day_and_offset`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from meteorpi_model.errors import InvalidDocumentError

_DAY = timedelta(days=1)
_MILLISECONDS_PER_DEGREE = 240_000  # the Earth turns by 15 degrees an hour
_YEARS = range(1900, 3000)


class Night(NamedTuple):
    """One night of one place.

    Attributes:
        start: local mean noon, UTC; belongs to the night.
        end: the next one, UTC; does not.
    """

    start: datetime
    end: datetime


def night_of(day: date, longitude_degrees: float | None = None) -> Night:
    """The night that begins on `day`.

    Args:
        day: date of the noon it begins at, as people at the camera have it.
        longitude_degrees: east positive, of the camera; None for a camera nobody knows the place of, whose
            nights begin at noon UTC.

    Returns:
        12:00 UTC of `day` minus longitude / 15 hours, to the millisecond, and a day later.

    Source:
        Section 3.4 of the archive contract.
    """
    ahead = timedelta(milliseconds=round((longitude_degrees or 0.0) * _MILLISECONDS_PER_DEGREE))
    start = datetime(day.year, day.month, day.day, 12) - ahead
    return Night(start, start + _DAY)


def day_of_night(moment: datetime, longitude_degrees: float | None = None) -> date:
    """The date of the night that `moment` (UTC) belongs to: :func:`night_of` of it holds `moment`."""
    day = moment.date()
    for candidate in (day + _DAY, day, day - _DAY):
        if night_of(candidate, longitude_degrees).start <= moment:
            return candidate
    return day - 2 * _DAY


def parse_day(text: object) -> date:
    """Read the date of a night, such as ``2016-01-31``.

    Raises:
        InvalidDocumentError: anything else, or a year in which nobody recorded anything.
    """
    try:
        day = date.fromisoformat(text) if isinstance(text, str) and len(text) == len("2016-01-31") else None
    except ValueError:
        day = None
    if day is None or day.year not in _YEARS or day.isoformat() != text:
        raise InvalidDocumentError(f"a night is named by a date such as 2016-01-31, not {text!r}")
    return day
