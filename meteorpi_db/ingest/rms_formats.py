"""The files of an RMS meteor station, read into values: pure functions, no disk.

RMS (Raspberry Pi Meteor Station, the software of the Global Meteor Network) names everything of a night by
the station code and the UTC start of the capture. What is known of its formats:

* ``FF_<code>_<YYYYMMDD>_<HHMMSS>_<ms or us>_<frame counter>.fits``: 256 video frames in one file; the name
  holds the UTC time of the first of them.
* ``FTPdetectinfo_<code>_<night>.txt``: the detections (:mod:`meteorpi_db.ingest.rms_detections`).
* ``.config``: an INI file whose comments start with ``;`` after blanks, on lines of their own or inline.
* platepar: the astrometric calibration, a JSON object.

Everything here raises :class:`~meteorpi_model.errors.InvalidDocumentError` for what cannot be read.
"""

from __future__ import annotations

import json
import math
import re
from configparser import Error as ConfigError
from configparser import RawConfigParser
from dataclasses import dataclass
from datetime import datetime

from meteorpi_model.errors import InvalidDocumentError

_STAMP = re.compile(r"(?<!\d)(?P<date>\d{8})_(?P<time>\d{6})_(?P<fraction>\d{6}|\d{3})(?!\d)")
_FF_NAME = re.compile(
    r"FF_?(?P<code>[A-Za-z0-9]+)_(?P<stamp>\d{8}_\d{6}_(?:\d{6}|\d{3}))_(?P<frame>\d+)(?P<suffix>\.[A-Za-z.]+)?"
)
_NIGHT_NAME = re.compile(r"(?P<code>[A-Za-z0-9]+)_(?P<stamp>\d{8}_\d{6}_(?:\d{6}|\d{3}))(?!\d)")
_DETECTIONS_NAME = re.compile(
    r"FTPdetectinfo_(?P<code>[A-Za-z0-9]+)_(?P<stamp>\d{8}_\d{6}_(?:\d{6}|\d{3}))(?P<variant>.*)\.txt"
)
_YEARS = range(1990, 2200)


@dataclass(frozen=True)
class FFName:
    """What the name of an FF file says.

    Attributes:
        code: station code, such as ``UK0006``.
        start: UTC time of the first frame.
        first_frame: number of frames captured before it this night.
    """

    code: str
    start: datetime
    first_frame: int


@dataclass(frozen=True)
class DetectionsName:
    """What the name of an FTPdetectinfo file says.

    Attributes:
        code: station code.
        start: UTC start of the night (for a file on one FF file: of that).
        variant: empty for the detections of the night; ``manual``, ``uncalibrated``, ... otherwise.
    """

    code: str
    start: datetime
    variant: str


@dataclass(frozen=True)
class StationConfig:
    """The parts of ``.config`` that MeteorPi uses; None where it does not say.

    Attributes:
        station_id: station code.
        latitude, longitude: degrees, WGS84.
        elevation: metres above sea level.
        width, height: of the pictures in pixels.
        fps: frames per second.
        fov_width, fov_height: nominal field of view in degrees.
        platepar_name, mask_name: names of these files.
    """

    station_id: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    elevation: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    fov_width: float | None = None
    fov_height: float | None = None
    platepar_name: str | None = None
    mask_name: str | None = None


@dataclass(frozen=True)
class Platepar:
    """The parts of an astrometric calibration that MeteorPi uses.

    Attributes:
        station_code: as named by the calibration, or None.
        latitude, longitude: degrees.
        elevation: metres.
        width, height: of the pictures in pixels.
        azimuth, altitude: of the frame centre in degrees, azimuth east of north.
        rotation_from_horizon: degrees by which going right in the picture climbs.
        fov_width, fov_height: from edge to edge through the centre, degrees.
    """

    station_code: str | None
    latitude: float
    longitude: float
    elevation: float
    width: int
    height: int
    azimuth: float
    altitude: float
    rotation_from_horizon: float
    fov_width: float
    fov_height: float

    @property
    def position_angle(self) -> float:
        """Position angle of "up" at the frame centre in degrees, 0 to 360: 0 north, 90 east.

        The zenith stands at the parallactic angle; tilting the camera turns "up" away from it. Constant for
        a fixed camera, since a direction above the horizon keeps its hour angle.

        Source: Meeus, Astronomical Algorithms, chapter 14, in horizontal coordinates.
        """
        azimuth, altitude = math.radians(self.azimuth), math.radians(self.altitude)
        latitude = math.radians(self.latitude)
        towards_east = -math.sin(azimuth) * math.cos(latitude)
        towards_north = math.sin(latitude) * math.cos(altitude) - math.cos(latitude) * math.sin(
            altitude
        ) * math.cos(azimuth)
        parallactic_angle = math.degrees(math.atan2(towards_east, towards_north))
        return (parallactic_angle + self.rotation_from_horizon) % 360.0


