"""``exports``."""

from __future__ import annotations

from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import EventSearch, FileRecordSearch
from tests.cli.conftest import Meteorpi

TARGET = "https://hub.example/api/import"


@pytest.mark.contract("B-44")
def test_configuration_is_added_without_showing_its_password(
    meteorpi: Meteorpi, node: MeteorDatabase
) -> None:
    options = ["--camera", "cam", "--name", "to the hub", "--password-file", "-"]

    done = meteorpi("exports", "add", "event", TARGET, "station", *options, given="s3same\n")

    assert done.code == 0
    (stored,) = node.get_export_configurations()
    assert (stored.target_url, stored.user_id, stored.password) == (TARGET, "station", "s3same")
    assert (stored.name, stored.enabled) == ("to the hub", True)
    assert stored.search == EventSearch("cam", limit=0)
    assert (
        "s3same" not in done.out + meteorpi("exports", "list").out + meteorpi("exports", "list", "--json").out
    )


@pytest.mark.contract("14.4/export-status", "B-24")
def test_list_shows_how_exports_go(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("exports", "add", "file", TARGET, "station", "--password-file", "-", given="x\n")
    (stored,) = node.get_export_configurations()
    assert stored.config_id is not None
    node.record_export_failure(stored.config_id, "no route to host", 4)

    (row,) = meteorpi("exports", "list", "--json").rows

    assert (row["state"], row["pending"], row["failures"]) == ("enabled", 0, 1)
    assert "no route to host" in meteorpi("exports", "list").out
    node.record_export_failure(stored.config_id, "no route to host", 2)
    assert meteorpi("exports", "list", "--json").json["state"] == "suspended"


@pytest.mark.contract("issue-2.7/commands")
def test_given_parts_are_changed_and_the_password_kept(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    made = meteorpi("exports", "add", "file", TARGET, "u", "--password-file", "-", "--json", given="x\n").json

    meteorpi("exports", "set", made["config_id"], "--disable", "--name", "later", "--target", TARGET + "2")

    (stored,) = node.get_export_configurations()
    assert (stored.enabled, stored.name, stored.target_url, stored.password) == (
        False,
        "later",
        TARGET + "2",
        "x",
    )
    assert meteorpi("exports", "set", "0" * 32, "--disable").code == 5


@pytest.mark.contract("B-45")
def test_own_certificate_authority_is_named_and_given_up(
    meteorpi: Meteorpi, node: MeteorDatabase, tmp_path: Path
) -> None:
    authority = tmp_path / "authority.pem"
    authority.touch()
    options = ["--ca-file", str(authority), "--password-file", "-"]

    made = meteorpi("exports", "add", "file", TARGET, "u", *options, "--json", given="x\n").json
    assert [state.ca_file for state in node.get_export_states()] == [str(authority.resolve())]
    meteorpi("exports", "set", made["config_id"], "--name", "other")
    assert [state.ca_file for state in node.get_export_states()] == [str(authority.resolve())]
    meteorpi("exports", "set", made["config_id"], "--usual-cas")

    assert [state.ca_file for state in node.get_export_states()] == [None]
    assert meteorpi("exports", "set", made["config_id"], "--ca-file", "missing.pem").code == 2


def test_configuration_is_deleted_only_when_confirmed(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    made = meteorpi("exports", "add", "file", TARGET, "u", "--password-file", "-", "--json", given="x\n").json

    assert meteorpi("exports", "delete", made["config_id"], given="n\n").code == 130
    assert meteorpi("exports", "delete", made["config_id"], given="y\n").code == 0
    assert node.get_export_configurations() == []


@pytest.mark.contract("14.4/default-exports")
def test_defaults_replace_all_after_asking(
    meteorpi: Meteorpi, node: MeteorDatabase, tmp_path: object
) -> None:
    meteorpi("exports", "add", "file", "http://old/import", "u", "--password-file", "-", given="x\n")
    with open("password", "w", encoding="utf-8") as stream:  # noqa: PTH123 - the commands' directory
        stream.write("s3same")

    refused = meteorpi("exports", "defaults", TARGET, "u", "--password-file", "password", given="n\n")
    assert refused.code == 130
    assert "http://old/import" in refused.out
    assert meteorpi("exports", "defaults", TARGET, "u", "--password-file", "password", given="y\n").code == 0

    stored = node.get_export_configurations()
    assert [each.search for each in stored] == [FileRecordSearch(limit=0), EventSearch(limit=0)]
    assert all(each.enabled and each.target_url == TARGET and each.password == "s3same" for each in stored)


@pytest.mark.contract("B-51")
def test_target_must_be_a_web_address(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    done = meteorpi("exports", "add", "file", "ftp://hub/import", "u", "--password-file", "-", given="x\n")

    assert done.code == 2
    assert node.get_export_configurations() == []
