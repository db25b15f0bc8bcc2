"""The files of an RMS station are read whole, and what is cut or garbled costs no more than it must."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_db.ingest.rms_detections import Detection, Point, angular_distance, parse_detections
from meteorpi_db.ingest.rms_formats import (
    find_stamp,
    parse_config,
    parse_detections_name,
    parse_ff_name,
    parse_night_name,
    parse_platepar,
)
from meteorpi_model.errors import InvalidDocumentError

HEADER = """Meteor Count = {count:06d}
-----------------------------------------------------
Processed with RMS 1.0 20220903_124708 on 2022-09-15 05:13:17.493559 UTC
-----------------------------------------------------
FF  folder = /data/UK0006_20220914_185543_087124
CAL folder = /data/UK0006_20220914_185543_087124
-----------------------------------------------------
FF  file processed
CAL file processed
Cam# Meteor# #Segments fps hnr mle bin Pix/fm Rho Phi
Per segment:  Frame# Col Row RA Dec Azim Elev Inten Mag
"""
RULER = "-------------------------------------------------------\n"

decimals = st.floats(0, 359, allow_nan=False).map(lambda value: round(value, 4))
points = st.lists(
    st.builds(
        Point,
        frame=st.integers(0, 2_550_000).map(lambda frame: frame / 10_000),
        x=decimals.map(lambda value: round(value, 2)),
        y=decimals.map(lambda value: round(value, 2)),
        ra=decimals,
        dec=decimals.map(lambda value: round(value / 4 - 45, 4)),
        azimuth=decimals,
        altitude=decimals.map(lambda value: round(value / 4, 4)),
        intensity=st.integers(1, 999_999).map(float),
        magnitude=st.none() | st.integers(-900, 900).map(lambda value: value / 100),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda point: point.frame,
).map(lambda found: tuple(sorted(found, key=lambda point: point.frame)))
codes = st.from_regex(r"[A-Z]{2}[0-9A-Z]{4}", fullmatch=True)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    code, start = draw(codes), draw(moments)
    stamp = f"{start:%Y%m%d_%H%M%S}_{start.microsecond // 1000:03d}"
    return Detection(
        ff_name=f"FF_{code}_{stamp}_{draw(st.integers(0, 9_999_999)):07d}.fits",
        code=code,
        number=draw(st.integers(1, 9999)),
        fps=draw(st.sampled_from([25.0, 29.97, 50.0])),
        pixels_per_frame=draw(st.integers(0, 999)) / 10,
        rho=draw(st.integers(0, 9999)) / 10,
        phi=draw(st.integers(-1800, 3600)) / 10,
        calibration=draw(
            st.sampled_from(["Uncalibrated", "Recalibrated with RMS on: 2022-09-15 05:13:17 UTC"])
        ),
        points=draw(points),
    )


def written(found: list[Detection]) -> str:
    """The file RMS would write."""
    return HEADER.format(count=len(found)) + "".join(RULER + block(each) for each in found)


def block(detection: Detection) -> str:
    lines = [
        detection.ff_name,
        detection.calibration,
        f"{detection.code} {detection.number:04d} {len(detection.points):04d} {detection.fps:07.2f}"
        f" 000.0 000.0  00.0 {detection.pixels_per_frame:05.1f} {detection.rho:06.1f} {detection.phi:06.1f}",
    ]
    for point in detection.points:
        magnitude = "" if point.magnitude is None else f" {point.magnitude:.2f}"
        lines.append(
            f"{point.frame:07.4f} {point.x:07.2f} {point.y:07.2f} {point.ra:08.4f} {point.dec:+08.4f}"
            f" {point.azimuth:08.4f} {point.altitude:+08.4f} {int(point.intensity):06d}{magnitude}"
        )
    return "\n".join(lines) + "\n"


@given(st.lists(detections(), max_size=4))
def test_detections_come_back_as_they_were_written(found: list[Detection]) -> None:
    read = parse_detections(written(found))

    assert read.detections == tuple(found)
    assert read.announced == len(found)
    assert read.complaints == ()


@given(st.lists(detections(), min_size=1, max_size=3), st.data())
def test_a_detections_file_cut_anywhere_gives_only_true_detections(
    found: list[Detection], data: st.DataObject
) -> None:
    text = written(found)
    cut = data.draw(st.integers(0, len(text) - 1))

    read = parse_detections(text[:cut])

    is_cut_between_points = text[:cut].endswith("\n") and cut > text.rindex(RULER)
    whole = read.detections[:-1] if is_cut_between_points else read.detections
    assert whole == tuple(found[: len(whole)])
    assert read.complaints or is_cut_between_points


@given(st.lists(detections(), min_size=2, max_size=4), st.data())
def test_a_garbled_line_costs_the_meteor_it_belongs_to_and_no_other(
    found: list[Detection], data: st.DataObject
) -> None:
    victim = data.draw(st.integers(0, len(found) - 1))
    blocks = [block(each) for each in found]
    lines = blocks[victim].split("\n")
    line = data.draw(st.sampled_from([0, 2, *range(3, len(lines) - 1)]))
    lines[line] = data.draw(
        st.sampled_from(["garbled", "\x00" * 20, "1 2 three 4", "", "inf " * 9, "9" * 400])
    )
    if lines[line] == "" and line >= 3:
        lines[line] = "."
    blocks[victim] = "\n".join(lines)

    read = parse_detections(HEADER.format(count=len(found)) + "".join(RULER + each for each in blocks))

    assert read.detections == tuple(each for index, each in enumerate(found) if index != victim)
    assert len(read.complaints) == 1


@given(st.text())
def test_any_text_can_be_read_as_detections(text: str) -> None:
    read = parse_detections(text)

    assert read.complaints or text.startswith("Meteor Count")


def test_points_that_could_not_be_measured_are_no_fault() -> None:
    found = Detection(
        "FF_UK0006_20220914_194911_205_0079616.fits",
        "UK0006",
        1,
        25.0,
        1.0,
        0.0,
        0.0,
        "Uncalibrated",
        (Point(3.5, 1, 2, 0, 0, 0, 0, 9, 1.0), Point(5.5, 3, 4, 0, 0, 0, 0, 9, 1.0)),
    )
    text = written([found]).replace(" 0002 0025.00", " 0004 0025.00")
    text += "7.5000 00nan 00nan 000.00 000.00 000.00 000.00 000009 1.00\n"

    assert parse_detections(text).detections == (found,)
    assert parse_detections(text).complaints == ()


def test_the_time_of_a_meteor_is_that_of_its_recording_and_frame(shared_data: Path) -> None:
    """RMS' own table of the same night says 19:49:13.567310."""
    text = (shared_data / "rms-night" / "FTPdetectinfo_UK0006_20220914_185543_087124.txt").read_text()

    first = parse_detections(text).detections[0]

    assert abs(first.start - datetime(2022, 9, 14, 19, 49, 13, 567310)) < timedelta(microseconds=10)
    assert first.duration_seconds == pytest.approx(0.8177, abs=1e-4)


