"""When a picture was taken is found out, and how that is known."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meteorpi_db.ingest.times import find_file_time, find_time_in_name

ORIGINAL, OFFSET, FRACTION, CHANGED = 0x9003, 0x9011, 0x9291, 0x0132


def photograph(
    path: Path, *, original: str = "", offset: str = "", fraction: str = "", changed: str = ""
) -> Path:
    exif = Image.Exif()
    taken = exif.get_ifd(0x8769)
    taken.update(
        {tag: text for tag, text in ((ORIGINAL, original), (OFFSET, offset), (FRACTION, fraction)) if text}
    )
    if changed:
        exif[CHANGED] = changed
    Image.new("L", (8, 8)).save(path, exif=exif)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def test_the_moment_of_exposure_comes_first(tmp_path: Path) -> None:
    path = photograph(tmp_path / "20200101_000000.jpg", original="2024:08:12 22:01:05", fraction="25")

    found = find_file_time(path, "image/jpeg", UTC)

    assert found.time == datetime(2024, 8, 12, 22, 1, 5, 250000)
    assert (found.source, found.zone) == ("exif", "UTC")


def test_a_stated_zone_goes_before_the_assumed_one(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.jpg", original="2024:08:12 22:01:05", offset="+02:00")

    found = find_file_time(path, "image/jpeg", ZoneInfo("America/Lima"))

    assert found.time == datetime(2024, 8, 12, 20, 1, 5)
    assert found.zone == "stated"


def test_the_zone_of_the_options_knows_summer_time(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.jpg", original="2024:08:12 22:01:05")

    found = find_file_time(path, "image/jpeg", ZoneInfo("Europe/Berlin"))

    assert found.time == datetime(2024, 8, 12, 20, 1, 5)
    assert found.zone == "Europe/Berlin"


def test_the_name_goes_before_the_last_change(tmp_path: Path) -> None:
    path = photograph(tmp_path / "image-20240710010947.jpg", changed="2025:01:01 00:00:00")

    found = find_file_time(path, "image/jpeg", UTC)

    assert (found.time, found.source) == (datetime(2024, 7, 10, 1, 9, 47), "name")


def test_the_change_noted_in_the_picture_goes_before_that_of_the_file(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.jpg", changed="2024:07:10 01:09:47")

    found = find_file_time(path, "image/jpeg", UTC)

    assert (found.time, found.source) == (datetime(2024, 7, 10, 1, 9, 47), "exif-changed")


def test_without_anything_else_the_file_system_says(tmp_path: Path) -> None:
    found = find_file_time(photograph(tmp_path / "a.jpg"), "image/jpeg", ZoneInfo("Europe/Berlin"))

    assert (found.time, found.source, found.zone) == (datetime(2001, 9, 9, 1, 46, 40), "mtime", None)


@pytest.mark.parametrize(
    "original", ["0000:00:00 00:00:00", "2024:02:30 00:00:00", "yesterday", "1970:01:01 00:00:00"]
)
def test_senseless_exif_times_are_passed_over(original: str, tmp_path: Path) -> None:
    path = photograph(tmp_path / "20240812_220105.jpg", original=original)

    assert find_file_time(path, "image/jpeg", UTC).source == "name"


def test_a_broken_picture_still_has_a_time(tmp_path: Path) -> None:
    path = tmp_path / "20240812_220105.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe1\x00\x10Exif\0\0broken")

    assert find_file_time(path, "image/jpeg", UTC).time == datetime(2024, 8, 12, 22, 1, 5)


def test_fits_says_when_it_was_exposed(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    cards = ["SIMPLE  =                    T", "DATE-OBS= '2024-08-12T22:01:05.250' / start", "END"]
    path.write_bytes("".join(card.ljust(80) for card in cards).ljust(2880).encode())

    found = find_file_time(path, "image/fits", ZoneInfo("America/Lima"))

    assert (found.time, found.source) == (datetime(2024, 8, 12, 22, 1, 5, 250000), "fits")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("20240812_220105_250.jpg", datetime(2024, 8, 12, 22, 1, 5, 250000)),
        ("IMG_20240812_220105.jpg", datetime(2024, 8, 12, 22, 1, 5)),
        ("PXL_20240812_220105250.MP.jpg", datetime(2024, 8, 12, 22, 1, 5, 250000)),
        ("image-20240812220105.jpg", datetime(2024, 8, 12, 22, 1, 5)),
        ("M20240812_220105_Site_01P.avi", datetime(2024, 8, 12, 22, 1, 5)),
        ("2024_08_12_22_01_05_000_010701-trim.mp4", datetime(2024, 8, 12, 22, 1, 5)),
        ("2024-08-12T22_01_05_RMS_UK0006.ecsv", datetime(2024, 8, 12, 22, 1, 5)),
        ("2024-08-12T22:01:05.123456Z.png", datetime(2024, 8, 12, 22, 1, 5, 123456)),
        ("Screenshot 2024-08-12 22.01.05.png", datetime(2024, 8, 12, 22, 1, 5)),
        ("2024-08-12-22h01m05s.png", datetime(2024, 8, 12, 22, 1, 5)),
        ("allsky-20240812.mp4", datetime(2024, 8, 12, 12)),
        ("Sternspuren_ä_20240812_220105.jpg", datetime(2024, 8, 12, 22, 1, 5)),
        ("20241332_220105.jpg", None),
        ("DSC_0042.jpg", None),
        ("12345678901234567890.jpg", None),
    ],
)
def test_names_of_many_cameras_are_understood(name: str, expected: datetime | None) -> None:
    found = find_time_in_name(name, UTC)

    assert (found and found.time) == expected


@given(
    st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 30)),
    st.integers(-720, 720),
    st.sampled_from(["%Y%m%d_%H%M%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%d%H%M%S", "%Y_%m_%d_%H_%M_%S"]),
    st.sampled_from(["", "cam1_", "x-"]),
)
def test_times_in_names_come_back_in_utc(time: datetime, minutes: int, form: str, prefix: str) -> None:
    zone = timezone(timedelta(minutes=minutes))
    local = time.replace(microsecond=0)

    found = find_time_in_name(f"{prefix}{local.strftime(form)}.jpg", zone)

    assert found is not None
    assert found.time == local - timedelta(minutes=minutes)


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_name_is_too_strange(name: str) -> None:
    find_time_in_name(name, UTC)
