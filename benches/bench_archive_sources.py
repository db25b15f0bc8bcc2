"""Archives of what other servers hold: latency paid once, and bytes over the loopback interface.

Run by hand: ``python benches/bench_archive_sources.py``; one JSON line per case. The source is a process of
its own that answers every request with the same bytes, after `delay` seconds. A node behind gunicorn packs
them, over each transport, and so does FPX with its default transport; all of them share two processors with
source and caller. ``--fpx`` names the command of FPX; without it FPX is installed into an environment of its
own below a temporary directory, which needs a package index, and left out where that fails.

The numbers are medians of rounds that alternate. ``ratio`` is the time of FPX over ours, round by round, for
the download; making the ticket is told beside it: here up to 1,000 sources are asked for their lengths, in
FPX none. Aims (P6 and P7 of the archive contract): 200 sources of 50 ms within 2.5 s; 500 files of 1 MiB at
1.5 times the speed of FPX, 2,000 of 10 KiB at 5 times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the server is that of the tests

from meteorpi_db.testing.processes import LOOPBACK, free_port  # noqa: E402
from tests.archive.fpx_peer import SECONDS, Packer, fpx, fpx_command  # noqa: E402
from tests.deployment.servers import GunicornNode  # noqa: E402

CASES = ((200, 10 << 10, 0.05), (2000, 10 << 10, 0.0), (500, 1 << 20, 0.0))
TRANSPORTS = ("auto", "requests-like", "httpx-like")

SERVER = """
import socketserver, sys, time
port, size, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
head = b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nETag: "1"\\r\\n\\r\\n' % size
answer = head + b"x" * size

class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            time.sleep(delay)
            self.request.sendall(head if line.startswith(b"HEAD") else answer)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

with Server(("127.0.0.1", port), Handler) as server:
    print("up", flush=True)
    server.serve_forever()
"""

SCRIPT = """
import os
from meteorpi_server import MeteorApp, archive_api, query_api
from meteorpi_server.settings import Settings

settings = Settings.load(os.environ)
meteor_app = MeteorApp(db=settings.open_database(), settings=settings)
query_api.add_routes(meteor_app, "/api")  # where the server is asked whether it is up
for transport in ("auto", "requests-like", "httpx-like"):
    archive_api.add_routes(meteor_app, f"/{transport}", transport=transport)
application = meteor_app.app
"""


@contextmanager
def source(port: int, size: int, delay: float) -> Iterator[str]:
    """A server of contents of `size` bytes that thinks for `delay` seconds; its address."""
    command = [sys.executable, "-c", SERVER, str(port), str(size), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield f"http://{LOOPBACK}:{port}/"
        finally:
            process.kill()


@contextmanager
def node(scratch: Path, source_port: int) -> Iterator[list[Packer]]:
    """A node with archives of the source over each transport."""
    script = scratch / "served.py"
    script.write_text(SCRIPT)
    settings = {"log_level": "WARNING", "archive_allowed_sources": [f"{LOOPBACK}:{source_port}"]}
    with GunicornNode(settings, processes=1, threads=8, script=script) as server:
        secret = json.loads(server.tool("archive", "client", "add", "bench", "--json"))["secret"]
        address = f"http://{LOOPBACK}:{server.port}"
        yield [Packer(name, f"{address}/{name}", secret) for name in TRANSPORTS]


def download(url: str) -> int:
    """The number of bytes of the archive at `url`."""
    count, buffer = 0, bytearray(1 << 18)
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        while received := answer.readinto(buffer):
            count += received
    return count


def compare(packers: list[Packer], address: str, count: int, size: int, rounds: int) -> dict[str, Any]:
    """Seconds of each round, by packer: for the ticket, and for the download."""
    urls = [f"{address}{number}" for number in range(count)]
    taken: dict[str, list[tuple[float, float]]] = {packer.name: [] for packer in packers}
    for _ in range(rounds):
        for packer in packers:
            begun = time.perf_counter()
            archive = packer.generate(urls)
            made = time.perf_counter()
            received = download(archive)
            taken[packer.name].append((made - begun, time.perf_counter() - made))
            assert received > count * size, f"{packer.name} sent {received} bytes only"
    return taken


def lines(taken: dict[str, Any], count: int, size: int, delay: float) -> Iterator[dict[str, object]]:
    """What came of one case."""
    for name, found in taken.items():
        seconds = statistics.median(download for _, download in found)
        line: dict[str, object] = {
            "bench": "archive-sources",
            "case": name,
            "count": count,
            "size_bytes": size,
            "delay_seconds": delay,
            "ticket_seconds": round(statistics.median(ticket for ticket, _ in found), 2),
            "seconds": round(seconds, 2),
            "mb_per_second": round(count * size / seconds / 1e6),
        }
        if "fpx" in taken and name != "fpx":
            pairs = zip(found, taken["fpx"], strict=True)
            line["ratio"] = round(statistics.median(theirs[1] / ours[1] for ours, theirs in pairs), 1)
        yield line


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fpx", metavar="COMMAND", help="of FPX, installed somewhere; empty for none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        scratch = Path(name)
        scratch.chmod(0o755)
        command = fpx_command(scratch) if arguments.fpx is None else arguments.fpx
        port = free_port()
        packers = stack.enter_context(node(scratch, port))
        if command:
            packers.append(stack.enter_context(fpx(command, scratch)))
        for count, size, delay in CASES:
            with source(port, size, delay) as address:
                taken = compare(packers, address, count, size, arguments.rounds)
            for line in lines(taken, count, size, delay):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
