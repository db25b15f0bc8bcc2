"""``status`` and ``cameras``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from meteorpi_db import MeteorDatabase
from tests.cli.conftest import OWN_CAMERA, START, Meteorpi, add_file, add_status


@pytest.mark.contract("14.4/camera-status")
def test_new_status_keeps_what_is_not_given(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    done = meteorpi(
        "status", "set", "--lens", "b_lens", "--latitude", "-33.5", "--rotation", "7", "--gps", "--json"
    )

    assert done.code == 0
    status = node.get_camera_status()
    assert status is not None
    assert (status.lens, status.sensor, status.inst_name) == ("b_lens", "a_sensor", "Farm")
    assert (status.location.latitude, status.location.longitude, status.location.gps) == (-33.5, 0.1, True)
    assert (status.orientation.altitude, status.orientation.rotation) == (50, 7)
    assert done.json == status.as_dict()


@pytest.mark.contract("14.4/camera-status")
def test_camera_without_status_gets_its_first(meteorpi: Meteorpi) -> None:
    assert meteorpi("status", "show", "new").code == 5

    assert meteorpi("status", "set", "new", "--inst-name", "Hill", "--inst-url", "http://hill").code == 0

    found = meteorpi("status", "show", "new", "--json").json
    assert (found["camera_id"], found["inst_name"], found["lens"]) == ("new", "Hill", "")


@pytest.mark.contract("14.4/camera-status")
def test_status_at_a_time_is_shown(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("status", "set", "--lens", "later")

    assert meteorpi("status", "show", "--at", "2015-04-02", "--json").json["lens"] == "a_lens"
    assert meteorpi("status", "show", "--json").json["lens"] == "later"


@pytest.mark.contract("14.4/status-history")
def test_history_marks_the_current_status(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("status", "set", "--lens", "later")

    rows = meteorpi("status", "history", "--json").rows

    assert [(row["lens"], row["is_current"]) for row in rows] == [("later", True), ("a_lens", False)]
    old = meteorpi("status", "history", "--before", "2016-01-01", "--json").rows
    assert [row["lens"] for row in old] == ["a_lens"]
    assert meteorpi("status", "history", "--before", "2014-01-01", "--json").rows == []


@pytest.mark.contract("14.4/camera-status", "B-40")
def test_status_in_the_past_deletes_only_when_confirmed(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.set_high_water_mark(START + timedelta(hours=2))
    add_file(node, 90)

    refused = meteorpi("status", "set", "--lens", "b", "--from", "2015-04-01T01:00", given="n\n")
    assert refused.code == 130
    assert "1 files" in refused.err
    assert node.count_entities()["files"] == 1

    assert meteorpi("status", "set", "--lens", "b", "--from", "2015-04-01T01:00", given="y\n").code == 0
    assert node.count_entities()["files"] == 0


@pytest.mark.contract("14.4/regions")
def test_regions_are_asked_for_point_by_point(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    answers = ["0,0", "100, 0", "0,100", "", "5,5", "6,5", "6.5,9", "7,9", "", ""]

    done = meteorpi("status", "regions", given="\n".join(answers) + "\n")

    assert done.code == 0
    status = node.get_camera_status()
    assert status is not None
    assert [len(polygon) for polygon in status.regions] == [3, 4]
    assert status.regions[0][1] == {"x": 100, "y": 0}


@pytest.mark.contract("14.4/regions")
def test_regions_are_given_as_options_or_taken_away(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("status", "regions", "--region", "0,0 9,0 9,9")
    assert len(meteorpi("status", "show", "--json").json["regions"]) == 1

    meteorpi("status", "regions", "--none")
    assert meteorpi("status", "show", "--json").json["regions"] == []
    assert meteorpi("status", "regions", "--region", "0,0 1,1").code == 2


@pytest.mark.contract("14.4/cameras")
def test_cameras_are_listed_with_their_set_up(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    add_status(node, camera_id="other")

    rows = meteorpi("cameras", "--json").rows

    assert [row["camera_id"] for row in rows] == ["other", OWN_CAMERA]
    assert rows[0]["lens"] == "a_lens"
    assert rows[0]["high_water_mark"] == 1427846400000
    assert "52.20000 0.10000" in meteorpi("cameras").out


@pytest.mark.contract("14.4/camera-status")
def test_all_history_is_corrected_in_place(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("status", "set", "--lens", "later")
    record = add_file(node, 1)
    before = node.get_status_history()

    done = meteorpi("status", "set", "--all-history", "--sensor", "b_sensor", "--longitude", "0.2")

    assert done.code == 0
    after = node.get_status_history()
    assert [each.status_id for each in after] == [each.status_id for each in before]
    assert [each.valid_from for each in after] == [each.valid_from for each in before]
    assert [(each.lens, each.sensor, each.location.longitude) for each in after] == [
        ("later", "b_sensor", 0.2),
        ("a_lens", "b_sensor", 0.2),
    ]
    assert record.file_id is not None
    assert node.has_file_id(record.file_id)
    assert meteorpi("status", "set", "--all-history", "--from", "now").code == 2
