"""The files of an RMS meteor station, read into values: pure functions, no disk.

RMS (Raspberry Pi Meteor Station, the software of the Global Meteor Network) names everything of a night by
the station code and the UTC start of the capture. What is known of its formats:

* ``FF_<code>_<YYYYMMDD>_<HHMMSS>_<ms or us>_<frame counter>.fits``: 256 video frames in one file; the name
  holds the UTC time of the first of them.
* ``FTPdetectinfo_<code>_<night>.txt``: the detections. Eleven header lines, then for every meteor a ruler,
  the FF name, a line on calibration, a line ``code number segments fps hnr mle bin pix/frame rho phi`` and
  one line per frame ``frame column row RA Dec azimuth elevation intensity [magnitude]``. Angles are
  degrees (J2000 equatorial; azimuth east of north); the frame number is relative to the FF file and may
  have a fraction (rolling shutter).
* ``.config``: an INI file whose comments start with ``;`` after blanks, on lines of their own or inline.
* platepar: the astrometric calibration, a JSON object.

Everything here raises :class:`~meteorpi_model.errors.InvalidDocumentError` for what cannot be read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from configparser import Error as ConfigError
from configparser import RawConfigParser
from dataclasses import dataclass
from datetime import datetime, timedelta

from meteorpi_model.errors import InvalidDocumentError

DETECTIONS_HEADER = "Meteor Count"
"""How the first line of every FTPdetectinfo file begins."""

_STAMP = re.compile(r"(?<!\d)(?P<date>\d{8})_(?P<time>\d{6})_(?P<fraction>\d{6}|\d{3})(?!\d)")
_FF_NAME = re.compile(
    r"FF_?(?P<code>[A-Za-z0-9]+)_(?P<stamp>\d{8}_\d{6}_(?:\d{6}|\d{3}))_(?P<frame>\d+)(?P<suffix>\.[A-Za-z.]+)?"
)
_NIGHT_NAME = re.compile(r"(?P<code>[A-Za-z0-9]+)_(?P<stamp>\d{8}_\d{6}_(?:\d{6}|\d{3}))(?!\d)")
_DETECTIONS_NAME = re.compile(
    r"FTPdetectinfo_(?P<code>[A-Za-z0-9]+)_(?P<stamp>\d{8}_\d{6}_(?:\d{6}|\d{3}))(?P<variant>.*)\.txt"
)
_RULER = re.compile(r"-{20,}")
_HEADER_LINES = (DETECTIONS_HEADER, "Processed with", "FF  folder", "FF  file processed")
_METEOR_COLUMNS = 10
_MOST_FRAMES = 10_000_000  # four days at 25 a second: more is no frame number
_YEARS = range(1990, 2200)
_POINT_COLUMNS = (8, 9)


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
class Point:
    """A meteor in one video frame.

    Attributes:
        frame: number within the FF file, from 0; fractions account for the rolling shutter.
        x, y: pixels from the left and from the top.
        ra, dec: degrees, J2000. Meaningless before calibration, as the next two.
        azimuth, altitude: degrees, azimuth east of north.
        intensity: sum of pixel values.
        magnitude: apparent, or None where the file has none.
    """

    frame: float
    x: float
    y: float
    ra: float
    dec: float
    azimuth: float
    altitude: float
    intensity: float
    magnitude: float | None


@dataclass(frozen=True)
class Detection:
    """One meteor of an FTPdetectinfo file.

    Attributes:
        ff_name: name of the FF file that shows it.
        code: station code.
        number: of the meteor within the FF file, from 1.
        fps: frames per second.
        pixels_per_frame: mean apparent speed.
        rho, phi: the line through the meteor in polar form: pixels and degrees.
        calibration: what the file says about it, such as ``Recalibrated with RMS on: ...``.
        points: at least one, by frame.
    """

    ff_name: str
    code: str
    number: int
    fps: float
    pixels_per_frame: float
    rho: float
    phi: float
    calibration: str
    points: tuple[Point, ...]

    @property
    def is_calibrated(self) -> bool:
        """Whether directions and magnitudes mean something."""
        return not self.calibration.lower().startswith("uncalibrated")

    @property
    def start(self) -> datetime:
        """UTC time of the first point, to the microsecond."""
        return self.time_of(self.points[0])

    @property
    def duration_seconds(self) -> float:
        """From the first to the last point."""
        return (self.points[-1].frame - self.points[0].frame) / self.fps

    def time_of(self, point: Point) -> datetime:
        """UTC time of a point, to the microsecond."""
        return parse_ff_name(self.ff_name).start + timedelta(seconds=point.frame / self.fps)


@dataclass(frozen=True)
class Complaint:
    """A part of a file that could not be read.

    Attributes:
        line: number of the line, from 1.
        detail: what is wrong.
    """

    line: int
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.detail}"


@dataclass(frozen=True)
class Detections:
    """What an FTPdetectinfo file holds.

    Attributes:
        announced: number of meteors its first line promises, or None when that is unreadable.
        detections: those that could be read, in file order.
        complaints: what could not be read; empty for a sound file.
    """

    announced: int | None
    detections: tuple[Detection, ...]
    complaints: tuple[Complaint, ...]


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


def parse_detections(text: str) -> Detections:
    """Read an FTPdetectinfo file; what is unreadable costs the meteor it belongs to, nothing else."""
    lines = text.splitlines()
    announced, complaints = _read_announced(lines)
    detections: list[Detection] = []
    blocks = list(_blocks(lines))
    is_cut = not text.endswith("\n") or (announced is not None and len(blocks) < announced)
    for position, (first_line, block) in enumerate(blocks, 1):
        try:
            is_last_of_cut = is_cut and position == len(blocks)
            detections.append(_read_block(block, is_whole=not is_last_of_cut, ends=text.endswith("\n")))
        except InvalidDocumentError as error:
            number = first_line + int(str(error.context.get("offset", 0)))
            complaints.append(Complaint(number, error.detail))
    if announced is not None and announced != len(blocks):
        complaints.append(Complaint(1, f"{announced} meteors are announced, {len(blocks)} are there"))
    return Detections(announced, tuple(detections), tuple(complaints))


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
        return None if not value else _number(value, f"{name} of [{section}]")

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


def angular_distance(first: Point, second: Point) -> float:
    """Degrees on the sky between two calibrated points."""
    declinations = math.radians(first.dec), math.radians(second.dec)
    half_dec = (declinations[1] - declinations[0]) / 2
    half_ra = math.radians(second.ra - first.ra) / 2
    haversine = (
        math.sin(half_dec) ** 2
        + math.cos(declinations[0]) * math.cos(declinations[1]) * math.sin(half_ra) ** 2
    )
    return 2 * math.degrees(math.asin(min(1.0, math.sqrt(haversine))))


def _read_stamp(stamp: str) -> datetime | None:
    date, time, fraction = stamp.split("_")
    try:
        whole = datetime.strptime(date + time, "%Y%m%d%H%M%S")  # noqa: DTZ007 - naive UTC by convention
    except ValueError:
        return None
    return whole.replace(microsecond=int(fraction.ljust(6, "0"))) if whole.year in _YEARS else None


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidDocumentError(f"{name} is not a number: {text!r}") from error
    if not math.isfinite(value):
        raise InvalidDocumentError(f"{name} is not a finite number: {text!r}")
    return value


def _read_announced(lines: Sequence[str]) -> tuple[int | None, list[Complaint]]:
    first = lines[0] if lines else ""
    match = re.fullmatch(rf"{DETECTIONS_HEADER}\s*=\s*(\d+)\s*", first)
    if match is None:
        return None, [Complaint(1, f"the file does not begin with '{DETECTIONS_HEADER} ='")]
    return int(match[1]), []


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Each meteor's lines with the number of the first of them, counted from 1."""
    start = 0
    for index, line in enumerate([*lines, "-" * 55]):
        if not _RULER.fullmatch(line.strip()):
            continue
        if start < index and not lines[start].startswith(_HEADER_LINES):
            yield start + 1, list(lines[start:index])
        start = index + 1


