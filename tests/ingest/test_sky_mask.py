"""Where the sky is visible, as polygons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from meteorpi_db.ingest.sky_mask import read_sky_regions
from meteorpi_model.status import Polygon


def mask(directory: Path, sky: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Path:
    path = directory / "mask.bmp"
    Image.fromarray(np.where(sky, 255, 0).astype(np.uint8)).save(path)
    return path


def drawn(
    polygons: list[Polygon], width: int, height: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    picture = Image.new("L", (width, height))
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon([(point["x"], point["y"]) for point in polygon], fill=1)
    return np.asarray(picture) > 0


def test_open_sky_is_the_whole_picture(tmp_path: Path) -> None:
    assert read_sky_regions(mask(tmp_path, np.ones((90, 160), bool))) == [
        [{"x": 0, "y": 0}, {"x": 160, "y": 0}, {"x": 160, "y": 90}, {"x": 0, "y": 90}]
    ]


def test_no_sky_is_no_region(tmp_path: Path) -> None:
    assert read_sky_regions(mask(tmp_path, np.zeros((90, 160), bool))) == []


def test_a_tower_divides_the_sky(tmp_path: Path) -> None:
    sky = np.ones((90, 160), bool)
    sky[:, 60:90] = False

    regions = read_sky_regions(mask(tmp_path, sky))

    assert regions is not None
    assert len(regions) == 2


@given(st.lists(st.integers(20, 118), min_size=9, max_size=9))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_outline_follows_the_horizon(tmp_path: Path, heights: list[int]) -> None:
    """Every eighth column is looked at, and a few pixels do not matter."""
    horizon = np.interp(np.arange(160), np.arange(9) * 20, heights)
    sky = np.arange(120)[:, None] < horizon[None, :]

    regions = read_sky_regions(mask(tmp_path, sky))

    assert regions is not None
    columns_off = np.abs(drawn(regions, 160, 120).sum(axis=0) - sky.sum(axis=0))
    steepest = np.abs(np.diff(heights)).max() / 20 * 8
    assert columns_off.max() <= 6 + steepest


def test_the_real_mask_keeps_nearly_all_sky(shared_data: Path) -> None:
    path = shared_data / "rms-night" / "mask.bmp"
    regions = read_sky_regions(path)
    assert regions is not None
    sky = np.asarray(Image.open(path).convert("L")) >= 128

    assert (drawn(regions, 1280, 720) != sky).mean() < 0.01


def test_what_is_no_picture_has_no_regions(tmp_path: Path) -> None:
    path = tmp_path / "mask.bmp"
    path.write_bytes(b"nothing")

    assert read_sky_regions(path) is None
