"""The detections of an RMS station: FTPdetectinfo files, read into values.

Eleven header lines, then for every meteor a ruler, the name of the FF file that shows it, a line on
calibration, a line ``code number segments fps hnr mle bin pix/frame rho phi`` and one line per frame
``frame column row RA Dec azimuth elevation intensity [magnitude]``. Angles are degrees (J2000 equatorial;
azimuth east of north); the frame number is relative to the FF file and may have a fraction (rolling
shutter).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meteorpi_db.ingest.rms_formats import finite_number, parse_ff_name
from meteorpi_model.errors import InvalidDocumentError

DETECTIONS_HEADER = "Meteor Count"
"""How the first line of every FTPdetectinfo file begins."""

_RULER = re.compile(r"-{20,}")
_HEADER_LINES = (DETECTIONS_HEADER, "Processed with", "FF  folder", "FF  file processed")
_METEOR_COLUMNS = 10
_POINT_COLUMNS = (8, 9)
_MOST_FRAMES = 10_000_000  # four days at 25 a second: more is no frame number


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
    if not complaints and not text.endswith("\n"):
        complaints.append(Complaint(len(lines), "the file ends within a line"))
    return Detections(announced, tuple(detections), tuple(complaints))


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
            finite_number(field, "a column of the meteor") for field in fields[1:]
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
        numbers = [finite_number(field, "a column of the point") for field in fields]
    except InvalidDocumentError as error:
        raise InvalidDocumentError(error.detail, offset=offset) from error
    frame, x, y, ra, dec, azimuth, altitude, intensity = numbers[:8]
    magnitude = numbers[8] if len(numbers) > 8 else None
    if not -1 < frame <= _MOST_FRAMES:
        raise InvalidDocumentError(f"there is no frame {frame}", offset=offset)
    return Point(frame, x, y, ra, dec, azimuth, altitude, intensity, magnitude)