def test_a_real_night_is_read_without_complaint(shared_data: Path) -> None:
    text = (shared_data / "rms-night" / "FTPdetectinfo_UK0006_20220914_185543_087124.txt").read_text()

    read = parse_detections(text)

    assert (read.announced, len(read.detections), read.complaints) == (43, 43, ())
    assert len({(each.ff_name, each.number) for each in read.detections}) == 43


@given(codes, moments, st.integers(0, 9_999_999), st.sampled_from(["", ".fits", ".bin"]))
def test_ff_names_come_back(code: str, start: datetime, frame: int, ending: str) -> None:
    name = f"FF_{code}_{start:%Y%m%d_%H%M%S}_{start.microsecond // 1000:03d}_{frame:07d}{ending}"

    read = parse_ff_name(name)

    assert (read.code, read.start, read.first_frame) == (code, start, frame)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FF453_20160419_184117_248_0020992.bin", datetime(2016, 4, 19, 18, 41, 17, 248000)),
        ("FF_CA0001_20170626_020520_353_0005120.fits", datetime(2017, 6, 26, 2, 5, 20, 353000)),
        ("FF_CA0001_20170626_020520_353123_0005120.fits", datetime(2017, 6, 26, 2, 5, 20, 353123)),
    ],
)
def test_ff_names_of_every_generation_are_understood(name: str, expected: datetime) -> None:
    assert parse_ff_name(name).start == expected


