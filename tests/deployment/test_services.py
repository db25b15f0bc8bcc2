"""The units of deploy/systemd: correct, closed, in agreement with the node, and at work under a real one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest

from meteorpi_db.testing.processes import wait_until
from meteorpi_server.cli import entry
from meteorpi_server.settings import Settings
from tests.archive.own_server import NAME
from tests.components import absent
from tests.deployment.machine import Machine, machine

pytestmark = pytest.mark.contract("issue-3.4/units")

UNITS = Path(__file__).resolve().parent.parent.parent / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))
LASTING = ["meteorpi-export.service", "meteorpi-serve.service", "meteorpi-watch.service"]
ARCHIVE = "meteorpi-archive.service"
MOST_EXPOSED = 2.0
"""Of 10 on the scale of ``systemd-analyze security``; below 4 it says "OK"."""
LONGEST_SILENCE_SECONDS = 10 + 60 + 120
"""For so long may a peer keep the exporter waiting, see `meteorpi_db.exporting.peer.Timeouts`."""
UNIT_SECONDS = {"s": 1, "min": 60, "h": 3600}


def settings_of(unit: str) -> list[tuple[str, str]]:
    """Every ``Name=value`` of a unit, those for all services included."""
    files = [UNITS / unit, UNITS / "meteorpi-.service.d" / "10-common.conf"]
    lines = "\n".join(path.read_text() for path in files if path.suffix != ".timer").splitlines()
    found = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in found]


def seconds_of(unit: str, name: str) -> int:
    (text,) = [value for key, value in settings_of(unit) if key == name]
    match = re.fullmatch(r"(\d+)(s|min|h)?", text)
    assert match, text
    return int(match[1]) * UNIT_SECONDS[match[2] or "s"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root directory in which the units are installed beside those of systemd."""
    if shutil.which("systemd-analyze") is None:
        absent("systemd-analyze is not installed: apt-get install systemd")
    root = tmp_path_factory.mktemp("root")
    shutil.copytree("/lib/systemd/system", root / "lib/systemd/system", symlinks=True)
    shutil.copytree(UNITS, root / "etc/systemd/system")
    program = root / "opt/meteorpi/venv/bin/meteorpi"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return root


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize("unit", SERVICES + TIMERS)
def test_systemd_finds_nothing_wrong_with_the_unit(installed: Path, unit: str) -> None:
    done = analyze("verify", "--man=no", f"--root={installed}", unit)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_service_is_hardly_exposed(installed: Path, unit: str) -> None:
    threshold = f"--threshold={round(10 * MOST_EXPOSED)}"

    done = analyze("security", "--offline=true", f"--root={installed}", threshold, unit)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_commands_and_options_exist(unit: str) -> None:
    (line,) = [value for name, value in settings_of(unit) if name == "ExecStart"]
    program, *words = line.split()
    assert program == "/opt/meteorpi/venv/bin/meteorpi"
    command: click.Command = entry.cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found

    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_variables_of_the_units_are_settings() -> None:
    known = {row.variable for row in Settings().rows()} | {"METEORPI_CONFIG"}
    known |= {f"{name}_FILE" for name in known if name.endswith("PASSWORD")}

    used = {
        name
        for path in UNITS.rglob("*")
        if path.is_file()
        for name in re.findall(r"METEORPI_[A-Z_]+", path.read_text())
    }

    assert used <= known


@pytest.mark.parametrize("unit", [*LASTING, ARCHIVE])
def test_times_of_the_unit_agree_with_those_of_the_node(unit: str) -> None:
    assert seconds_of(unit, "WatchdogSec") > LONGEST_SILENCE_SECONDS
    assert seconds_of(unit, "RestartSec") >= 5
    assert ("Restart", "always") in settings_of(unit)
    assert ("Type", "notify") in settings_of(unit)
    if unit in ("meteorpi-serve.service", ARCHIVE):
        longest = max(Settings().stop_seconds, Settings().archive_shutdown_grace)
        assert seconds_of(unit, "TimeoutStopSec") > longest + 15


# --- under a real systemd

PLACES = {
    "sqlite": "/var/lib/meteorpi/meteorpi.db",
    "firebird-embedded": "/var/lib/meteorpi/meteorpi.fdb",
}
HASTE = "[Service]\nWatchdogSec=4\nRestartSec=1\n"
PASSWORD = """\
[Service]
LoadCredential=db_password:/etc/meteorpi/db_password
Environment=METEORPI_DB_PASSWORD_FILE=%d/db_password
"""
ASK = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:12345{}', timeout=30).read().decode())"
ASK_ARCHIVE = f"""
import io, urllib.request, zipfile
with urllib.request.urlopen("http://127.0.0.1:8080/archive/{NAME}/", timeout=30) as answer:
    print(answer.status, zipfile.ZipFile(io.BytesIO(answer.read())).namelist())
"""
ADD_STATUS = ["status", "set", "BACKYARD", "--from", "2024-01-01", "--latitude", "52", "--longitude", "0"]
PICTURE = "from PIL import Image; Image.new('RGB', (9, 9)).save('/var/lib/incoming/20240401_000100.png')"


