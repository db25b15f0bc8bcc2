"""FPX as a peer of benches: installed for a run, started with its defaults, and asked for archives."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meteorpi_db.testing.processes import LOOPBACK, free_port, wait_until

SECONDS = 120.0


@dataclass(frozen=True)
class Packer:
    """A service that makes tickets of URLs."""

    name: str
    address: str
    secret: str

    def generate(self, urls: list[str]) -> str:
        """The address of the archive of `urls`."""
        found = json.loads(post(f"{self.address}/ticket/generate", {"items": urls}, self.secret))
        return f"{self.address}/ticket/{found['id']}/download"


def fpx_command(scratch: Path) -> str | None:
    """The command of FPX, installed for this run; None where it cannot be had."""
    home = scratch / "fpx"
    venv.create(home, with_pip=True)
    done = subprocess.run([home / "bin" / "pip", "install", "--quiet", "fpx"], capture_output=True)
    return str(home / "bin" / "fpx") if done.returncode == 0 else None


@contextmanager
def fpx(command: str, scratch: Path) -> Iterator[Packer]:
    """FPX with its defaults, and a database of its own."""
    port = free_port()
    own = {"FPX_DB_URL": f"sqlite:///{scratch}/fpx.db", "FPX_PORT": str(port), "FPX_HOST": LOOPBACK}
    environ = os.environ | own
    quiet: dict[str, Any] = {"env": environ, "check": True, "capture_output": True}
    subprocess.run([command, "db", "up"], **quiet)
    made = subprocess.run([command, "client", "add", "bench"], **quiet)
    log = (scratch / "fpx.log").open("wb")
    with log, subprocess.Popen([command, "server", "run"], env=environ, stdout=log, stderr=log) as process:
        try:
            address = f"http://{LOOPBACK}:{port}"
            wait_until(lambda: is_up(f"{address}/ticket/"), SECONDS, "FPX")
            yield Packer("fpx", address, made.stdout.decode().split()[-1])
        finally:
            process.terminate()


def is_up(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS):
            return True
    except OSError:
        return False


def post(url: str, document: object, secret: str) -> bytes:
    """The answer to `document`."""
    headers = {"Content-Type": "application/json", "X-FPX-Authorize": secret}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        content: bytes = answer.read()
        return content
