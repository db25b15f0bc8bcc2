"""A sky to point a camera at: stars that turn with the hours, the Milky Way, twilight, a horizon, meteors.

The brightest stars are where they are in the real sky, so that the constellations can be recognised; the
many faint ones are drawn by lot, always the same for one seed. Angles are degrees unless a name says
otherwise; vectors are east, north, up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]
Picture = NDArray[np.float32]

_J2000 = datetime(2000, 1, 1, 12)
_FAINT_STARS = 9000
_FAINTEST = 6.8
_GALACTIC_NORTH = (192.859, 27.128)
_COARSE = 8  # pixels of the picture to one of the slowly varying background

# Right ascension, declination, magnitude, colour (0 blue, 1 red), by constellation.
_BRIGHT_STARS = """
165.93 61.75 1.8 .6  165.46 56.38 2.4 .2  178.46 53.69 2.4 .2  183.86 57.03 3.3 .2  193.51 55.96 1.8 .2
200.98 54.93 2.2 .2  206.89 49.31 1.9 .1  10.13 56.54 2.2 .7  2.29 59.15 2.3 .3  14.18 60.72 2.4 .1
21.45 60.24 2.7 .2  28.60 63.67 3.4 .1  37.95 89.26 2.0 .4  222.68 74.16 2.1 .8  230.18 71.83 3.0 .2
310.36 45.28 1.3 .2  305.56 40.26 2.2 .4  311.55 33.97 2.5 .6  296.24 45.13 2.9 .1  292.68 27.96 3.1 .7
279.23 38.78 0.0 .1  284.74 32.69 3.2 .1  282.52 33.36 3.5 .1  297.70 8.87 0.8 .3  296.56 10.61 2.7 .8
298.83 6.41 3.7 .6  286.35 13.86 3.0 .1  291.37 3.11 3.4 .3  346.19 15.21 2.5 .1  345.94 28.08 2.4 .9
2.10 29.09 2.1 .1  3.31 15.18 2.8 .1  17.43 35.62 2.1 .9  30.97 42.33 2.2 .8  326.05 9.88 2.4 .8
51.08 49.86 1.8 .4  47.04 40.96 2.1 .1  46.20 53.51 2.9 .6  55.73 47.79 3.0 .1  58.53 31.88 2.9 .1
59.46 40.01 2.9 .1  79.17 46.00 0.1 .6  89.88 44.95 1.9 .2  89.93 37.21 2.7 .1  74.25 33.17 2.7 .8
75.49 43.82 3.0 .4  68.98 16.51 0.9 .9  81.57 28.61 1.7 .1  56.87 24.11 2.9 .1  57.29 24.05 3.6 .1
56.30 24.37 3.9 .1  56.22 24.11 3.7 .1  88.79 7.41 0.5 1.  78.63 -8.20 0.2 .1  81.28 6.35 1.6 .1
83.00 -0.30 2.2 .1  84.05 -1.20 1.7 .1  85.19 -1.94 1.8 .1  86.94 -9.67 2.1 .1  101.29 -16.72 -1.5 .1
113.65 31.89 1.6 .2  116.33 28.03 1.1 .6  114.83 5.22 0.4 .3  99.43 16.40 1.9 .1  152.09 11.97 1.4 .1
154.99 19.84 2.0 .6  168.53 20.52 2.6 .2  177.26 14.57 2.1 .2  213.92 19.18 0.0 .8  221.25 27.07 2.4 .6
208.67 18.40 2.7 .4  218.02 38.31 3.0 .3  233.67 26.71 2.2 .1  201.30 -11.16 1.0 .1  247.35 -26.43 1.0 1.
263.40 -37.10 1.6 .1  276.04 -34.38 1.8 .1  283.82 -26.30 2.1 .1  269.15 51.49 2.2 .9  262.61 52.30 2.8 .6
263.73 12.56 2.1 .2  319.64 62.59 2.5 .2  322.16 70.56 3.2 .1  344.41 -29.62 1.2 .2  31.79 23.46 2.0 .7
28.66 20.81 2.6 .2  10.90 -17.99 2.0 .6  276.99 -25.42 2.8 .6  257.59 -15.72 2.4 .1  247.56 21.49 2.8 .6
"""


@dataclass(frozen=True)
class Camera:
    """A fixed camera with an ideal lens.

    Attributes:
        latitude, longitude: where it stands.
        azimuth, altitude: of the centre of the picture, azimuth east of north.
        rotation: by how much going right in the picture climbs.
        field: from the left edge to the right through the centre.
        width, height: pixels.
    """

    latitude: float
    longitude: float
    azimuth: float
    altitude: float
    rotation: float
    field: float
    width: int
    height: int

    @property
    def focal_pixels(self) -> float:
        """Focal length in pixels."""
        return float(self.width / 2 / np.tan(np.radians(self.field / 2)))

    @property
    def field_height(self) -> float:
        """From the top of the picture to the bottom through the centre."""
        return float(2 * np.degrees(np.arctan(self.height / 2 / self.focal_pixels)))

    def axes(self) -> Floats:
        """Unit vectors to the right, up and forward, as rows."""
        azimuth, altitude, rotation = np.radians((self.azimuth, self.altitude, self.rotation))
        forward = _vector(azimuth, altitude)
        level = np.array([np.cos(azimuth), -np.sin(azimuth), 0.0])
        climb = np.cross(level, forward)
        right = np.cos(rotation) * level + np.sin(rotation) * climb
        return np.array([right, np.cross(right, forward), forward])

    def project(self, vectors: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Pixel coordinates of directions, and whether each is in front of the camera."""
        right, up, forward = self.axes() @ vectors.T
        is_ahead = forward > 0.05
        depth = np.where(is_ahead, forward, 1.0)
        x = self.width / 2 + self.focal_pixels * right / depth
        y = self.height / 2 - self.focal_pixels * up / depth
        return x, y, is_ahead

    def directions(self, x: Floats, y: Floats) -> Floats:
        """Unit vectors of pixels, as rows."""
        seen = np.stack(
            [x - self.width / 2, self.height / 2 - y, np.full_like(x, self.focal_pixels)], axis=-1
        )
        vectors: Floats = (seen / np.linalg.norm(seen, axis=-1, keepdims=True)) @ self.axes()
        return vectors

    def to_equatorial(self, vectors: Floats, time: datetime) -> tuple[Floats, Floats]:
        """Right ascension and declination of directions at a time (equinox of date)."""
        latitude = np.radians(self.latitude)
        east, north, up = vectors[..., 0], vectors[..., 1], vectors[..., 2]
        dec = np.arcsin(np.clip(up * np.sin(latitude) + north * np.cos(latitude), -1, 1))
        hour_angle = np.arctan2(-east, up * np.cos(latitude) - north * np.sin(latitude))
        ra = (self.sidereal_time(time) - np.degrees(hour_angle)) % 360
        return ra, np.degrees(dec)

    def from_equatorial(self, ra: Floats, dec: Floats, time: datetime) -> Floats:
        """Directions of equatorial coordinates at a time, as rows."""
        hour_angle = np.radians(self.sidereal_time(time) - ra)
        declination, latitude = np.radians(dec), np.radians(self.latitude)
        along = np.cos(declination) * np.cos(hour_angle)
        return np.stack(
            [
                -np.cos(declination) * np.sin(hour_angle),
                np.sin(declination) * np.cos(latitude) - along * np.sin(latitude),
                np.sin(declination) * np.sin(latitude) + along * np.cos(latitude),
            ],
            axis=-1,
        )

    def sidereal_time(self, time: datetime) -> float:
        """Local mean sidereal time in degrees (Meeus, Astronomical Algorithms, formula 12.4)."""
        days = (time - _J2000) / timedelta(days=1)
        return (280.46061837 + 360.98564736629 * days + self.longitude) % 360

    def sun_altitude(self, time: datetime) -> float:
        """Altitude of the Sun, good to a fraction of a degree."""
        days = (time - _J2000) / timedelta(days=1)
        anomaly = np.radians(357.529 + 0.98560028 * days)
        longitude = np.radians(280.459 + 0.98564736 * days + 1.915 * np.sin(anomaly))
        ra = np.degrees(np.arctan2(np.cos(np.radians(23.44)) * np.sin(longitude), np.cos(longitude)))
        dec = np.degrees(np.arcsin(np.sin(np.radians(23.44)) * np.sin(longitude)))
        return float(np.degrees(np.arcsin(self.from_equatorial(np.array(ra), np.array(dec), time)[2])))


