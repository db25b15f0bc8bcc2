"""Long-running commands tell the service manager how they fare; those that hang fall silent."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import LOOPBACK, free_port
from tests.cli.processes import command
from tests.service_manager import ServiceManager, service_manager

pytestmark = pytest.mark.contract("issue-3.4/watchdog")

WATCH = ("watch", "in", "--interval", "0.5", "--settle", "0.1")
COMMANDS = {"serve": ("serve", "--port", "0"), "export": ("export",), "watch": WATCH}
# Each comes to the database within a second, and then waits for whoever has it.
BLOCKED = {"serve": ("serve", "--port", "0", "--export"), "export": ("export",), "watch": WATCH}
SILENCE_SECONDS = 3.0
"""Twice the longest pause between two beats: the exporter looks around every 1.25 seconds."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as listener:
        yield listener


@contextmanager
def service(arguments: tuple[str, ...], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a service manager starts it; killed at the end."""
    with subprocess.Popen(
        command(*arguments),
        env=os.environ | environ | {"METEORPI_MARK_INTERVAL_SECONDS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_ready_then_alive_then_stopping(manager: ServiceManager, home: Path, name: str) -> None:
    with service(COMMANDS[name], manager.environment()) as process:
        manager.wait_for("READY=1")
        assert "WATCHDOG=1" not in manager.heard[:1]
        manager.wait_for("WATCHDOG=1", times=2)
        process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")

        assert process.wait(10) == 0


@pytest.mark.usefixtures("node")
def test_port_is_open_when_the_server_says_that_it_is_ready(manager: ServiceManager) -> None:
    port = free_port()

    with service(("serve", "--port", str(port)), manager.environment()):
        manager.wait_for("READY=1")

        socket.create_connection((LOOPBACK, port), timeout=10).close()


@pytest.mark.parametrize("name", BLOCKED)
def test_command_that_hangs_falls_silent(
    manager: ServiceManager, node: MeteorDatabase, home: Path, name: str
) -> None:
    (home / "in").mkdir()

    with service(BLOCKED[name], manager.environment()):
        manager.wait_for("WATCHDOG=1")
        with closing(sqlite3.connect(home / "node.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            make_picture(home / "in" / "20150401_000100.png")
            manager.wait_for_silence(SILENCE_SECONDS)
        manager.wait_for("WATCHDOG=1")


def make_picture(path: Path) -> None:
    """A small picture."""
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (8, 6), (10, 40, 60)).save(path)
