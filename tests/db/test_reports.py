"""Figures over what is held."""

from __future__ import annotations

from datetime import datetime

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import Meta, NSString
from tests.db.making import (
    CAMERA,
    OTHER_CAMERA,
    add_event,
    add_export,
    add_file,
    add_status,
    at,
    new_file,
)


@pytest.fixture
def filled(db: MeteorDatabase) -> MeteorDatabase:
    add_status(db)
    add_status(db, OTHER_CAMERA)
    for minute, clarity in ((1, 10), (2, 30), (61, 50)):
        add_file(db, minute, Meta(NSString("skyClarity"), clarity), Meta(NSString("sunAlt"), -minute))
    add_file(db, 5, content=b"x" * 1000, camera=OTHER_CAMERA)
    db.add_file(new_file(24 * 60, mime="video/mp4"), [b"moving"])
    add_event(db, 3)
    add_event(db, 4)
    return db


@pytest.mark.contract("issue-2.4/node")
def test_everything_is_counted(filled: MeteorDatabase) -> None:
    filled.create_or_update_user("ann", "one", None)
    filled.mark_entities_to_export(add_export(filled))

    assert filled.count_entities() == {
        "files": 5,
        "bytes": 3 * 19 + 1000 + 6,
        "corrupt_files": 0,
        "events": 2,
        "statuses": 2,
        "cameras": 2,
        "users": 1,
        "export_configurations": 1,
        "export_tasks_pending": 5,
    }


@pytest.mark.contract("14.4/disk-usage")
def test_disk_usage_is_by_type_and_day(filled: MeteorDatabase) -> None:
    second, first = filled.get_disk_usage()

    assert (second.day, second.semantic_type, second.files, second.size_bytes) == (
        datetime(2015, 4, 2), "meteorpi:frame", 1, 6,
    )  # fmt: skip
    assert (first.day, first.files, first.size_bytes) == (datetime(2015, 4, 1), 4, 3 * 19 + 1000)
    (own,) = filled.get_disk_usage(CAMERA, at(1), at(70))
    assert own.files == 2


@pytest.mark.contract("14.4/trigger-rate")
def test_rates_are_by_the_hour(filled: MeteorDatabase) -> None:
    rates = filled.get_hourly_rates(CAMERA)

    assert [(rate.hour, rate.images, rate.events) for rate in rates] == [
        (datetime(2015, 4, 1, 21), 1, 0),
        (datetime(2015, 4, 1, 20), 2, 2),
    ]
    assert [(rate.sky_clarity, rate.sun_altitude) for rate in rates] == [(50, -61), (20, -1.5)]
    assert filled.get_hourly_rates(OTHER_CAMERA)[0].sky_clarity is None
    assert sum(rate.images for rate in filled.get_hourly_rates(before=at(30))) == 3
    assert filled.get_hourly_rates("unknown") == []
    assert filled.get_disk_usage("unknown") == []


def test_statistics_can_be_refreshed(filled: MeteorDatabase) -> None:
    filled.refresh_statistics()

    assert filled.count_entities()["files"] == 5
