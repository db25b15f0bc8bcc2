"""A night that no camera recorded: pictures of a turning sky, and meteors, in the form of an RMS station.

The demo takes it in when nobody gives it a real one; benches and tests use it as input of any size. For one
plan it always makes the same files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meteorpi_db.testing.night_files import (
    FPS,
    FRAMES,
    Meteor,
    MeteorPoint,
    recording_name,
    stamp,
    write_capture,
    write_config,
    write_detections,
    write_mask,
    write_platepar,
)
from meteorpi_db.testing.night_sky import (
    Camera,
    Floats,
    Picture,
    Sky,
    add_spot,
    azimuth_and_altitude,
    develop,
)

_RADIANT = (48.0, 58.0)  # of the Perseids, at their maximum
_JPEG_QUALITY = 88
_TRAIL_STEPS = 12  # spots of light between two frames


@dataclass(frozen=True, kw_only=True)
class NightPlan:
    """What kind of night to make.

    Attributes:
        seed: of everything that is drawn by lot.
        code: station code.
        start: UTC begin of the capture; whole seconds.
        hours: its length.
        pictures: single pictures, evenly over the night.
        meteors: detected meteors, each in a recording of its own but for one pair.
        width, height: of all pictures, in pixels.
    """

    seed: int = 2016
    code: str = "XX0001"
    start: datetime = datetime(2024, 8, 12, 21, 0)
    hours: float = 6.0
    pictures: int = 24
    meteors: int = 9
    width: int = 1280
    height: int = 720

    @property
    def name(self) -> str:
        """Name of the folder."""
        return f"{self.code}_{self.start:%Y%m%d_%H%M%S}_{self.start.microsecond:06d}"


def make_night(directory: Path, plan: NightPlan | None = None) -> Path:
    """Write a night below `directory`; gives the folder of the night.

    Args:
        directory: is made when missing.
        plan: what to make; None is the night of the demo.
    """
    plan = plan or NightPlan()
    camera = Camera(
        latitude=52.2053,
        longitude=0.1218,
        azimuth=122.0,
        altitude=40.0,
        rotation=-1.5,
        field=84.0,
        width=plan.width,
        height=plan.height,
    )
    folder = directory / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    sky = Sky(camera, plan.seed)
    write_config(folder / ".config", plan.code, camera)
    write_platepar(folder / "platepar_cmn2010.cal", plan.code, camera, plan.start)
    write_mask(folder / "mask.bmp", camera, sky.horizon)
    _write_pictures(folder, plan, sky)
    meteors = list(_meteors(plan, sky))
    write_detections(folder / f"FTPdetectinfo_{plan.name}.txt", plan.code, plan.name, meteors)
    _write_recordings(folder, plan, sky, meteors)
    return folder


def _write_pictures(folder: Path, plan: NightPlan, sky: Sky) -> None:
    for index in range(plan.pictures):
        time = plan.start + timedelta(hours=plan.hours) * index / plan.pictures
        picture = Image.fromarray(develop(sky.picture(time, index)))
        picture.save(folder / f"{plan.code}_{stamp(time)}.jpg", quality=_JPEG_QUALITY)


def _meteors(plan: NightPlan, sky: Sky) -> Iterator[Meteor]:
    """Meteors by time; the second comes with the first, as real ones do."""
    lots = np.random.default_rng(plan.seed + 1)
    starts = np.sort(lots.uniform(0.02, 0.97, plan.meteors)) * plan.hours * 3600
    if plan.meteors > 1:
        starts[1] = starts[0]
    for index, seconds in enumerate(starts):
        recording = int(seconds * FPS) // FRAMES
        start = plan.start + timedelta(milliseconds=int(recording * FRAMES / FPS * 1000))
        is_second = index == 1
        points = _trail(lots, sky, start)
        yield Meteor(start, recording * FRAMES, 2 if is_second else 1, points)


def _trail(lots: np.random.Generator, sky: Sky, start: datetime) -> tuple[MeteorPoint, ...]:
    """A meteor that flies away from the radiant and stays within the visible sky."""
    camera = sky.camera
    radiant = camera.from_equatorial(np.array(_RADIANT[0]), np.array(_RADIANT[1]), start)
    while True:
        x, y = lots.uniform(0.1, 0.9) * camera.width, lots.uniform(0.08, 0.6) * camera.height
        begin = camera.directions(np.array(x), np.array(y))
        distance = np.arccos(np.clip(begin @ radiant, -1, 1))
        length = np.radians(lots.uniform(6, 19)) * max(np.sin(distance), 0.25)
        frames = int(lots.integers(8, 22))
        vectors = _great_circle(begin, radiant, length * np.linspace(0, 1, frames))
        columns, rows, _ = camera.project(vectors)
        if _is_visible(sky, columns, rows):
            first = int(lots.integers(10, FRAMES - frames - 10))
            return _points(lots, camera, start, first, vectors)


def _great_circle(begin: Floats, away_from: Floats, angles: Floats) -> Floats:
    """Directions at `angles` (radians) from `begin` along the great circle that leaves `away_from`."""
    ahead = begin * (begin @ away_from) - away_from
    ahead /= np.linalg.norm(ahead)
    return np.cos(angles)[:, None] * begin + np.sin(angles)[:, None] * ahead


def _is_visible(sky: Sky, columns: Floats, rows: Floats) -> bool:
    camera = sky.camera
    if columns.min() < 10 or columns.max() > camera.width - 10 or rows.min() < 10:
        return False
    return bool(np.all(rows < sky.horizon[columns.astype(int)] - 10))


def _points(
    lots: np.random.Generator, camera: Camera, start: datetime, first: int, vectors: Floats
) -> tuple[MeteorPoint, ...]:
    columns, rows, _ = camera.project(vectors)
    progress = np.linspace(0, 1, len(vectors))
    brightness = (progress + 0.04) * np.exp(-(((progress - 0.72) / 0.24) ** 2)) + 0.004
    peak = lots.normal(1.0, 1.2)
    magnitudes = peak - 2.5 * np.log10(brightness / brightness.max())
    azimuths, altitudes = azimuth_and_altitude(vectors)
    points = []
    for index, vector in enumerate(vectors):
        ra, dec = camera.to_equatorial(vector, start + timedelta(seconds=(first + index) / FPS))
        magnitude = float(magnitudes[index])
        points.append(
            MeteorPoint(
                frame=first + index + float(rows[index]) / camera.height,
                x=float(columns[index]),
                y=float(rows[index]),
                ra=float(ra),
                dec=float(dec),
                azimuth=float(azimuths[index]),
                altitude=float(altitudes[index]),
                intensity=int(10 ** (-0.4 * (magnitude - 10.2))),
                magnitude=magnitude,
            )
        )
    return tuple(points)


def _write_recordings(folder: Path, plan: NightPlan, sky: Sky, meteors: list[Meteor]) -> None:
    stack: Picture | None = None
    by_recording: dict[str, list[Meteor]] = {}
    for meteor in meteors:
        by_recording.setdefault(recording_name(plan.code, meteor), []).append(meteor)
    for index, (name, seen) in enumerate(by_recording.items()):
        still = sky.picture(seen[0].start, plan.pictures + index)
        light = still.copy()
        for meteor in seen:
            _add_trail(light, meteor)
        Image.fromarray(develop(light)).save(folder / f"{name}.jpg", quality=_JPEG_QUALITY)
        write_capture(folder / f"{name}.fits", plan.code, seen[0].counter, _layers(still, light, seen))
        stack = light if stack is None else np.maximum(stack, light)
    if stack is not None:
        name = f"{plan.name}_stack_{len(meteors)}_meteors.jpg"
        Image.fromarray(develop(stack)).save(folder / name, quality=_JPEG_QUALITY)


def _add_trail(light: Picture, meteor: Meteor) -> None:
    """Green where it begins, white where it is brightest, reddish at the end."""
    points = meteor.points
    places = np.linspace(0, len(points) - 1, len(points) * _TRAIL_STEPS)
    index = np.arange(len(points))
    xs = np.interp(places, index, [point.x for point in points])
    ys = np.interp(places, index, [point.y for point in points])
    fluxes = np.interp(places, index, [10 ** (-0.4 * (point.magnitude - 2.2)) for point in points])
    for x, y, flux, place in zip(xs, ys, fluxes, places / (len(points) - 1), strict=True):
        colour = np.array([0.55 + 0.65 * place, 1.15 - 0.25 * place, 0.8 - 0.1 * place], np.float32)
        add_spot(light, x, y, np.float32(flux * 0.22) * colour, radius=0.85 + 0.12 * min(flux, 4.0) ** 0.5)


def _layers(still: Picture, light: Picture, meteors: list[Meteor]) -> dict[str, NDArray[np.uint8]]:
    """The four images of a recording, in the order in which RMS writes them."""
    mean = develop(still).mean(axis=2).astype(np.uint8)
    brightest = np.maximum(develop(light).mean(axis=2).astype(np.uint8), np.minimum(mean, 249) + 6)
    difference = np.maximum(brightest.astype(int) - mean, 0)
    frames = _frame_of_pixels(brightest.shape, meteors)
    return {
        "MAXPIXEL": brightest,
        "MAXFRAME": np.where(difference > 20, frames, mean % 251).astype(np.uint8),
        "AVEPIXEL": mean,
        "STDPIXEL": np.clip(3 + difference // 16, 1, 255).astype(np.uint8),
    }


def _frame_of_pixels(shape: tuple[int, ...], meteors: list[Meteor]) -> NDArray[np.int_]:
    """In which frame a meteor stood nearest, for each pixel, by rows and columns of its flight."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    points = meteors[0].points
    begin, end = points[0], points[-1]
    dx, dy = end.x - begin.x, end.y - begin.y
    along = ((columns - begin.x) * dx + (rows - begin.y) * dy) / max(dx * dx + dy * dy, 1.0)
    frames: NDArray[np.int_] = (begin.frame + np.clip(along, 0, 1) * (end.frame - begin.frame)).astype(int)
    return frames
