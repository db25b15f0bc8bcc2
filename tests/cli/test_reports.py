"""``report``."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import Meta, NSString, now
from tests.cli.conftest import OWN_CAMERA, START, Meteorpi, add_file, add_status

INTERVAL = ("2015-04-01", "2015-04-02")


@pytest.fixture
def filled(node: MeteorDatabase) -> MeteorDatabase:
    """Ten images, a video and two events of the own camera, one image of another."""
    add_status(node, camera_id="other")
    for minute in range(10):
        metas = (Meta(NSString("skyClarity"), 10 * minute), Meta(NSString("sunAlt"), -20))
        add_file(node, 10 * minute + 1, b"x" * 100, metas=metas)
    add_file(node, 5, b"y" * 1000, mime_type="video/mp4", semantic_type="triggers/event")
    add_file(node, 5, camera_id="other")
    for minute in (5, 65):
        intensity = [Meta(NSString("intensity"), minute)]
        node.register_event(OWN_CAMERA, START + timedelta(minutes=minute), NSString("meteor"), [], intensity)
    return node


@pytest.mark.contract("14.4/cameras")
def test_cameras_report_has_set_up_and_matches(meteorpi: Meteorpi, filled: MeteorDatabase) -> None:
    own = meteorpi("report", "cameras", *INTERVAL, "--json").json

    assert (own["camera_id"], own["files"], own["events"]) == (OWN_CAMERA, 11, 2)
    assert (own["software_version"], own["lens"], own["regions"]) == (1, "a_lens", [])
    both = meteorpi("report", "cameras", *INTERVAL, "any", "--json").rows
    assert [(row["camera_id"], row["files"]) for row in both] == [("other", 1), (OWN_CAMERA, 11)]


@pytest.mark.contract("14.4/day-job")
def test_cameras_report_shows_how_far_the_data_are_processed(
    meteorpi: Meteorpi, filled: MeteorDatabase
) -> None:
    filled.set_high_water_mark(datetime(2030, 1, 2, 3, 4, 5), camera_id=OWN_CAMERA)

    shown = meteorpi("report", "cameras", *INTERVAL).out

    assert "2030-01-02" in shown
    assert "03:04:05" in shown


@pytest.mark.contract("14.4/events")
def test_events_report_has_metadata(meteorpi: Meteorpi, filled: MeteorDatabase) -> None:
    done = meteorpi("report", "events", *INTERVAL, "--label", "A night")

    assert done.out.startswith("A night\n")
    assert "intensity=65" in done.out
    assert "2 events" in done.out
    assert "0 events" in meteorpi("report", "events", *INTERVAL, "--type", "plane").out


@pytest.mark.contract("14.4/images", "12")
def test_images_report_has_clarity_and_path_and_takes_every_nth(
    meteorpi: Meteorpi, filled: MeteorDatabase
) -> None:
    rows = meteorpi("report", "images", *INTERVAL, "--stride", "3", "--json").rows

    assert [row["sky_clarity"] for row in rows] == [90, 60, 30, 0]
    assert rows[0]["path"] == str(filled.file_path_for_id(UUID(rows[0]["file_id"])))


@pytest.mark.contract("14.4/files", "14.4/arguments")
def test_files_report_takes_type_and_camera(meteorpi: Meteorpi, filled: MeteorDatabase) -> None:
    assert len(meteorpi("report", "files", *INTERVAL, "--json").rows) == 11
    assert len(meteorpi("report", "files", *INTERVAL, "any", "--json").rows) == 12
    assert len(meteorpi("report", "files", *INTERVAL, "--type", "triggers/event", "--json").rows) == 1


@pytest.mark.contract("14.4/arguments")
def test_reports_are_on_the_last_24_hours_and_take_unix_seconds(
    meteorpi: Meteorpi, filled: MeteorDatabase
) -> None:
    ago = int((now() - START) / timedelta(minutes=1)) - 60
    add_file(filled, ago)

    assert len(meteorpi("report", "files", "--json").rows) == 1
    assert len(meteorpi("report", "files", "1427846400", "0", "--json").rows) == 12


@pytest.mark.contract("14.4/disk-usage")
def test_disk_report_is_by_type_and_day(meteorpi: Meteorpi, filled: MeteorDatabase) -> None:
    rows = meteorpi("report", "disk", *INTERVAL, "--json").rows

    assert [(row["semantic_type"], row["files"], row["size_bytes"]) for row in rows] == [
        ("meteorpi:timelapse/frame", 10, 1000),
        ("meteorpi:triggers/event", 1, 1000),
    ]
    assert {row["day"] for row in rows} == {1427846400000}
    done = meteorpi("report", "disk", *INTERVAL)
    assert "2015-04-01" in done.out
    assert "11 files, 2.0 kB" in done.out


@pytest.mark.contract("14.4/trigger-rate", "12")
def test_trigger_report_is_by_hour(meteorpi: Meteorpi, filled: MeteorDatabase) -> None:
    rows = meteorpi("report", "triggers", *INTERVAL, "--json").rows

    by_hour = {row["hour"]: row for row in rows}
    first, second = by_hour[1427846400000], by_hour[1427850000000]
    assert (first["images"], first["events"], first["sky_clarity"]) == (6, 1, 25)
    assert (second["images"], second["events"], second["sun_altitude"]) == (4, 1, -20)