def azimuth_and_altitude(vectors: Floats) -> tuple[Floats, Floats]:
    """Azimuth east of north, and altitude."""
    azimuth = np.degrees(np.arctan2(vectors[..., 0], vectors[..., 1])) % 360
    return azimuth, np.degrees(np.arcsin(np.clip(vectors[..., 2], -1, 1)))


class Sky:
    """The sky above a camera.

    Args:
        camera: what looks at it.
        seed: of everything that is drawn by lot.
    """

    def __init__(self, camera: Camera, seed: int) -> None:
        self.camera = camera
        lots = np.random.default_rng(seed)
        self._ra, self._dec, self._magnitude, self._colour = _stars(lots)
        self.horizon = _horizon(camera, lots)
        self._grain = lots.normal(0, 1, (camera.height, camera.width, 3)).astype(np.float32)

    def picture(self, time: datetime, shift: int = 0) -> Picture:
        """The sky as light per pixel, red, green and blue; about 1 is white.

        Args:
            time: UTC.
            shift: any number; pictures with different ones have different noise.
        """
        light = self._background(time)
        self._add_stars(light, time)
        light *= self._vignette()
        light += np.roll(self._grain, shift * 7919, axis=(0, 1)) * np.float32(0.004)
        light[self._is_ground()] = np.array([0.004, 0.004, 0.006], np.float32)
        light += np.roll(self._grain, shift * 104729, axis=(0, 1)) * np.float32(0.0015)
        return light

    def _is_ground(self) -> NDArray[np.bool_]:
        rows = np.arange(self.camera.height)[:, None]
        below: NDArray[np.bool_] = rows >= self.horizon[None, :]
        return below

    def _vignette(self) -> Picture:
        camera = self.camera
        y, x = np.mgrid[0 : camera.height, 0 : camera.width]
        distance = np.hypot(x - camera.width / 2, y - camera.height / 2) / camera.focal_pixels
        falloff: Picture = (np.cos(np.arctan(distance)) ** 1.5).astype(np.float32)[..., None]
        return falloff

    def _background(self, time: datetime) -> Picture:
        """Glow of a town at the horizon, twilight, and the Milky Way, on a coarse grid made fine."""
        camera = self.camera
        height, width = -(-camera.height // _COARSE), -(-camera.width // _COARSE)
        y, x = np.mgrid[0:height, 0:width] * float(_COARSE)
        vectors = camera.directions(x, y)
        azimuth, altitude = azimuth_and_altitude(vectors)
        glow = np.exp(-np.clip(altitude, 0, 90) / 9) * (0.6 + 0.4 * np.cos(np.radians(azimuth - 150)))
        twilight = np.clip((camera.sun_altitude(time) + 18) / 18, 0, 1) ** 3
        milky_way = _milky_way(*camera.to_equatorial(vectors, time))
        colours = (
            (glow, (0.085, 0.055, 0.030)),
            (milky_way, (0.030, 0.029, 0.036)),
            (twilight * (0.3 + np.exp(-np.clip(altitude, 0, 90) / 25)), (0.35, 0.55, 1.0)),
            (np.ones_like(glow), (0.010, 0.013, 0.023)),
        )
        coarse = sum(amount[..., None] * np.array(colour) for amount, colour in colours)
        channels = [_enlarged(coarse[..., channel], camera.width, camera.height) for channel in range(3)]
        return np.stack(channels, axis=-1)

    def _add_stars(self, light: Picture, time: datetime) -> None:
        vectors = self.camera.from_equatorial(self._ra, self._dec, time)
        x, y, is_ahead = self.camera.project(vectors)
        extinction = 0.25 / np.clip(vectors[:, 2], 0.05, 1)
        flux = 10 ** (-0.4 * (self._magnitude + extinction - 3.4))
        is_seen = is_ahead & (vectors[:, 2] > 0) & (x > 4) & (x < self.camera.width - 5)
        is_seen &= (y > 4) & (y < self.camera.height - 5)
        for index in np.flatnonzero(is_seen):
            red = self._colour[index]
            colour = np.array([0.75 + 0.5 * red, 0.95 - 0.05 * red, 1.2 - 0.6 * red], np.float32)
            add_spot(light, x[index], y[index], float(flux[index]) * colour)


def add_spot(light: Picture, x: float, y: float, colour: Picture, radius: float = 0.85) -> None:
    """Add a point of light, spread by the lens; outside the picture nothing happens."""
    reach = 4
    column, row = int(x), int(y)
    if not (reach <= column < light.shape[1] - reach and reach <= row < light.shape[0] - reach):
        return
    offsets = np.arange(-reach, reach + 1)
    across = np.exp(-((column + offsets - x) ** 2) / (2 * radius**2))
    down = np.exp(-((row + offsets - y) ** 2) / (2 * radius**2))
    patch = light[row - reach : row + reach + 1, column - reach : column + reach + 1]
    patch += np.outer(down, across).astype(np.float32)[..., None] * colour


def develop(light: Picture) -> NDArray[np.uint8]:
    """Light to the bytes of a picture, highlights softened as a camera does."""
    tone = np.clip(light, 0, None)
    tone = tone / (1 + 0.25 * tone)
    return (np.clip(tone, 0, 1) ** (1 / 1.9) * 255).astype(np.uint8)


def _vector(azimuth: float, altitude: float) -> Floats:
    level = np.cos(altitude)
    return np.array([level * np.sin(azimuth), level * np.cos(azimuth), np.sin(altitude)])


def _stars(lots: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    known = np.array(_BRIGHT_STARS.split(), float).reshape(-1, 4)
    ra = lots.uniform(0, 360, _FAINT_STARS)
    dec = np.degrees(np.arcsin(lots.uniform(-1, 1, _FAINT_STARS)))
    # Stars become 3.2 times as many with each magnitude.
    magnitude = _FAINTEST + np.log10(lots.uniform(0.002, 1, _FAINT_STARS)) / 0.51
    drawn = np.stack([ra, dec, magnitude, lots.beta(1.5, 2.5, _FAINT_STARS)], axis=1)
    in_band = _milky_way(drawn[:, 0], drawn[:, 1])
    kept = drawn[lots.uniform(0, 1, _FAINT_STARS) < 0.55 + 0.45 * in_band]
    columns = np.concatenate([known, kept]).T
    return columns[0], columns[1], columns[2], columns[3]


def _milky_way(ra: Floats, dec: Floats) -> Floats:
    """Brightness of the Milky Way, 0 to about 1, with clouds and a dark rift."""
    pole_ra, pole_dec = np.radians(_GALACTIC_NORTH)
    a, d = np.radians(ra) - pole_ra, np.radians(dec)
    sine = np.sin(pole_dec) * np.sin(d) + np.cos(pole_dec) * np.cos(d) * np.cos(a)
    latitude = np.degrees(np.arcsin(np.clip(sine, -1, 1)))
    longitude = np.arctan2(
        np.cos(d) * np.sin(a), np.cos(pole_dec) * np.sin(d) - np.sin(pole_dec) * np.cos(d) * np.cos(a)
    )
    waves = (
        np.sin(5 * longitude + 1)
        + np.sin(11 * longitude + latitude / 4)
        + np.sin(23 * longitude - latitude / 3)
    )
    band = np.exp(-((latitude / (11 + 2 * waves)) ** 2))
    rift = 0.55 * np.exp(-(((latitude - 2 * np.sin(4 * longitude)) / 2.5) ** 2))
    glow: Floats = np.clip(band * (0.8 + 0.12 * waves) - rift * band, 0, None)
    return glow


def _horizon(camera: Camera, lots: np.random.Generator) -> NDArray[np.int_]:
    """Row of the first pixel of the ground in each column: hills, trees and a roof."""
    columns = np.arange(camera.width) / camera.width
    hills = 0.895 + 0.02 * np.sin(5 * columns + 1) + 0.012 * np.sin(13 * columns)
    leaves = 1 + 0.5 * np.convolve(lots.normal(0, 0.5, camera.width), np.ones(9) / 9, "same")
    for centre, size in zip(lots.uniform(0, 1, 14), lots.uniform(0.015, 0.05, 14), strict=True):
        crown = np.clip(1 - ((columns - centre) / size) ** 2, 0, 1) ** 0.5
        hills -= 0.9 * size * crown * leaves
    roof = np.clip(0.08 - np.abs(columns - 0.1), 0, None) * 0.9
    hills = np.minimum(hills, np.where(roof > 0, 0.93 - roof - 0.06, 1.0))
    rows: NDArray[np.int_] = np.clip((hills * camera.height).astype(int), 0, camera.height)
    return rows


def _enlarged(coarse: Floats, width: int, height: int) -> Picture:
    rows, columns = coarse.shape
    picture = Image.fromarray(coarse.astype(np.float32))
    large = picture.resize((columns * _COARSE, rows * _COARSE), Image.Resampling.BILINEAR)
    return np.asarray(large, np.float32)[:height, :width].copy()
