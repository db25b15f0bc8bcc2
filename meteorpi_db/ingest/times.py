"""When a picture was taken: from what the file says about itself, its name, or the file system.

Cameras rarely say which clock they use. RMS and FITS times are UTC by definition; for EXIF and file names
without a zone the caller names one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

from meteorpi_db.ingest.damage import read_fits_header
from meteorpi_model.errors import InvalidDocumentError

_EXIF_IFD = 0x8769
_EXIF_CHANGED = 0x0132
_EXIF_TAKEN = ((0x9003, 0x9011, 0x9291), (0x9004, 0x9012, 0x9292))  # original, then digitized
_YEARS = range(1990, 2100)
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_DATE = r"(?P<year>\d{4})(?P<gap>[-_.]?)(?P<month>\d\d)(?P=gap)(?P<day>\d\d)"
_TIME = r"(?P<hour>\d\d)(?P<colon>[-_:.hH]?)(?P<minute>\d\d)(?:(?P=colon)|[mM]?)(?P<second>\d\d)"
_FRACTION = r"(?:[-_.,]?(?P<fraction>\d{6}|\d{3})(?!\d))?"
_MOMENT = re.compile(rf"(?<!\d){_DATE}[-_T .]?{_TIME}{_FRACTION}(?P<zone>Z)?(?!\d)")
_DAY = re.compile(rf"(?<!\d){_DATE}(?!\d)")


@dataclass(frozen=True)
class FileTime:
    """When, and how that is known.

    Attributes:
        time: naive UTC.
        source: ``exif``, ``fits``, ``name``, ``name-day``, ``exif-changed`` or ``mtime``.
        zone: what the time was converted from: ``stated`` by the file, or the zone that was assumed; None
            where no conversion was needed.
    """

    time: datetime
    source: str
    zone: str | None = None


def find_file_time(path: Path, mime_type: str, zone: tzinfo) -> FileTime:
    """The best time known for a file; the first of these that is there and sensible.

    1. ``exif``: the moment of exposure of a picture (needs Pillow), or ``fits``: the card ``DATE-OBS``;
    2. ``name``: date and time in the file name; ``name-day``: a date alone, taken as midday, so that the
       file belongs to the night that begins on that day;
    3. ``exif-changed``: when the picture was last changed, by its EXIF data;
    4. ``mtime``: when the file was last changed, by the file system.

    Args:
        path: the file.
        mime_type: its format.
        zone: the zone of times that do not name one.
    """
    return next(_candidates(path, mime_type, zone))


def find_time_in_name(name: str, zone: tzinfo) -> FileTime | None:
    """Date and time from a file name such as ``20240812_220100_123``, ``image-20240710010947`` or
    ``2022-09-14T19_49_11``; from a date alone midday UTC; None without either.
    """
    for match in _MOMENT.finditer(name):
        time = _moment(match)
        if time is not None:
            return _converted(time, UTC if match["zone"] else zone, "name", is_stated=bool(match["zone"]))
    for match in _DAY.finditer(name):
        noon = _datetime(int(match["year"]), int(match["month"]), int(match["day"]), 12)
        if noon is not None:
            return FileTime(noon, "name-day")
    return None


def _candidates(path: Path, mime_type: str, zone: tzinfo) -> Iterator[FileTime]:
    exif = _read_exif(path, mime_type)
    for tags in _EXIF_TAKEN:
        if found := _exif_moment(exif, *tags, zone):
            yield found
    if mime_type == "image/fits" and (found := _fits_moment(path)):
        yield found
    if found := find_time_in_name(path.name, zone):
        yield found
    if found := _exif_moment(exif, _EXIF_CHANGED, 0x9010, 0x9290, zone):
        yield FileTime(found.time, "exif-changed", found.zone)
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
    yield FileTime(modified, "mtime")


def _read_exif(path: Path, mime_type: str) -> Mapping[int, object]:
    if mime_type not in ("image/jpeg", "image/png", "image/tiff", "image/webp"):
        return {}
    try:
        from PIL import Image
    except ImportError:
        return {}
    try:
        with Image.open(path) as picture:
            exif = picture.getexif()
            return {**exif, **exif.get_ifd(_EXIF_IFD)}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return {}  # a broken EXIF block is no reason to refuse the picture


def _exif_moment(
    exif: Mapping[int, object], moment_tag: int, offset_tag: int, fraction_tag: int, zone: tzinfo
) -> FileTime | None:
    match = re.fullmatch(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", _text(exif, moment_tag))
    time = None if match is None else _datetime(*(int(part) for part in match.groups()))
    if time is None:
        return None
    if (fraction := _text(exif, fraction_tag)).isdigit():
        time += timedelta(seconds=float(f"0.{fraction}"))
    stated = _read_offset(_text(exif, offset_tag))
    return _converted(time, stated or zone, "exif", is_stated=stated is not None)


def _text(exif: Mapping[int, object], tag: int) -> str:
    value = exif.get(tag)
    return value.strip(" \0") if isinstance(value, str) else ""


def _read_offset(text: str) -> tzinfo | None:
    if text == "Z":
        return UTC
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset) if offset < timedelta(days=1) else None


def _fits_moment(path: Path) -> FileTime | None:
    """DATE-OBS is UTC unless TIMESYS says otherwise (FITS standard 4.0, section 9.2)."""
    try:
        with path.open("rb") as stream:
            header = read_fits_header(stream) or {}
    except InvalidDocumentError:
        return None
    if header.get("TIMESYS", "UTC").upper() != "UTC":
        return None
    match = _MOMENT.match(header.get("DATE-OBS", ""))
    return None if match is None else _utc_only(find_time_in_name(match[0], UTC))


def _utc_only(found: FileTime | None) -> FileTime | None:
    return None if found is None else FileTime(found.time, "fits")


def _moment(match: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second = (int(match[part]) for part in _PARTS)
    return _datetime(year, month, day, hour, minute, second, int((match["fraction"] or "").ljust(6, "0")))


def _datetime(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0
) -> datetime | None:
    if year not in _YEARS:
        return None
    try:
        return datetime(year, month, day, hour, minute, second, microsecond)
    except ValueError:
        return None


def _converted(local: datetime, zone: tzinfo, source: str, *, is_stated: bool) -> FileTime:
    utc = local.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
    return FileTime(utc, source, "stated" if is_stated else str(zone))
