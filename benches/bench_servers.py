"""What each web server makes of a node: pages of JSON a second, and files in MB/s against plain files.

Run by hand: ``python benches/bench_servers.py``; one JSON line per case. Real servers on loopback ports, each
configured by its sample in ``wsgi/``, one after the other: a page of 100 file records asked for by eight
callers (``wrk``), and one large file fetched by one caller, with and without leaving it to the web server.
``ratio`` of a download is against a hard link to the same file as a plain file of that very web server, in
the same run; servers that serve no plain files are compared with nginx. Aim: at least 0.9 with offload.

Where server and caller share two processors, the scheduler's choice of who runs where counts for more than
anything else; a larger file (``--megabytes 1000``) gives it the time to mend it.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the servers are those of the tests

from meteorpi_db.testing.processes import LOOPBACK, find_program  # noqa: E402
from tests.deployment.deployed import DeployedNode  # noqa: E402
from tests.deployment.servers import (  # noqa: E402
    ApacheNode,
    GunicornNode,
    LighttpdNode,
    NginxNode,
    StandaloneNode,
)

CALLERS = 8
RECORDS = 1000
PAGE = "/api/files?limit=100"
STATIC = "/static.bin"
_BLOCK = 1 << 20
_FILL = """
import datetime, os, random, sys
from meteorpi_model import CameraStatus, FileRecordSearch, Location, Meta, NSString, Orientation
from meteorpi_server.settings import Settings
records, size, static = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
start, dice = datetime.datetime(2015, 4, 1, 20), random.Random(20150401)
with Settings.load(os.environ).open_database() as db:
    status = CameraStatus("lens", "sensor", None, "bench", Orientation(), Location(), "BENCH")
    db.update_camera_status(status, time=start - datetime.timedelta(hours=1), camera_id="BENCH")
    for number in range(records + 1):
        with open(static + ".new", "wb") as stream:
            for left in range(size if number == records else 1000, 0, -1_000_000):
                stream.write(dice.randbytes(min(left, 1_000_000)))
        metas = [Meta(NSString(f"key_{key}"), dice.random()) for key in range(3)]
        time = start + datetime.timedelta(seconds=number)
        path, kind = static + ".new", NSString("bench")
        record = db.register_file(path, "image/png", kind, time, metas, camera_id="BENCH")
    with db.store.local_path(record.file_id) as path:
        os.link(path, static)
print(record.file_id.hex)
"""


class Case(NamedTuple):
    """A server, how files leave it, and whether it serves plain files as well."""

    server: type[DeployedNode]
    offload: str
    has_static: bool

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.server.name}, {self.offload}" if self.offload else self.server.name


class ApacheWithFiles(ApacheNode):
    """Apache that serves a plain file too."""

    def prepare(self) -> None:
        """Add the place of the file to the configuration."""
        super().prepare()
        path = self.directory / STATIC[1:]
        text = f"Alias {STATIC} {path}\n<Files {STATIC[1:]}>\n    Require all granted\n</Files>\n"
        with (self.directory / "apache.conf").open("a") as stream:
            stream.write(text)


CASES = (
    Case(NginxNode, "", True),  # first: the others without plain files are compared with it
    Case(NginxNode, "x-accel-redirect", True),
    Case(ApacheWithFiles, "", True),
    Case(ApacheWithFiles, "x-sendfile", True),
    Case(LighttpdNode, "", True),
    Case(LighttpdNode, "x-sendfile", True),
    Case(GunicornNode, "", False),
    Case(StandaloneNode, "", False),
)


def pages_per_second(port: int, seconds: int) -> float:
    """Pages of records that the server gives to eight callers at once."""
    program = find_program("wrk", "wrk")
    url = f"http://{LOOPBACK}:{port}{PAGE}"
    command = [str(program), "-t1", f"-c{CALLERS}", f"-d{seconds}s", "--latency", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"requests failed:\n{text}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if found is None:
        raise SystemExit(f"wrk said something else:\n{text}")
    return float(found[1])


def seconds_to_fetch(port: int, path: str, size: int) -> float:
    """Seconds from the request to the last byte of a body of `size` bytes."""
    buffer = bytearray(_BLOCK)
    started = time.perf_counter()
    with socket.create_connection((LOOPBACK, port), timeout=120) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(_BLOCK)
        start, _, rest = head.partition(b"\r\n\r\n")
        received = len(rest)
        while count := connection.recv_into(buffer):
            received += count
    seconds = time.perf_counter() - started
    if b" 200 " not in start.split(b"\r\n")[0] or received != size:
        raise SystemExit(f"{path}: {start.decode()} and {received} bytes")
    return seconds


def measure(case: Case, arguments: argparse.Namespace, others: float | None) -> Iterator[dict[str, object]]:
    """The lines of one case; `others` is the rate of a plain file elsewhere, in MB/s."""
    size = arguments.megabytes * 1_000_000
    settings = {"log_level": "WARNING"} | ({"file_offload": case.offload} if case.offload else {})
    with case.server(settings) as node:
        static = node.directory / STATIC[1:]
        file_id = node.run([sys.executable, "-c", _FILL, str(arguments.records), str(size), str(static)])
        rate = pages_per_second(node.port, arguments.seconds)
        yield {"bench": "servers", "case": case.name, "what": "page", "per_second": round(rate, 1)}
        paths = [f"/api/files/content/{file_id.strip()}", *([STATIC] if case.has_static else [])]
        times: dict[str, list[float]] = {path: [] for path in paths}
        for _ in range(arguments.rounds):
            for path, taken in times.items():
                taken.append(seconds_to_fetch(node.port, path, size))
        ours, *plain = (arguments.megabytes / statistics.median(taken) for taken in times.values())
        yardstick = plain[0] if plain else others
        line = {"bench": "servers", "case": case.name, "what": "download", "mb_per_second": round(ours)}
        yield line | ({"plain": round(yardstick), "ratio": round(ours / yardstick, 2)} if yardstick else {})


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="time for pages, each case")
    parser.add_argument("--rounds", type=int, default=9, help="downloads, each case")
    parser.add_argument("--records", type=int, default=RECORDS, help="file records of the node")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the file downloaded")
    parser.add_argument("--only", help="cases whose name has this in it")
    arguments = parser.parse_args()
    others: float | None = None
    for case in CASES:
        if arguments.only and arguments.only not in case.name:
            continue
        for line in measure(case, arguments, others):
            print(json.dumps(line), flush=True)
            others = others or line.get("plain")  # type: ignore[assignment]


if __name__ == "__main__":
    main()