def _read_block(block: Sequence[str], *, is_whole: bool, ends: bool) -> Detection:
    ff_name = block[0].strip()
    parse_ff_name(ff_name)
    if len(block) < 4:
        raise InvalidDocumentError("the meteor ends before its first point")
    code, number, announced, fps, pixels_per_frame, rho, phi = _read_meteor_line(block[2])
    points = [_read_point(line, offset) for offset, line in enumerate(block[3:], 3) if _is_point(line)]
    if not points:
        raise InvalidDocumentError("the meteor has no readable point", offset=2)
    # RMS leaves out points it could not measure but counts them, so fewer are a fault only where the file
    # itself is cut; and the last number of a file that ends within a line may have lost digits.
    if not is_whole and (announced > len(points) or not ends):
        raise InvalidDocumentError(f"the file ends within this meteor of {announced} points", offset=2)
    return Detection(
        ff_name=ff_name,
        code=code,
        number=number,
        fps=fps,
        pixels_per_frame=pixels_per_frame,
        rho=rho,
        phi=phi,
        calibration=block[1].strip(),
        points=tuple(sorted(points, key=lambda point: point.frame)),
    )


def _read_meteor_line(line: str) -> tuple[str, int, int, float, float, float, float]:
    fields = line.split()
    if len(fields) != _METEOR_COLUMNS:
        raise InvalidDocumentError(
            f"a meteor is described by {_METEOR_COLUMNS} columns, not {len(fields)}", offset=2
        )
    try:
        number, announced, fps, *_, pixels_per_frame, rho, phi = (
            _number(field, "a column of the meteor") for field in fields[1:]
        )
    except InvalidDocumentError as error:
        raise InvalidDocumentError(error.detail, offset=2) from error
    if not 0.001 <= fps <= 1e6:
        raise InvalidDocumentError(f"{fps} frames per second cannot be", offset=2)
    return fields[0], int(number), int(announced), fps, pixels_per_frame, rho, phi


def _is_point(line: str) -> bool:
    """RMS itself passes over centroids that came out as not-a-number."""
    return bool(line.strip()) and "nan" not in line


def _read_point(line: str, offset: int) -> Point:
    fields = line.split()
    if len(fields) not in _POINT_COLUMNS:
        raise InvalidDocumentError(f"a point has 8 or 9 columns, not {len(fields)}", offset=offset)
    try:
        numbers = [_number(field, "a column of the point") for field in fields]
    except InvalidDocumentError as error:
        raise InvalidDocumentError(error.detail, offset=offset) from error
    frame, x, y, ra, dec, azimuth, altitude, intensity = numbers[:8]
    magnitude = numbers[8] if len(numbers) > 8 else None
    if not -1 < frame <= _MOST_FRAMES:
        raise InvalidDocumentError(f"there is no frame {frame}", offset=offset)
    return Point(frame, x, y, ra, dec, azimuth, altitude, intensity, magnitude)
