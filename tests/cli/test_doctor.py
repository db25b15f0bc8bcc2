"""``meteorpi doctor``: each thing broken for real, and found with a word on how to mend it."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.dialects.diagnosis import EngineFacts
from meteorpi_db.exporting.exporter_lease import LEASE_NAME
from meteorpi_model import now
from meteorpi_server.cli.doctor import database as database_checks
from meteorpi_server.cli.doctor import machine, storage
from meteorpi_server.cli.doctor import node as node_checks
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.doctor.peers import check_peer
from tests.cli.accounts import unprivileged
from tests.cli.conftest import START, Meteorpi, add_file
from tests.cli.meddling import Meddler, having, in_front_of, without
from tests.filestore.test_full_disk import own_namespace

REMEDY_NEEDED = ("warning", "error")


@pytest.fixture(autouse=True)
def good_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What depends on the machine that the tests run on is in order, whatever it is."""
    monkeypatch.setattr(machine, "is_clock_synchronised", lambda: True)
    monkeypatch.setattr(storage, "mounts", lambda: [storage.Mount(Path("/"), "ext4", "/dev/sda1")])
    monkeypatch.setattr(storage, "LITTLE_BYTES", 1)
    monkeypatch.setattr(storage, "LITTLE_INODES", 0.0)


def by_subject(findings: list[Any]) -> dict[str, Any]:
    return {row["subject"]: row for row in findings}


def worst(findings: list[Finding] | list[Any], subject: str) -> Any:
    """The worst finding of a subject."""
    order = ["ok", "note", "warning", "error"]
    rows = [each if isinstance(each, dict) else dataclasses.asdict(each) for each in findings]
    return max((row for row in rows if row["subject"] == subject), key=lambda row: order.index(row["level"]))


