"""The files of an RMS station, written: configuration, calibration, detections, captures.

The counterpart of :mod:`meteorpi_db.ingest.rms_formats`, for nights that no camera recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meteorpi_db.testing.night_sky import Camera

FITS_BLOCK_BYTES = 2880
FPS = 25.0
FRAMES = 256
_RULER = "-" * 55


@dataclass(frozen=True)
class MeteorPoint:
    """A meteor in one frame; the columns of a detections file."""

    frame: float
    x: float
    y: float
    ra: float
    dec: float
    azimuth: float
    altitude: float
    intensity: int
    magnitude: float


@dataclass(frozen=True)
class Meteor:
    """A meteor and the recording that shows it.

    Attributes:
        start: UTC time of the first frame of the recording.
        counter: frames recorded before it this night.
        number: of the meteor within the recording.
        points: one a frame.
    """

    start: datetime
    counter: int
    number: int
    points: tuple[MeteorPoint, ...]


def stamp(time: datetime) -> str:
    """``YYYYMMDD_HHMMSS_mmm``."""
    return f"{time:%Y%m%d_%H%M%S}_{time.microsecond // 1000:03d}"


def recording_name(code: str, meteor: Meteor) -> str:
    """Name of the recording without its ending."""
    return f"FF_{code}_{stamp(meteor.start)}_{meteor.counter:07d}"


def write_config(path: Path, code: str, camera: Camera) -> None:
    """Write the configuration of the station."""
    path.write_text(
        f"""; Made by the generator of synthetic nights.

[System]
stationID: {code} ; code of a station that does not exist
latitude: {camera.latitude:.5f} ; WGS84 +N (degrees)
longitude: {camera.longitude:.5f} ; WGS84 +E (degrees)
elevation: 25 ; metres

[Capture]
width: {camera.width}
height: {camera.height}
fps: {FPS} ; frames per second
fov_w: {camera.field:.0f}
fov_h: {camera.field_height:.0f}
mask: mask.bmp

[Calibration]
platepar_name: platepar_cmn2010.cal
"""
    )


def write_platepar(path: Path, code: str, camera: Camera, time: datetime) -> None:
    """Write the calibration of the camera."""
    centre = camera.axes()[2]
    ra, dec = camera.to_equatorial(centre, time)
    document = {
        "station_code": code,
        "lat": camera.latitude,
        "lon": camera.longitude,
        "elev": 25.0,
        "JD": 2451545.0 + (time - datetime(2000, 1, 1, 12)) / timedelta(days=1),
        "X_res": camera.width,
        "Y_res": camera.height,
        "RA_d": float(ra),
        "dec_d": float(dec),
        "az_centre": camera.azimuth,
        "alt_centre": camera.altitude,
        "rotation_from_horiz": camera.rotation,
        "fov_h": camera.field,
        "fov_v": camera.field_height,
        "F_scale": camera.focal_pixels * np.pi / 180,
        "star_list": [],
        "version": 2,
    }
    path.write_text(json.dumps(document, indent=4, sort_keys=True))


def write_mask(path: Path, camera: Camera, horizon: NDArray[np.int_]) -> None:
    """Write the mask of the ground: white is sky."""
    is_sky = np.arange(camera.height)[:, None] < horizon[None, :]
    Image.fromarray(np.where(is_sky, 255, 0).astype(np.uint8)).save(path)


def write_detections(path: Path, code: str, night: str, meteors: Sequence[Meteor]) -> None:
    """Write the detections of the night."""
    thin = "-" * 53
    lines = [
        f"Meteor Count = {len(meteors):06d}",
        thin,
        "Processed with the generator of synthetic nights",
        thin,
        f"FF  folder = {night}",
        f"CAL folder = {night}",
        thin,
        "FF  file processed",
        "CAL file processed",
        "Cam# Meteor# #Segments fps hnr mle bin Pix/fm Rho Phi",
        "Per segment:  Frame# Col Row RA Dec Azim Elev Inten Mag",
    ]
    for meteor in meteors:
        lines += _detection(code, meteor)
    path.write_text("\n".join(lines) + "\n")


def _detection(code: str, meteor: Meteor) -> Iterable[str]:
    first, last = meteor.points[0], meteor.points[-1]
    length = np.hypot(last.x - first.x, last.y - first.y)
    speed = length / max(last.frame - first.frame, 1)
    phi = np.degrees(np.arctan2(last.y - first.y, last.x - first.x))
    yield _RULER
    yield f"{recording_name(code, meteor)}.fits"
    yield "Calibrated by construction"
    yield (
        f"{code} {meteor.number:04d} {len(meteor.points):04d} {FPS:07.2f}"
        f" 000.0 000.0  00.0 {speed:05.1f} 0000.0 {phi:06.1f}"
    )
    for point in meteor.points:
        yield (
            f"{point.frame:06.4f} {point.x:07.2f} {point.y:07.2f} {point.ra:08.4f} {point.dec:+08.4f}"
            f" {point.azimuth:08.4f} {point.altitude:+08.4f} {point.intensity:06d} {point.magnitude:.2f}"
        )


def write_capture(path: Path, code: str, counter: int, layers: dict[str, NDArray[np.uint8]]) -> None:
    """Write a recording compressed to one FITS file: brightest pixel, its frame, mean and deviation."""
    height, width = next(iter(layers.values())).shape
    primary = [
        ("SIMPLE", "T"),
        ("BITPIX", "8"),
        ("NAXIS", "0"),
        ("EXTEND", "T"),
        ("NROWS", str(height)),
        ("NCOLS", str(width)),
        ("NBITS", "8"),
        ("NFRAMES", str(FRAMES)),
        ("FIRST", str(counter + FRAMES)),
        ("CAMNO", f"'{code:<8}'"),
        ("FPS", str(FPS)),
    ]
    with path.open("wb") as stream:
        stream.write(_header(primary))
        for name, pixels in layers.items():
            stream.write(_header(_image_cards(name, width, height)))
            stream.write(pixels.tobytes())
            stream.write(b"\0" * (-pixels.size % FITS_BLOCK_BYTES))


def _image_cards(name: str, width: int, height: int) -> list[tuple[str, str]]:
    return [
        ("XTENSION", "'IMAGE   '"),
        ("BITPIX", "8"),
        ("NAXIS", "2"),
        ("NAXIS1", str(width)),
        ("NAXIS2", str(height)),
        ("PCOUNT", "0"),
        ("GCOUNT", "1"),
        ("EXTNAME", f"'{name:<8}'"),
    ]


def _header(cards: Iterable[tuple[str, str]]) -> bytes:
    lines = [
        f"{name:<8}= {value if value.startswith(chr(39)) else value.rjust(20):<70}" for name, value in cards
    ]
    text = "".join([*lines, "END".ljust(80)])
    return text.ljust(-(-len(text) // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES).encode("ascii")
