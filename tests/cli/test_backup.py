"""``meteorpi backup``, ``restore`` and ``copy-db``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import now, utc_datetime_to_milliseconds
from meteorpi_server import MeteorApp, node_api
from tests.cli.conftest import OWN_CAMERA, Meteorpi, add_file


def spoil(backups: Path) -> None:
    """Damage one content of a backup."""
    kept = next((backups / "contents").glob("??/*"))
    kept.write_bytes(kept.read_bytes()[::-1])


@pytest.mark.contract("issue-3.5/backup", "issue-3.5/restore")
def test_node_is_backed_up_listed_checked_and_restored(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    record = add_file(node, 1, b"the recording")

    first = meteorpi("backup", home / "backups", "--keep", 1, "--json")
    second = meteorpi("backup", home / "backups", "--keep", 1, "--json")
    listed = meteorpi("restore", home / "backups", "--list", "--json")
    checked = meteorpi("restore", home / "backups", "--check", "--json")
    restored = meteorpi("--db-path", "new.db", "--file-store", "new", "restore", home / "backups", "--json")

    assert (first.code, first.json["copied"], first.json["complete"]) == (0, 1, True)
    assert (second.json["copied"], second.json["removed"]) == (0, [first.json["name"]])
    assert [row["name"] for row in listed.rows] == [second.json["name"]]
    assert (checked.code, checked.json["sound"], checked.json["contents"]) == (0, True, 1)
    assert (restored.code, restored.json["clean"], restored.json["contents"]) == (0, True, 1)
    assert node.get_audit_log(1)[0].action == "backup.make"
    with MeteorDatabase(home / "new.db", home / "new") as copy:
        assert record.file_id is not None
        assert b"".join(copy.open_content(record.file_id)) == b"the recording"
        assert copy.get_audit_log(1)[0].action == "backup.restore"


def test_backup_that_lacks_something_ends_with_1(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    path = add_file(node, 1, b"lost").get_path()
    assert path is not None
    path.unlink()

    done = meteorpi("backup", home / "backups")

    assert done.code == 1
    assert f"{path.name} (missing)" in done.out
    assert node.get_audit_log(1)[0].action == "backup.lacking"
    assert node.get_last_backup_time() is None
    assert meteorpi("restore", home / "backups", "--list", "--json").json["lacking"] == 1


def test_age_of_the_last_backup_can_be_watched(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    metric = "meteorpi_last_backup_time_seconds "

    def metrics() -> list[str]:
        meteor_app = MeteorApp(db=node)
        node_api.add_routes(meteor_app)
        lines = meteor_app.app.test_client().get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith(metric)]

    assert metrics() == []
    begun = now()
    assert meteorpi("backup", home / "backups").code == 0

    time = node.get_last_backup_time()
    assert time is not None
    assert timedelta(0) <= time - begun + timedelta(milliseconds=1) < timedelta(minutes=5)
    seconds = utc_datetime_to_milliseconds(time) / 1000
    assert [float(line.removeprefix(metric)) for line in metrics()] == [seconds]


def test_damaged_backup_ends_with_1_and_says_so(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    add_file(node, 1, b"first")
    meteorpi("backup", home / "backups")
    spoil(home / "backups")
    target = ("--db-path", "new.db", "--file-store", "new", "restore", home / "backups")

    checked, refused = meteorpi("restore", home / "backups", "--check"), meteorpi(*target)
    partial = meteorpi(*target, "--partial", "--json")

    assert (checked.code, refused.code) == (1, 1)
    assert "is damaged" in refused.err
    assert "--partial" in refused.err
    assert (partial.code, partial.json["clean"], len(partial.json["lost"])) == (1, False, 1)


def test_list_shows_a_backup_that_cannot_be_read(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    meteorpi("backup", home / "backups")
    next((home / "backups").rglob("manifest.json")).write_text("{}")

    done = meteorpi("restore", home / "backups", "--list")

    assert done.code == 1
    assert "manifest.json" in done.out


def test_restore_says_what_has_to_be_done_by_hand(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meteorpi("exports", "add", "file", "http://hub/import", "u", "--password-file", "-", given="x\n")
    meteorpi("backup", home / "backups")
    monkeypatch.setenv("METEORPI_INSTALLATION_ID", "anothernode1")

    done = meteorpi("--db-path", "new.db", "--file-store", "new", "restore", home / "backups")

    assert done.code == 0
    assert "exports are off" in done.err
    assert f"this node was {OWN_CAMERA}" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("restore", "nowhere"), 5, "no backups"),
        (("restore", "nowhere", "--list"), 5, "no backups"),
        (("restore", "backups", "--snapshot", "1999"), 5, "no backup 1999"),
        (("restore", "backups"), 1, "not empty"),
        (("backup", "nowhere/at/all"), 3, "nowhere"),
        (("backup", "files/backups"), 2, "inside the file store"),
        (("backup", "backups", "--keep", "0"), 2, "--keep"),
        (("copy-db", "node.db"), 1, "not empty"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_done_is_said(
    meteorpi: Meteorpi,
    node: MeteorDatabase,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    add_file(node, 1)
    meteorpi("backup", "backups")

    done = meteorpi(*arguments)

    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert node.verify(deep=True).is_clean


@pytest.mark.contract("issue-3.5/copy-db")
def test_records_are_copied_to_another_database(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    add_file(node, 1, b"the recording")

    done = meteorpi("copy-db", home / "copy.db", "--json")

    assert done.code == 0
    assert done.json["file_record"] == 1
    assert meteorpi("--db-path", home / "copy.db", "verify", "--deep").code == 0


@pytest.mark.contract("issue-3.5/copy-db")
@pytest.mark.engines("firebird", "postgresql")
def test_records_are_copied_to_a_server_with_a_password_of_its_own(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path, bare_database: str
) -> None:
    add_file(node, 1, b"the recording")
    (home / "password").write_text("meteorpi\n")

    done = meteorpi(
        "copy-db", bare_database, "--target-user", "meteorpi", "--target-password-file", home / "password"
    )

    assert done.code == 0, done.err
    assert "METEORPI_DB_PATH" in done.out
