"""Correcting what was said about a camera, for all its history."""

from __future__ import annotations

from datetime import datetime

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import CameraStatus, Location, Orientation
from meteorpi_model.errors import InvalidDocumentError


def camera_status(lens: str) -> CameraStatus:
    return CameraStatus(lens, "chip", None, None, Orientation(), Location(1, 2), "cam")


@pytest.mark.contract("14.4/camera-status")
def test_every_status_of_one_camera_is_corrected_in_place(db: MeteorDatabase) -> None:
    for day in (1, 2):
        db.update_camera_status(camera_status(f"lens {day}"), datetime(2015, 4, day), "cam")
    db.update_camera_status(camera_status("other"), datetime(2015, 4, 1), "other")
    before = db.get_status_history("cam")

    corrected = db.amend_status_history(lambda status: setattr(status, "sensor", "corrected"), "cam")

    assert corrected == 2
    for status in before:
        status.sensor = "corrected"
    assert db.get_status_history("cam") == before
    assert [status.sensor for status in db.get_status_history("other")] == ["chip"]


@pytest.mark.contract("14.4/camera-status")
def test_correction_that_cannot_be_stored_changes_nothing(db: MeteorDatabase) -> None:
    db.update_camera_status(camera_status("lens"), datetime(2015, 4, 1), "cam")
    before = db.get_status_history("cam")

    with pytest.raises(InvalidDocumentError):
        db.amend_status_history(lambda status: setattr(status, "lens", "x" * 1000), "cam")

    assert db.get_status_history("cam") == before
