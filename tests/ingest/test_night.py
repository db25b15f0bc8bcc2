"""The generator of nights makes what a station would, always the same for one plan."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meteorpi_db.ingest.damage import find_damage
from meteorpi_db.ingest.media import media_of
from meteorpi_db.ingest.rms_detections import parse_detections
from meteorpi_db.ingest.rms_formats import parse_config, parse_ff_name, parse_platepar
from meteorpi_db.testing.night import NightPlan, make_night
from meteorpi_db.testing.night_sky import Camera, azimuth_and_altitude
from tests.ingest.conftest import SMALL_PLAN
from tests.ingest.trees import tree_state


@pytest.mark.contract("issue-2.9")
def test_one_plan_is_one_night(small_night: Path, tmp_path: Path) -> None:
    again = make_night(tmp_path, SMALL_PLAN)
    other = make_night(tmp_path / "other", dataclasses.replace(SMALL_PLAN, seed=1))

    def contents(night: Path) -> dict[str, str]:
        return {name: state[0] for name, state in tree_state(night).items()}

    assert contents(again) == contents(small_night)
    assert contents(other) != contents(small_night)


def test_every_file_is_sound(small_night: Path) -> None:
    for path in small_night.iterdir():
        assert find_damage(path, media_of(path.name).mime_type) is None


def test_the_papers_of_the_station_can_be_read(small_night: Path) -> None:
    config = parse_config((small_night / ".config").read_text())
    platepar = parse_platepar((small_night / "platepar_cmn2010.cal").read_text())

    assert config.station_id == platepar.station_code == "XX0001"
    assert (config.latitude, config.width) == (52.2053, 320)
    assert (platepar.azimuth, platepar.fov_width) == (122.0, 84.0)


def test_meteors_leave_light_where_they_are_said_to_be(small_night: Path) -> None:
    text = next(small_night.glob("FTPdetectinfo_*.txt")).read_text()
    read = parse_detections(text)
    assert (len(read.detections), read.complaints) == (4, ())
    for detection in read.detections:
        parse_ff_name(detection.ff_name)
        shown = np.asarray(Image.open(small_night / detection.ff_name.replace(".fits", ".jpg")).convert("L"))
        brightest = max(detection.points, key=lambda point: point.intensity)
        x, y = int(brightest.x), int(brightest.y)
        assert shown[y - 2 : y + 3, x - 2 : x + 3].max() > np.median(shown) + 20


def test_directions_and_pixels_agree_both_ways() -> None:
    camera = Camera(52.2, 0.1, 122.0, 40.0, -1.5, 84.0, 1280, 720)
    x, y = np.array([3.0, 640.0, 1200.0]), np.array([700.0, 360.0, 5.0])
    time = datetime(2024, 8, 12, 23)

    vectors = camera.directions(x, y)
    back = camera.project(camera.from_equatorial(*camera.to_equatorial(vectors, time), time))

    assert np.allclose(back[0], x)
    assert np.allclose(back[1], y)
    azimuth, altitude = azimuth_and_altitude(vectors[1])
    assert (float(azimuth), float(altitude)) == pytest.approx((122.0, 40.0))


def test_the_sun_is_where_it_was() -> None:
    """At the March equinox it stands at noon as high as the pole is low."""
    camera = Camera(52.0, 0.0, 180.0, 40.0, 0.0, 80.0, 64, 36)

    assert camera.sun_altitude(datetime(2024, 3, 20, 12, 7)) == pytest.approx(38.1, abs=0.3)
    assert camera.sun_altitude(datetime(2024, 8, 13, 0, 5)) == pytest.approx(-23.3, abs=0.5)


def test_a_night_of_nothing_is_possible(tmp_path: Path) -> None:
    folder = make_night(tmp_path, NightPlan(pictures=0, meteors=0, width=64, height=36))

    assert {path.suffix for path in folder.iterdir()} == {"", ".cal", ".bmp", ".txt"}