@pytest.fixture(scope="module")
def booted() -> Iterator[Machine]:
    with machine() as running:
        running.run("systemd-sysusers")
        running.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/meteorpi.conf")
        running.write("/etc/systemd/system/meteorpi-.service.d/90-haste.conf", HASTE)
        running.write(
            "/etc/meteorpi/watch", "CAPTURES=/var/lib/incoming\nOPTIONS=--camera BACKYARD --settle 0\n"
        )
        running.run("mkdir", "-m", "0755", "/var/lib/incoming")
        # As docs/how-to/run-as-services.md shows: root alone can read the password, and the services get it.
        running.write("/etc/systemd/system/meteorpi-.service.d/20-password.conf", PASSWORD)
        running.write("/etc/meteorpi/db_password", "sesame\n")
        running.run("chmod", "0600", "/etc/meteorpi/db_password")
        yield running


@pytest.fixture(params=PLACES)
def node(request: pytest.FixtureRequest, booted: Machine) -> Iterator[Machine]:
    """The machine with all services of a node running on an embedded engine."""
    booted.write("/etc/meteorpi/environment", f"METEORPI_DB_PATH={PLACES[request.param]}\n")
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "start", *LASTING)
    yield booted
    booted.run("systemctl", "stop", *LASTING)
    for unit in LASTING:
        assert booted.show(unit, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    booted.run("sh", "-c", "rm -rf /var/lib/meteorpi/* /var/lib/incoming/*")


def pid_of(node: Machine, unit: str) -> str:
    return node.show(unit, "MainPID")["MainPID"]


def as_node(node: Machine, *arguments: str) -> str:
    """Run `meteorpi` as a person does on such a machine."""
    script = 'set -a; . /etc/meteorpi/environment; cd /var/lib/meteorpi; exec "$@"'
    return node.run(
        "runuser",
        "-u",
        "meteorpi",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "/opt/meteorpi/venv/bin/meteorpi",
        *arguments,
    )


@pytest.mark.contract("issue-3.4/watchdog")
def test_services_work_in_their_sandbox_and_are_started_again_when_they_hang_or_die(node: Machine) -> None:
    as_node(node, *ADD_STATUS)
    node.python(PICTURE)
    node.run("chown", "-R", "meteorpi", "/var/lib/incoming")
    wait_until(lambda: "BACKYARD" in node.python(ASK.format("/cameras")), 30, "the answer")
    wait_until(
        lambda: 'kind="files"} 1' in node.python(ASK.format("/metrics")) or bool(held(node)),
        60,
        "the picture",
    )

    before = {unit: pid_of(node, unit) for unit in LASTING}
    for unit in LASTING:
        # It may write in its own directory alone, has no rights, and system calls are filtered.
        facts = node.run("sh", "-c", f"cat /proc/{before[unit]}/status")
        assert re.search(r"^CapBnd:\s0+$", facts, re.MULTILINE)
        assert re.search(r"^Seccomp:\s2$", facts, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s1$", facts, re.MULTILINE)
    node.run("kill", "-STOP", before["meteorpi-serve.service"])
    node.run("kill", "-STOP", before["meteorpi-watch.service"])
    node.run("kill", "-KILL", before["meteorpi-export.service"])

    for unit in LASTING:
        wait_until(partial(is_new, node, unit, before[unit]), 60, f"the restart of {unit}")
    assert "BACKYARD" in node.python(ASK.format("/cameras"))


def test_backup_and_retention_work_in_their_sandbox(node: Machine) -> None:
    for unit in ("meteorpi-backup.service", "meteorpi-prune.service"):
        node.run("systemctl", "start", unit)  # comes back when it is done

        assert node.show(unit, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    assert node.run("ls", "/var/lib/meteorpi/backup")


@pytest.mark.contract("archive-3.22", "archive-fpx/deployment")
def test_archives_without_a_node_are_sent_in_the_sandbox(booted: Machine) -> None:
    booted.write(f"/srv/photos/{NAME}/1.txt", "first picture")
    booted.write("/etc/meteorpi/archive", "METEORPI_ARCHIVE_STORAGE_PATH=/srv/photos\n")
    booted.write("/etc/meteorpi/environment", "")
    booted.run("systemctl", "start", ARCHIVE)

    assert booted.python(ASK_ARCHIVE).split() == ["200", "['1.txt']"]
    assert "archive.db" in booted.run("ls", "/var/lib/meteorpi")

    booted.run("systemctl", "stop", ARCHIVE)
    assert booted.show(ARCHIVE, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    booted.run("sh", "-c", "rm -rf /var/lib/meteorpi/*")


def held(node: Machine) -> list[object]:
    found = json.loads(node.python(ASK.format("/files/%7B%22limit%22%3A0%7D")))
    return list(found["files"])


def is_new(node: Machine, unit: str, before: str) -> bool:
    shown = node.show(unit, "MainPID", "ActiveState")
    return shown["ActiveState"] == "active" and shown["MainPID"] not in {before, "0"}
