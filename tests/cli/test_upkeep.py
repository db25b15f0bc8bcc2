"""``init``, ``deploy``, ``settings``, ``delete`` and ``verify``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_server.settings import Settings
from tests.cli.conftest import OWN_CAMERA, Meteorpi, add_file, add_status


@pytest.mark.contract("issue-2.7/upkeep")
def test_init_makes_a_node_and_may_be_repeated(meteorpi: Meteorpi, home: Path) -> None:
    first = meteorpi("init", "--admin", "ada", "--password-file", "-", "--json", given="sesame\n")
    second = meteorpi("init", "--json")

    assert (first.code, second.code) == (0, 0)
    assert first.json == second.json
    assert first.json["administrators"] == ["ada"]
    assert (home / "node.db").exists()
    assert (home / "files").is_dir()


def test_init_says_that_nobody_can_administrate(meteorpi: Meteorpi) -> None:
    assert "init --admin" in meteorpi("init").err


@pytest.mark.contract("issue-2.2/creation")
@pytest.mark.engines("firebird", "postgresql")
def test_init_makes_the_schema_on_a_server(
    meteorpi: Meteorpi, bare_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METEORPI_DB_PATH", bare_database)
    monkeypatch.setenv("METEORPI_DB_PASSWORD", "meteorpi")
    before = meteorpi("cameras")

    assert before.code == 2
    assert "meteorpi init" in before.err
    assert meteorpi("init").code == 0
    assert meteorpi("cameras").code == 0


@pytest.mark.contract("14.4/deploy")
def test_deploy_asks_for_what_a_new_camera_needs(meteorpi: Meteorpi, home: Path) -> None:
    answers = ["Hill", "", "fisheye", "chip", "52.5", "-1.5", "45", "90", "0", "40", "", ""]

    done = meteorpi("deploy", given="\n".join(answers) + "\n")

    assert done.code == 0
    found = meteorpi("status", "show", "--json").json
    assert (found["inst_name"], found["lens"], found["sensor"]) == ("Hill", "fisheye", "chip")
    assert (found["location"]["lat"], found["location"]["long"]) == (52.5, -1.5)
    assert (found["orientation"]["az"], found["orientation"]["width"]) == (90, 40)


@pytest.mark.contract("14.4/deploy")
def test_deploy_keeps_what_is_not_answered(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    assert meteorpi("deploy", given="\n" * 12).code == 0

    status = node.get_camera_status()
    assert status is not None
    assert (status.lens, status.inst_name, status.location.latitude) == ("a_lens", "Farm", 52.2)


@pytest.mark.contract("issue-2.7/upkeep")
def test_settings_are_listed_without_secrets(meteorpi: Meteorpi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METEORPI_DB_PASSWORD", "hush")

    done = meteorpi("settings", "--json")

    assert {row["name"] for row in done.rows} == set(vars(Settings()))
    assert "hush" not in done.out
    assert "METEORPI_FILE_STORE" in meteorpi("settings").out


@pytest.mark.contract("issue-3.6/file")
def test_settings_say_where_each_value_came_from(
    meteorpi: Meteorpi, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = home / "meteorpi.toml"
    config.write_text("port = 1\nthreads = 2\n")
    monkeypatch.setenv("METEORPI_THREADS", "3")

    done = meteorpi("--config", config, "--log-level", "debug", "settings", "--json")

    found = {row["name"]: (row["value"], row["origin"]) for row in done.rows}
    assert found["port"] == ("1", "file")
    assert found["threads"] == ("3", "environment")
    assert found["log_level"] == ("DEBUG", "option")
    assert found["host"] == ("127.0.0.1", "default")
    assert f"configuration file: {config}" in meteorpi("--config", config, "settings").out


@pytest.mark.contract("issue-3.6/file")
def test_settings_are_printed_as_a_file_that_gives_them_again(meteorpi: Meteorpi, home: Path) -> None:
    config = home / "meteorpi.toml"

    config.write_text(meteorpi("settings", "--toml").out)

    settings = Settings.load({}, config)
    assert settings.db_path == str(home / "node.db")
    assert settings.installation_id == OWN_CAMERA
    assert Settings.load(dict(os.environ)) == settings


@pytest.mark.contract("issue-3.6/file")
def test_option_that_is_no_value_is_named(meteorpi: Meteorpi) -> None:
    done = meteorpi("--log-level", "loud", "settings")

    assert done.code == 2
    assert "--log-level: must be one of DEBUG" in done.err


@pytest.mark.contract("14.4/delete-data")
def test_data_is_deleted_after_showing_counts_and_asking(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    add_status(node, camera_id="other")
    for minute in (1, 2, 3):
        add_file(node, minute, b"12345")
    add_file(node, 2, camera_id="other")
    interval = ["--camera", OWN_CAMERA, "--after", "2015-04-01T00:01", "--before", "2015-04-01T00:04"]

    counted = meteorpi("delete", *interval, "--dry-run", "--json")
    assert (counted.json["files"], counted.json["size_bytes"]) == (2, 10)
    refused = meteorpi("delete", *interval, given="n\n")
    assert refused.code == 130
    assert "0 events and 2 files (10 B)" in refused.err
    assert node.count_entities()["files"] == 4

    done = meteorpi("delete", *interval, "--yes", "--json")

    assert done.json["files"] == 2
    assert node.count_entities()["files"] == 2
    assert node.get_audit_log(1)[0].action == "data.delete"


@pytest.mark.contract("14.4/integrity", "B-15", "issue-2.3")
def test_verify_finds_a_missing_content_and_ends_with_1(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    kept, lost = add_file(node, 1, b"kept"), add_file(node, 2, b"lost")
    assert meteorpi("verify").code == 0
    path = lost.get_path()
    assert path is not None
    path.unlink()

    done = meteorpi("verify", "--json")

    assert done.code == 1
    assert lost.file_id is not None
    assert done.json["missing"] == [lost.file_id.hex]
    assert kept.file_id is not None
    assert kept.file_id.hex not in done.out


@pytest.mark.contract("14.4/integrity", "issue-2.3")
def test_deep_verify_finds_a_torn_content(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    path = add_file(node, 1, b"kept").get_path()
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(b"torn")

    assert meteorpi("verify", "--deep").code == 1
    assert len(meteorpi("verify", "--deep", "--json").json["torn"]) == 1
