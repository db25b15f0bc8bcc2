"""How much memory a node needs to do nothing, against a bare Flask application on the same server.

Run by hand: ``python benches/bench_memory.py``; one JSON line per case. Each case is a fresh process with its
usual threads that has answered a hundred requests and is then left alone. ``rss_mb`` is what the kernel says
is resident, in units of 2**20 bytes; ``ratio`` is against the bare application. Aim: at most 80 MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from meteorpi_db.testing.processes import LOOPBACK, free_port, wait_until

REQUESTS = 100
BARE = """
import flask, sys, waitress
app = flask.Flask(__name__)
app.add_url_rule("/health", view_func=lambda: {"status": "ok"})
waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]))
"""


@contextmanager
def running(command: list[str], port: int, settings: dict[str, str]) -> Iterator[int]:
    """A server process that answers at `port`; gives its process id."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METEORPI_")}
    process = subprocess.Popen(
        command, env=environment | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _answers(port), 30, "the server to answer")
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://{LOOPBACK}:{port}/health", timeout=1).ok
    except requests.ConnectionError:
        return False


def resident_mb(pid: int) -> float:
    """Resident memory of process `pid` in units of 2**20 bytes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def measure(command: list[str], port: int, paths: list[str], settings: dict[str, str]) -> float:
    """Resident memory of a server after it has answered `REQUESTS` requests for each of `paths`."""
    with running(command, port, settings) as pid, requests.Session() as session:
        for path in paths * REQUESTS:
            session.get(f"http://{LOOPBACK}:{port}{path}", timeout=10).raise_for_status()
        return resident_mb(pid)


def main() -> None:
    """Measure the bare application and the node, on the embedded default with every route attached."""
    port = free_port()
    bare = measure([sys.executable, "-c", BARE, str(port)], port, ["/health"], {})
    print(json.dumps({"bench": "memory", "case": "bare flask on waitress", "rss_mb": round(bare, 1)}))
    with tempfile.TemporaryDirectory(prefix="meteorpi-bench-") as directory:
        settings = {
            "METEORPI_DB_PATH": f"{directory}/node.db",
            "METEORPI_FILE_STORE": f"{directory}/files",
        }
        for case, option in (("serving node", "--no-export"), ("serving and exporting node", "--export")):
            port = free_port()
            command = [sys.executable, "-m", "meteorpi_server.cli", "serve", "--port", str(port), option]
            used = measure(command, port, ["/health", "/cameras", "/files", "/events"], settings)
            line = {"bench": "memory", "case": case, "rss_mb": round(used, 1), "ratio": round(used / bare, 2)}
            print(json.dumps(line))


if __name__ == "__main__":
    main()