def find_stamp(name: str) -> datetime | None:
    """The first ``YYYYMMDD_HHMMSS_fraction`` in `name` as UTC; milli- or microseconds by its length."""
    match = _STAMP.search(name)
    return None if match is None else _read_stamp(match[0])


def parse_ff_name(name: str) -> FFName:
    """Read the name of an FF file, with or without its ending."""
    match = _FF_NAME.fullmatch(name)
    start = _read_stamp(match["stamp"]) if match else None
    if match is None or start is None:
        raise InvalidDocumentError(f"{name!r} is not the name of an FF file")
    return FFName(match["code"], start, int(match["frame"]))


def parse_detections_name(name: str) -> DetectionsName:
    """Read the name of an FTPdetectinfo file."""
    match = _DETECTIONS_NAME.fullmatch(name)
    start = _read_stamp(match["stamp"]) if match else None
    if match is None or start is None:
        raise InvalidDocumentError(f"{name!r} is not the name of an FTPdetectinfo file")
    variant = match["variant"]
    if counter := re.match(r"_\d{7}(?!\d)", variant):  # the file speaks of one FF file, by its whole name
        variant = variant[counter.end() :]
    return DetectionsName(match["code"], start, variant.strip("_"))


def parse_night_name(name: str) -> tuple[str, datetime]:
    """Station code and UTC start of capture from a name such as ``UK0006_20220914_185543_087124``."""
    match = _NIGHT_NAME.match(name)
    start = _read_stamp(match["stamp"]) if match else None
    if match is None or start is None:
        raise InvalidDocumentError(f"{name!r} does not name an RMS night")
    return match["code"], start


def parse_config(text: str) -> StationConfig:
    """Read a station's ``.config``."""
    parser = RawConfigParser(
        inline_comment_prefixes=(";",), comment_prefixes=(";", "#"), strict=False, allow_no_value=True
    )
    try:
        parser.read_string(text)
    except ConfigError as error:
        raise InvalidDocumentError(f"not an RMS configuration: {error.message.splitlines()[0]}") from error

    def number(section: str, name: str) -> float | None:
        value = parser.get(section, name, fallback=None)
        return None if not value else finite_number(value, f"{name} of [{section}]")

    def whole(section: str, name: str) -> int | None:
        value = number(section, name)
        return None if value is None else int(value)

    return StationConfig(
        station_id=parser.get("System", "stationID", fallback=None) or None,
        latitude=number("System", "latitude"),
        longitude=number("System", "longitude"),
        elevation=number("System", "elevation"),
        width=whole("Capture", "width"),
        height=whole("Capture", "height"),
        fps=number("Capture", "fps"),
        fov_width=number("Capture", "fov_w"),
        fov_height=number("Capture", "fov_h"),
        platepar_name=parser.get("Calibration", "platepar_name", fallback=None) or None,
        mask_name=parser.get("Capture", "mask", fallback=None) or None,
    )


def parse_platepar(text: str) -> Platepar:
    """Read a platepar in its JSON form."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError("the platepar is not JSON") from error
    if not isinstance(document, dict):
        raise InvalidDocumentError("the platepar is not a JSON object")

    def number(name: str) -> float:
        value = document.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidDocumentError(f"the platepar has no number {name!r}", pointer=f"/{name}")
        return float(value)

    code = document.get("station_code")
    return Platepar(
        station_code=code if isinstance(code, str) and code else None,
        latitude=number("lat"),
        longitude=number("lon"),
        elevation=number("elev"),
        width=int(number("X_res")),
        height=int(number("Y_res")),
        azimuth=number("az_centre"),
        altitude=number("alt_centre"),
        rotation_from_horizon=number("rotation_from_horiz"),
        fov_width=number("fov_h"),
        fov_height=number("fov_v"),
    )


def _read_stamp(stamp: str) -> datetime | None:
    date, time, fraction = stamp.split("_")
    try:
        whole = datetime.strptime(date + time, "%Y%m%d%H%M%S")  # noqa: DTZ007 - naive UTC by convention
    except ValueError:
        return None
    return whole.replace(microsecond=int(fraction.ljust(6, "0"))) if whole.year in _YEARS else None


def finite_number(text: str, name: str) -> float:
    """Read a number; `name` says in the message what it should have been."""
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidDocumentError(f"{name} is not a number: {text!r}") from error
    if not math.isfinite(value):
        raise InvalidDocumentError(f"{name} is not a finite number: {text!r}")
    return value
