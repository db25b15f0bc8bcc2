"""What is left for everybody else while archives are sent, and how soon a reader that left is noticed.

Run by hand: ``python benches/bench_archive_beside.py``; one JSON line per case. One process of gunicorn with
eight threads serves a node. One caller asks for a page of records again and again, first alone, then beside
as many downloads as there may be (`max_active`, six here), whose readers take a rate each, or all they can.
``ratio`` is the p95 of the latency over that of the idle node, of the same run. Aim (P10): at most 3.

Before that, readers leave: while the server waits for them to take something, and while it waits for a
source. The time is from the end of the connection until the node counts no download. Aim (P8): 2 seconds.

Node, caller and readers share the processors: readers that take all they can leave little for anybody.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the server is that of the tests

from meteorpi_db.testing.processes import LOOPBACK  # noqa: E402
from tests.deployment.servers import GunicornNode  # noqa: E402

THREADS = 8
MAX_ACTIVE = 6
PAGE = "/api/files?limit=20"
_BLOCK = 1 << 16

SCRIPT = """
import os
from meteorpi_server import MeteorApp, archive_api, node_api, query_api
from meteorpi_server.settings import Settings
settings = Settings.load(os.environ)
meteor_app = MeteorApp(db=settings.open_database(), settings=settings)
for package in (query_api, node_api, archive_api):
    package.add_routes(meteor_app, "/api")
application = meteor_app.app
"""

# Records of one camera, a megabyte each.
FILL = """
import datetime, os, random, sys
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model import CameraStatus, Location, NSString, Orientation
from meteorpi_server.settings import Settings
start, dice = datetime.datetime(2015, 4, 1, 20), random.Random(20150401)
with Settings.load(os.environ).open_database() as db:
    status = CameraStatus("lens", "sensor", None, "bench", Orientation(), Location(), "BENCH")
    db.update_camera_status(status, time=start - datetime.timedelta(hours=1), camera_id="BENCH")
    for number in range(int(sys.argv[1])):
        with open(sys.argv[2], "wb") as stream:
            stream.write(dice.randbytes(1 << 20))
        time = start + datetime.timedelta(seconds=number)
        db.register_file(sys.argv[2], "image/jpeg", NSString("bench"), time, [], camera_id="BENCH")
    print(ArchiveRegister(db.transactions, db.clock).add_client("bench"))
"""

# Takes archives again and again, as much as it can or so many bytes a second, and drops them in the kernel.
READER = """
import socket, sys, threading, time
host, port, rate, paths = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
def take(path):
    while True:
        with socket.create_connection((host, port), 60) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\\r\\nHost: node\\r\\n\\r\\n".encode())
            begun, taken, buffer = time.monotonic(), 0, bytearray(1 << 20)
            while count := connection.recv_into(buffer, 0, socket.MSG_TRUNC):
                taken += count
                if rate and (ahead := taken / rate - (time.monotonic() - begun)) > 0:
                    time.sleep(ahead)
for path in paths:
    threading.Thread(target=take, args=(path,)).start()
"""


def ask(port: int, path: str, secret: str = "", body: object = None) -> bytes:
    """The body of an answer that has to be a good one."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
    headers = {"Content-Type": "application/json"} | ({"Authorization": secret} if secret else {})
    text = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, text, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {data[:500]!r}")
    return data


def ticket(port: int, secret: str, items: list[object]) -> str:
    """The path of the archive of `items`."""
    made: dict[str, Any] = json.loads(ask(port, "/api/ticket/generate", secret, {"items": items}))
    return f"/api/ticket/{made['id']}/download"


def latencies(port: int, seconds: float) -> list[float]:
    """Milliseconds that each page takes, one after the other."""
    found = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        ask(port, PAGE)
        found.append((time.perf_counter() - begun) * 1000)
    return found


@contextlib.contextmanager
def readers(port: int, paths: list[str], rate: float) -> Iterator[None]:
    """Downloads of `paths`, by a process of their own."""
    command = [sys.executable, "-c", READER, LOOPBACK, str(port), str(rate), *paths]
    with subprocess.Popen(command) as process:
        try:
            while active(port) < len(paths):
                time.sleep(0.05)
            yield
        finally:
            process.kill()


def active(port: int) -> int:
    """Downloads that the node counts."""
    found = re.search(rb"^meteorpi_archive_downloads_active (\d+)", ask(port, "/api/metrics"), re.MULTILINE)
    return int(found[1]) if found else 0


def beside(port: int, secret: str, seconds: float) -> Iterator[dict[str, object]]:
    """The lines of P10."""
    paths = [ticket(port, secret, [{"search": {"limit": 0}}]) for _ in range(MAX_ACTIVE)]
    latencies(port, seconds / 4)
    idle = statistics.quantiles(latencies(port, seconds), n=20)[-1]
    yield {"bench": "archive-beside", "case": "idle", "p95_ms": round(idle, 1)}
    for name, rate in (("2 MB/s each", 2e6), ("10 MB/s each", 1e7), ("all they can", 0.0)):
        with readers(port, paths, rate):
            found = latencies(port, seconds)
        p95 = statistics.quantiles(found, n=20)[-1]
        line = {"bench": "archive-beside", "case": name, "downloads": MAX_ACTIVE, "requests": len(found)}
        yield line | {"p95_ms": round(p95, 1), "ratio": round(p95 / idle, 2), "aim": 3}
        while active(port):
            time.sleep(0.05)


def silent_source() -> int:
    """Port of a source that announces more than it sends."""
    listener = socket.create_server((LOOPBACK, 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(_BLOCK)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes(2_000_000))
            connection.recv(1)

    def run() -> None:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return int(listener.getsockname()[1])


def gone(port: int, path: str) -> float:
    """Seconds from the end of a reader that takes little until the node counts none."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)
        reader.connect((LOOPBACK, port))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode())
        reader.recv(1000)
        while not active(port):
            time.sleep(0.01)
        time.sleep(1)
    begun = time.perf_counter()
    while active(port):
        time.sleep(0.005)
    return time.perf_counter() - begun


def left(port: int, secret: str, source: int, rounds: int) -> Iterator[dict[str, object]]:
    """The lines of P8."""
    cases: dict[str, list[object]] = {
        "reader takes nothing": [{"search": {"limit": 0}}],
        "source is silent": [f"http://{LOOPBACK}:{source}/a"],
    }
    for name, items in cases.items():
        path = ticket(port, secret, items)
        found = [gone(port, path) for _ in range(rounds)]
        seconds = {"median_seconds": statistics.median(found), "most_seconds": max(found)}
        line = {"bench": "archive-beside", "case": f"reader gone, {name}", "aim_seconds": 2}
        yield line | {each: round(value, 3) for each, value in seconds.items()}


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="time for pages, each case")
    parser.add_argument("--rounds", type=int, default=7, help="readers that leave, each case")
    arguments = parser.parse_args()
    source = silent_source()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        script = scratch / "served.py"
        script.write_text(SCRIPT)
        settings = {
            "log_level": "WARNING",
            "archive_max_active": MAX_ACTIVE,
            "archive_allowed_sources": [f"{LOOPBACK}:{source}"],
            "archive_preflight": 0,
        }
        with GunicornNode(settings, processes=1, threads=THREADS, script=script) as node:
            node.make_directory(scratch)
            secret = node.run([sys.executable, "-c", FILL, "200", str(scratch / "new")]).strip()
            for line in left(node.port, secret, source, arguments.rounds):
                print(json.dumps(line), flush=True)
            for line in beside(node.port, secret, arguments.seconds):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