@pytest.mark.parametrize(
    "name",
    ["", "FF_", "FF_UK0006_20221314_194911_205_0079616.fits", "FR_UK0006_20220914_194911_205_0079616.bin"],
)
def test_other_names_are_no_ff_names(name: str) -> None:
    with pytest.raises(InvalidDocumentError):
        parse_ff_name(name)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("FTPdetectinfo_UK0006_20220914_185543_087124.txt", ""),
        ("FTPdetectinfo_UK0006_20220914_185543_087124_uncalibrated.txt", "uncalibrated"),
        ("FTPdetectinfo_UK0006_20220914_185543_087124_backup_20220915_051317.txt", "backup_20220915_051317"),
        ("FTPdetectinfo_UK0006_20220914_185543_087124_unfiltered.txt", "unfiltered"),
        ("FTPdetectinfo_UK0006_20220914_194911_205_0079616_manual.txt", "manual"),
    ],
)
def test_the_detections_of_the_night_are_told_from_its_variants(name: str, variant: str) -> None:
    assert parse_detections_name(name).variant == variant


def test_night_names_give_code_and_start() -> None:
    start = datetime(2022, 9, 14, 18, 55, 43, 87124)

    assert parse_night_name("UK0006_20220914_185543_087124") == ("UK0006", start)
    assert parse_night_name("UK0006_20220914_185543_087124_CAPTURED_thumbs.jpg") == ("UK0006", start)
    assert find_stamp("no time 1234") is None


def test_the_configuration_of_a_real_station_is_read(shared_data: Path) -> None:
    config = parse_config((shared_data / "rms-night" / ".config").read_text())

    assert (config.station_id, config.latitude, config.longitude) == ("UK001L", 51.8831, -1.30616)
    assert (config.elevation, config.width, config.height, config.fps) == (80.0, 1280, 720, 25.0)
    assert config.platepar_name == "platepar_cmn2010.cal"


@pytest.mark.parametrize("text", ["no section", "[System]\nlatitude: north ; of here\n", "[System\n"])
def test_a_broken_configuration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocumentError):
        parse_config(text)


def test_comments_may_follow_a_value_and_values_may_be_missing() -> None:
    config = parse_config(
        "; comment\n[System]\nstationID: XX0001 ; the code\nlatitude: 1.5;x ; y\n".replace(";x", "")
    )

    assert (config.station_id, config.latitude, config.longitude) == ("XX0001", 1.5, None)


@given(st.text())
def test_any_text_is_a_platepar_or_refused(text: str) -> None:
    with pytest.raises(InvalidDocumentError):
        parse_platepar(text)


@pytest.mark.parametrize("value", [None, "12", True, float("nan"), [1]])
def test_a_platepar_needs_its_numbers(value: object, shared_data: Path) -> None:
    document = json.loads((shared_data / "rms-night" / "platepar_cmn2010.cal").read_text())
    document["az_centre"] = value

    with pytest.raises(InvalidDocumentError):
        parse_platepar(json.dumps(document))


def test_position_angle_agrees_with_the_calibration(shared_data: Path) -> None:
    """RMS keeps the angle itself, for J2000; ours follows from azimuth, altitude and tilt, for the date."""
    text = (shared_data / "rms-night" / "platepar_cmn2010.cal").read_text()

    platepar = parse_platepar(text)

    assert platepar.position_angle == pytest.approx(json.loads(text)["pos_angle_ref"], abs=0.5)


def test_position_angle_agrees_with_the_stars_of_the_calibration(shared_data: Path) -> None:
    """Going up from the frame centre, the stars lie where the angle says."""
    text = (shared_data / "rms-night" / "platepar_cmn2010.cal").read_text()
    platepar, stars = parse_platepar(text), json.loads(text)["star_list"]
    above = [star for star in stars if abs(star[1] - 640) < 250 and star[2] < 360]
    below = [star for star in stars if abs(star[1] - 640) < 250 and star[2] > 400]

    (x0, y0, ra0, dec0), (x1, y1, ra1, dec1) = (
        (star[1], star[2], math.radians(star[4]), math.radians(star[5])) for star in (below[0], above[0])
    )
    towards = math.degrees(
        math.atan2(
            math.sin(ra1 - ra0),
            math.tan(dec1) * math.cos(dec0) - math.sin(dec0) * math.cos(ra1 - ra0),
        )
    )

    lean = math.degrees(math.atan2(x0 - x1, y0 - y1))  # of the line between them, left of straight up
    assert (towards - lean - platepar.position_angle + 180) % 360 - 180 == pytest.approx(0, abs=12)


def test_angular_distance_is_that_on_the_sphere() -> None:
    pole = Point(0, 0, 0, 0, 90, 0, 0, 1, 1)
    equator = Point(0, 0, 0, 123, 0, 0, 0, 1, 1)

    assert angular_distance(pole, equator) == pytest.approx(90)
    assert angular_distance(equator, Point(0, 0, 0, 303, 0, 0, 0, 1, 1)) == pytest.approx(180)
