"""``prune``."""

from __future__ import annotations

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import EventSearch, ExportConfiguration, FileRecordSearch
from tests.cli.conftest import OWN_CAMERA, Meteorpi, add_file


@pytest.mark.contract("issue-3.5/prune")
def test_dry_run_shows_what_would_go_and_what_is_kept_for_whom(
    meteorpi: Meteorpi, node: MeteorDatabase
) -> None:
    add_file(node, 1, b"12345")
    export(node)

    done = meteorpi("prune", "--keep-frames-days", 30, "--dry-run")

    assert done.code == 0
    assert "nothing would be deleted" in done.out
    assert "kept for the export 'to the hub'" in done.out
    assert "0 events, 1 files (5 B), 2015-04-01 00:01:00 to 2015-04-01 00:01:00" in done.out


@pytest.mark.contract("issue-3.5/prune")
def test_settings_say_what_goes_and_the_audit_log_what_went(
    meteorpi: Meteorpi, node: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_file(node, 1, b"12345")
    monkeypatch.setenv("METEORPI_KEEP_FRAMES_DAYS", "30")

    would = meteorpi("prune", "--dry-run", "--json").json
    done = meteorpi("prune", "--json")

    assert done.code == 0
    assert done.json == would | {"dry_run": False}
    assert done.json["cameras"] == [
        {
            "camera_id": OWN_CAMERA,
            "files": 1,
            "events": 0,
            "size_bytes": 5,
            "oldest": 1427846460000,
            "newest": 1427846460000,
        }
    ]
    assert node.count_entities()["files"] == 0
    (entry,) = node.get_audit_log(1)
    assert (entry.action, entry.subject, entry.detail) == (
        "data.prune",
        OWN_CAMERA,
        "files=1 events=0 size_bytes=5",
    )


@pytest.mark.contract("issue-3.5/prune-exports")
def test_disabled_configurations_are_ignored_when_asked_for(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    add_file(node, 1)
    export(node)

    kept = meteorpi("prune", "--keep-frames-days", 30, "--json").json
    gone = meteorpi("prune", "--keep-frames-days", 30, "--ignore-disabled", "--json").json

    assert (kept["deleted"]["files"], kept["protected_by"][0]["name"]) == (0, "to the hub")
    assert (gone["deleted"]["files"], gone["protected_by"]) == (1, [])


@pytest.mark.contract("issue-3.5/prune")
def test_events_shorter_than_frames_are_a_mistake(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    done = meteorpi("prune", "--keep-frames-days", 30, "--keep-events-days", 7)

    assert done.code == 2
    assert "events are what is kept longest" in done.err


@pytest.mark.contract("issue-3.5/prune-room")
def test_too_little_room_ends_with_1(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    done = meteorpi("prune", "--keep-free-bytes", 10**18, "--json")

    assert done.code == 1
    assert done.json["missing_bytes"] > 0


def test_nothing_set_means_that_nothing_goes(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    add_file(node, 1)

    done = meteorpi("prune")

    assert (done.code, node.count_entities()["files"]) == (0, 1)
    assert "nothing is ever pruned" in done.err


def export(node: MeteorDatabase) -> None:
    search: FileRecordSearch | EventSearch = FileRecordSearch(limit=0)
    node.create_or_update_export_configuration(
        ExportConfiguration("https://hub.example/import", "station", "secret", search, "to the hub", "")
    )