@pytest.mark.contract("issue-2.7/upkeep", "issue-3.4/doctor")
def test_doctor_finds_nothing_wrong_with_a_good_node(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.create_or_update_user("ada", "a long one", ["user", "camera_admin"])

    done = meteorpi("doctor", "--json")

    assert done.code == 0, done.out
    assert {row["level"] for row in done.rows} <= {"ok", "note"}
    assert {
        "python",
        "database",
        "file store",
        "space",
        "clock",
        "secret key",
        "account",
        "time keeping",
    } <= {row["subject"] for row in done.rows}


def test_doctor_says_how_to_mend_a_missing_database(meteorpi: Meteorpi) -> None:
    done = meteorpi("doctor")

    assert done.code == 1
    assert "meteorpi init" in done.out
    assert "Traceback" not in done.err


@pytest.mark.contract("B-53", "issue-2.7/upkeep")
def test_doctor_tries_the_passwords_that_everybody_tries(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.create_or_update_user("ada", "ada", ["user", "camera_admin"])

    done = meteorpi("doctor")

    assert done.code == 1
    assert "ada has a password" in done.out


def test_doctor_sees_a_key_that_others_can_read(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("exports", "add", "file", "http://127.0.0.1:9/import", "u", "--password-file", "-", given="x\n")
    key = node.secret_box.key_file
    assert key is not None
    assert meteorpi("doctor").code == 0
    key.chmod(0o644)

    done = meteorpi("doctor")

    assert done.code == 1
    assert f"chmod 600 {key}" in done.out


def test_doctor_reports_exports_that_fail_and_data_from_the_future(
    meteorpi: Meteorpi, node: MeteorDatabase
) -> None:
    meteorpi("exports", "add", "file", "http://127.0.0.1:9/import", "u", "--password-file", "-", given="x\n")
    (stored,) = node.get_export_configurations()
    assert stored.config_id is not None
    node.record_export_failure(stored.config_id, "connection refused", 4)
    minutes = int((now() - START) / timedelta(minutes=1)) + 60
    add_file(node, minutes)

    findings = by_subject(meteorpi("doctor", "--json").rows)

    assert "connection refused" in findings["exports"]["detail"]
    assert findings["clocks"]["level"] == "warning"


def test_doctor_goes_on_after_a_check_that_failed(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    (home / "files").rename(home / "elsewhere")
    (home / "files").write_text("in the way")

    done = meteorpi("doctor")

    assert done.code == 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("time", "level"), [(datetime(1970, 1, 2), "error"), (datetime(2026, 1, 1), "ok")])
def test_clock_that_was_never_set_is_seen(time: datetime, level: str) -> None:
    (found,) = machine.check_clock(time)

    assert found.level == level


@pytest.mark.contract("issue-3.4/doctor-clock")
@pytest.mark.parametrize(("answer", "level"), [(True, "ok"), (False, "warning"), (None, "note")])
def test_clock_that_nothing_keeps_right_is_seen(answer: bool | None, level: str) -> None:
    (found,) = machine.check_synchronisation(lambda: answer)

    assert found.level == level
    assert ("timedatectl" in found.remedy) is (level == "warning")


def test_kernel_tells_about_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    assert machine.is_clock_synchronised() in (True, False, None)


@pytest.mark.contract("issue-3.4/doctor-permissions")
@pytest.mark.parametrize(
    ("mode", "text", "subject", "remedy"),
    [
        pytest.param(
            0o644, 'db_password = "hush"', "configuration", "db_password_file", id="password-readable"
        ),
        pytest.param(0o660, "", "configuration", "chmod go-w", id="writable"),
        pytest.param(0o600, "prot = 1", "settings", "line", id="unreadable"),
    ],
)
def test_configuration_that_others_could_read_or_change_is_found(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path, mode: int, text: str, subject: str, remedy: str
) -> None:
    config = home / "meteorpi.toml"
    config.write_text(text + "\n")
    config.chmod(mode)

    done = meteorpi("--config", config, "doctor", "--json")

    assert done.code == 1
    found = by_subject(done.rows)[subject]
    assert found["level"] == "error"
    assert remedy in found["remedy"]
    assert "hush" not in done.out


@pytest.mark.contract("issue-3.4/doctor-permissions")
def test_file_of_a_password_that_everybody_can_read_is_found(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    config, secret = home / "meteorpi.toml", home / "secret"
    secret.write_text("hush\n")
    config.write_text(f'db_password_file = "{secret}"\n')
    config.chmod(0o644)
    secret.chmod(0o640)
    assert meteorpi("--config", config, "doctor").code == 0

    secret.chmod(0o644)
    done = meteorpi("--config", config, "doctor")

    assert done.code == 1
    assert f"chmod 640 {secret}" in done.out


@pytest.mark.contract("issue-3.4/doctor-permissions")
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "level"),
    [(0o755, 0o666, "error"), (0o755, 0o644, "note"), (0o755, 0o640, "ok"), (0o750, 0o666, "ok")],
)
def test_database_file_that_everybody_may_reach_is_found(
    meteorpi: Meteorpi, folder_mode: int, file_mode: int, level: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="meteorpi-doctor-") as name:
        node = ["--db-path", f"{name}/node.db", "--file-store", f"{name}/files"]
        assert meteorpi(*node, "init").code == 0
        Path(name).chmod(folder_mode)
        Path(name, "node.db").chmod(file_mode)

        found = by_subject(meteorpi(*node, "doctor", "--json").rows)

    assert found["database file"]["level"] == level


@pytest.mark.contract("issue-3.4/doctor-database")
def test_damaged_database_is_found(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    node.close()
    with closing(sqlite3.connect(home / "node.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        index = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_file_mime'"  # nothing here reads it
        ((page,), (page_size,)) = (
            connection.execute(index).fetchone(),
            *connection.execute("PRAGMA page_size"),
        )
    with (home / "node.db").open("r+b") as stream:
        stream.seek((page - 1) * page_size)
        stream.write(b"\xff" * 8)

    found = worst(meteorpi("doctor", "--json").rows, "database")

    assert found["level"] == "error"
    assert "damaged" in found["detail"]
    assert "restore" in found["remedy"]


def doctor_in_namespace(home: Path, mount: str, database: str = "disk/node.db") -> list[Any]:
    """The findings about a node on a file system of its own, prepared by the shell commands `mount`."""
    command = [sys.executable, "-m", "meteorpi_server.cli"]
    disk = home / "disk"
    environ = {"METEORPI_DB_PATH": str(home / database), "METEORPI_FILE_STORE": str(disk / "files")}
    script = f'mkdir "$1" && {mount} && shift && exec "$@"'
    done = subprocess.run(
        [*own_namespace(), "sh", "-c", script, "sh", disk, *command, "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
        env=os.environ | environ,
    )
    assert done.returncode == 1, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


INIT = f"{sys.executable} -m meteorpi_server.cli init --yes >&2"


@pytest.mark.contract("issue-3.4/doctor-disk")
def test_full_memory_disk_is_found(home: Path) -> None:
    fill = 'head -c 100000000 /dev/zero > "$1/rest" 2>/dev/null; true'
    findings = doctor_in_namespace(
        home, f'mount -t tmpfs -o size=4m tmpfs "$1" && {INIT} && {{ {fill}; }}', database="node.db"
    )

    assert worst(findings, "space")["level"] == "error"
    assert "meteorpi prune" in worst(findings, "space")["remedy"]
    assert worst(findings, "file store")["level"] == "error"
    kind = worst(findings, "disk of the store")
    assert (kind["level"], "tmpfs" in kind["detail"]) == ("warning", True)


@pytest.mark.contract("issue-3.4/doctor-disk")
def test_disk_without_inodes_is_found(home: Path) -> None:
    fill = 'i=0; while [ $i -lt 60 ]; do touch "$1/$i" || break; i=$((i+1)); done 2>/dev/null; true'
    findings = doctor_in_namespace(
        home, f'mount -t tmpfs -o size=20m,nr_inodes=60 tmpfs "$1" && {INIT} && {{ {fill}; }}'
    )

    assert any("inodes left" in row["detail"] for row in findings if row["level"] == "warning")


@pytest.mark.contract("issue-3.4/doctor-disk")
def test_read_only_disk_is_found(home: Path) -> None:
    findings = doctor_in_namespace(
        home, f'mount -t tmpfs -o size=20m tmpfs "$1" && {INIT} && mount -o remount,ro "$1"'
    )

    found = [row for row in findings if row["level"] == "error"]
    assert found
    assert any("read-only" in row["detail"] or "readonly" in row["detail"] for row in found), found


@pytest.mark.contract("issue-3.4/doctor-disk")
@pytest.mark.parametrize(
    ("subject", "kind", "source", "level"),
    [
        ("disk of the store", "tmpfs", "tmpfs", "warning"),
        ("disk of the database", "nfs4", "nas:/data", "error"),
        ("disk of the store", "nfs4", "nas:/data", "note"),
        ("disk of the store", "overlay", "overlay", "note"),
        ("disk of the store", "ext4", "/dev/mmcblk0p2", "note"),
        ("disk of the store", "ext4", "/dev/sda1", "ok"),
    ],
)
def test_kinds_of_disks_are_told_apart(
    tmp_path: Path, subject: str, kind: str, source: str, level: str
) -> None:
    *_, found = storage.check_place(subject, tmp_path, storage.Mount(tmp_path, kind, source))

    assert found.level == level
    assert bool(found.remedy) is (level != "ok")


def test_disk_of_a_folder_is_the_innermost_one() -> None:
    known = [storage.Mount(Path(point), "ext4", point) for point in ("/", "/srv", "/srv/a", "/var")]

    found = storage.mount_of(Path("/srv/a/b"), known)

    assert found is not None
    assert found.point == Path("/srv/a")


@pytest.mark.contract("issue-3.4/doctor-exports")
def test_exporter_that_vanished_is_found(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("exports", "add", "file", "http://127.0.0.1:9/import", "u", "--password-file", "-", given="x\n")
    assert "exporter" not in by_subject(meteorpi("doctor", "--json").rows)
    assert node.acquire_lease(LEASE_NAME, "killed", -1)

    found = by_subject(meteorpi("doctor", "--json").rows)["exporter"]

    assert found["level"] == "warning"
    assert "systemctl start meteorpi-export" in found["remedy"]


@pytest.mark.contract("issue-3.4/doctor-exports")
def test_work_that_nobody_does_is_found(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("exports", "add", "file", "http://127.0.0.1:9/import", "u", "--password-file", "-", given="x\n")
    add_file(node, 1)
    (stored,) = node.get_export_configurations()
    node.mark_entities_to_export(stored)
    (state,) = node.get_export_states()

    assert "exporter running" in node_checks.state_finding("x", state, now()).remedy
    recent = dataclasses.replace(state, last_success_at=now())
    assert node_checks.state_finding("x", recent, now()).level == "ok"
    later = now() + timedelta(hours=2)
    assert node_checks.state_finding("x", recent, later).level == "warning"
    suspended = dataclasses.replace(state, suspended=True, failures=4, enabled=False)
    assert "suspended" in node_checks.state_finding("x", suspended, now()).detail


@pytest.mark.contract("issue-3.4/doctor-clock")
def test_clock_of_an_export_target_is_compared(server: Any) -> None:
    front = Meddler(answer=lambda head: having("Date: Thu, 01 Jan 2015 00:00:00 GMT")(without("Date")(head)))
    with in_front_of(server.port, front) as port:
        (wrong,) = check_peer(f"http://127.0.0.1:{port}/import", None)
    (right,) = check_peer(f"http://127.0.0.1:{server.port}/import", None)

    assert (wrong.level, right.level) == ("warning", "ok")
    assert "timedatectl" in wrong.remedy


@pytest.mark.contract("issue-3.4/doctor-database")
def test_engines_tell_about_themselves(db: MeteorDatabase) -> None:
    findings = list(database_checks.check_database(db))

    assert "answers, schema version" in findings[0].detail
    amiss = [each for each in findings if each.level != "ok"]
    # The private server of the tests does not wait for its disk, which is what no node should rely on.
    is_hasty = db.transactions.backend.name == "postgresql"
    assert ["fsync" in each.remedy for each in amiss] == ([True] if is_hasty else []), amiss


@pytest.mark.contract("issue-3.4/doctor-database")
def test_facts_of_engines_are_judged() -> None:
    facts = EngineFacts(
        engine="PostgreSQL",
        version="15",
        is_durable=False,
        connections_used=95,
        connections_allowed=100,
        encoding="SQL_ASCII",
        unix_seconds=1000.0,
    )

    found = [*database_checks.durability(facts), *database_checks.room(facts, 1100.0)]

    assert [each.level for each in found] == ["error", "warning", "error", "warning"]
    assert all(each.remedy for each in found)


@pytest.mark.contract("issue-3.4/doctor-permissions")
def test_account_that_may_not_write_is_told_so(meteorpi: Meteorpi) -> None:
    with tempfile.TemporaryDirectory(prefix="meteorpi-doctor-") as name:
        folder = Path(name)
        assert meteorpi("--db-path", folder / "node.db", "--file-store", folder / "files", "init").code == 0
        (folder / "node.db").chmod(0o444)
        folder.chmod(0o555)
        arguments = ["--db-path", str(folder / "node.db"), "--file-store", str(folder / "files"), "doctor"]
        done = subprocess.run(
            [sys.executable, "-m", "meteorpi_server.cli", *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=unprivileged(),
        )
        folder.chmod(0o755)

    assert done.returncode == 1, done.stderr
    found = worst([json.loads(line) for line in done.stdout.splitlines()], "database file")
    assert found["level"] == "error"
    assert "cannot be written" in found["detail"]
