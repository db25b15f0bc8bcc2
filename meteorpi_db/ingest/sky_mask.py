"""The visible sky as polygons, from the mask picture of an RMS station (white is sky)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from meteorpi_model.status import Polygon

_COLUMN_STEP = 8  # pixels between the columns looked at
_TOLERANCE = 4.0  # pixels an outline may deviate
_SKY = 128
_MOST_PIXELS = 50_000_000

Edge = list[tuple[float, float]]


def read_sky_regions(path: Path) -> list[Polygon] | None:
    """Outline of the white parts of a mask; None when the picture cannot be read or Pillow is missing.

    In every eighth column the longest run of sky counts. That describes a horizon with trees and houses,
    which is what masks are for, within a few pixels; holes (a mast, a bright lamp) are not kept.
    """
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            pixels, width, height = picture.convert("L").tobytes(), picture.width, picture.height
    except (OSError, ValueError, SyntaxError):
        return None
    return [_polygon(top, bottom) for top, bottom in _strips(pixels, width, height)]


def _strips(pixels: bytes, width: int, height: int) -> Iterator[tuple[Edge, Edge]]:
    """Upper and lower edges of neighbouring columns that show sky."""
    top: Edge = []
    bottom: Edge = []
    for x in [*range(0, width - 1, _COLUMN_STEP), width - 1]:
        run = _longest_run(pixels[x::width][:height])
        if run is None:
            if len(top) > 1:
                yield top, bottom
            top, bottom = [], []
            continue
        right = x + 1 if x == width - 1 else x  # the outline ends at the far side of the last pixel
        top.append((right, run[0]))
        bottom.append((right, run[1]))
    if len(top) > 1:
        yield top, bottom


def _longest_run(column: bytes) -> tuple[int, int] | None:
    """First pixel of the longest run of sky, and the one behind it."""
    is_sky = column.translate(bytes(46 if value < _SKY else 35 for value in range(256)))
    runs = is_sky.split(b".")
    longest = max(runs, key=len)
    if not longest:
        return None
    start = sum(len(run) + 1 for run in runs[: runs.index(longest)])
    return start, start + len(longest)


def _polygon(top: Edge, bottom: Edge) -> Polygon:
    corners = [*_simplified(top), *reversed(_simplified(bottom))]
    return [{"x": x, "y": y} for x, y in corners]


def _simplified(edge: Edge) -> Edge:
    """Fewer points, none of the dropped ones farther than the tolerance (Ramer-Douglas-Peucker)."""
    (x0, y0), (x1, y1) = edge[0], edge[-1]
    deviations = [abs(y - (y0 + (y1 - y0) * (x - x0) / (x1 - x0))) for x, y in edge]
    worst = max(range(len(edge)), key=deviations.__getitem__)
    if deviations[worst] <= _TOLERANCE:
        return [edge[0], edge[-1]]
    return [*_simplified(edge[: worst + 1])[:-1], *_simplified(edge[worst:])]
