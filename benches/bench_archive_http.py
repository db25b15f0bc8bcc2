"""Archives over HTTP: a node against other packers behind the very same server, and against one plain file.

Run by hand: ``python benches/bench_archive_http.py``; one JSON line per case. One process of gunicorn serves
the routes of a node and, beside them, the same files packed by zipstream-ng, stream-zip and ``zip -0``; the
finished archive is registered as a file record too, and fetched as that. The limit for whoever copies is that
of the bare files, read and handed on, unchecked and with nothing between them. FPX takes
what it packs from web servers only, so it takes the files from this one. One caller fetches each in turn,
round after round, and drops the bytes in the kernel; ``ratio`` is the median of our rate over theirs, round
by round. All of it shares two processors with the caller. ``--fpx`` is as for ``bench_archive_sources.py``.

Aims: at least 0.9 of the plain file and at least 2 times the best other packer in Python; and (P3) for 500
files of 1 MiB at least 1.5 times zipstream-ng and 4 times FPX, for 2,000 of 10 KiB 15 times FPX. The first
byte of 20,000 entries: within 100 ms.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import random
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the server is that of the tests

from meteorpi_db.testing.processes import LOOPBACK  # noqa: E402
from tests.archive.fpx_peer import Packer, fpx, fpx_command  # noqa: E402
from tests.deployment.servers import GunicornNode  # noqa: E402

USER, PASSWORD = "visitor", "a good password"
SETS = ((500, 1 << 20), (2000, 10 << 10))
MANY = 20_000
_BLOCK = 1 << 18

# The module that gunicorn serves: a node with archives, and the other packers on the node's own contents.
SCRIPT = """
import os, subprocess
from datetime import datetime
from pathlib import Path
from stat import S_IFREG
from stream_zip import NO_COMPRESSION_64, stream_zip
from zipstream import ZipStream
from meteorpi_server import MeteorApp, archive_api, query_api
from meteorpi_server.settings import Settings

settings = Settings.load(os.environ)
meteor_app = MeteorApp(db=settings.open_database(), settings=settings)
query_api.add_routes(meteor_app, "/api")
archive_api.add_routes(meteor_app, "/api")
root = Path(settings.file_store)
TIME = datetime(2015, 12, 13)

def names(environ):
    wanted = (root.parent / environ["QUERY_STRING"]).read_text().split()
    return wanted

def blocks(path):
    with open(path, "rb") as stream:
        while block := stream.read(1 << 18):
            yield block

def zipstream_ng(environ):
    packed = ZipStream(sized=False)
    for name in names(environ):
        packed.add_path(root / name, name)
    yield from packed

def stream_zip_(environ):
    yield from stream_zip(
        (name, TIME, S_IFREG | 0o644, NO_COMPRESSION_64, blocks(root / name)) for name in names(environ)
    )

def info_zip(environ):
    text = "\\n".join(names(environ)).encode()
    with subprocess.Popen(
        ["zip", "-0", "-q", "-@", "-"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as packer:
        packer.stdin.write(text)
        packer.stdin.close()
        while block := packer.stdout.read(1 << 18):
            yield block

def bare(environ):
    for name in names(environ):
        yield from blocks(root / name)

def one(environ):
    yield from blocks(root / environ["QUERY_STRING"])

PEERS = {"/zipstream-ng": zipstream_ng, "/stream-zip": stream_zip_, "/zip": info_zip}
PEERS |= {"/bare": bare, "/one": one}

def application(environ, start_response):
    peer = PEERS.get(environ["PATH_INFO"])
    if peer is None:
        return meteor_app.app(environ, start_response)
    start_response("200 OK", [("Content-Type", "application/zip")])
    return peer(environ)
"""

# Files of one camera, each of its own bytes, and the list of their ids beside the store.
FILL = """
import datetime, os, random, sys
from meteorpi_model import CameraStatus, Location, NSString, Orientation
from meteorpi_server.settings import Settings
count, size, label, scratch = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
start, dice = datetime.datetime(2015, 4, 1, 20), random.Random(size)
settings = Settings.load(os.environ)
with settings.open_database() as db:
    status = CameraStatus("lens", "sensor", None, "bench", Orientation(), Location(), "BENCH")
    db.update_camera_status(status, time=start - datetime.timedelta(hours=1), camera_id="BENCH")
    ids = []
    for number in range(count):
        with open(scratch, "wb") as stream:
            stream.write(dice.randbytes(size))
        time = start + datetime.timedelta(seconds=number)
        record = db.register_file(scratch, "image/jpeg", NSString("bench"), time, [], camera_id="BENCH")
        ids.append(record.file_id.hex)
with open(os.path.join(os.path.dirname(settings.file_store), label), "w") as stream:
    stream.write("\\n".join(ids))
print("\\n".join(ids))
"""

# What was fetched, as one file of the node.
KEEP = """
import datetime, os, sys
from meteorpi_model import NSString
from meteorpi_server.settings import Settings
with Settings.load(os.environ).open_database() as db:
    time = datetime.datetime(2015, 4, 2, 20)
    kind = NSString("bench")
    print(db.register_file(sys.argv[1], "application/zip", kind, time, [], camera_id="BENCH").file_id.hex)
"""


def fetch(port: int, path: str) -> tuple[float, float, int]:
    """Seconds to the first byte of the body and to its last, and the number of its bytes.

    The bytes are dropped in the kernel: what a program does with them would be the same for all, and would
    hide what the servers do.
    """
    with socket.create_connection((LOOPBACK, port), 120) as connection:
        started = time.perf_counter()
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: node\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(_BLOCK)
        head, _, body = head.partition(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0]:
            raise SystemExit(f"{path}: {head!r}")
        received = len(body) or connection.recv_into(bytearray(1))
        first = time.perf_counter() - started
        buffer = bytearray(1 << 20)
        while count := connection.recv_into(buffer, 0, socket.MSG_TRUNC):
            received += count
        return first, time.perf_counter() - started, received


def generate(port: int, ids: list[str]) -> str:
    """The path of the archive of these records, in this order."""
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    body = json.dumps({"items": [{"record": each} for each in ids], "options": {"manifest": False}})
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
    connection.request("POST", "/api/ticket/generate", body, headers)
    answer = connection.getresponse()
    document: dict[str, Any] = json.loads(answer.read())
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"no ticket: {document}")
    return f"/api/ticket/{document['id']}/download"


def compare(
    node: GunicornNode, fpx: Packer | None, count: int, size: int, rounds: int, scratch: Path
) -> list[dict[str, object]]:
    """The lines of one set of files."""
    label = f"{count}-{size}"
    ids = node.run([sys.executable, "-c", FILL, str(count), str(size), label, str(scratch / "new")]).split()
    archive = generate(node.port, ids)
    urllib.request.urlretrieve(f"http://{LOOPBACK}:{node.port}{archive}", scratch / "whole.zip")
    plain = node.run([sys.executable, "-c", KEEP, str(scratch / "whole.zip")]).strip()
    paths = {
        "archive": archive,
        "plain file": f"/api/files/content/{plain}",
        "zipstream-ng": f"/zipstream-ng?{label}",
        "stream-zip": f"/stream-zip?{label}",
        "zip -0": f"/zip?{label}",
        "files one after the other": f"/bare?{label}",
    }
    urls = [f"http://{LOOPBACK}:{node.port}/one?{each}" for each in ids]
    rates: dict[str, list[float]] = defaultdict(list)
    firsts: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        links = {name: (node.port, path) for name, path in paths.items()}
        if fpx is not None:  # whose tickets are used up by a download
            address = urlsplit(fpx.generate(urls))
            links["FPX"] = (address.port or 80, address.path)
        for name, (port, path) in links.items():
            first, seconds, received = fetch(port, path)
            if received < count * size:
                raise SystemExit(f"{name} sent {received} bytes only")
            rates[name].append(received / 1e6 / seconds)
            firsts[name].append(first * 1000)
    ours = rates["archive"]
    return [
        {
            "bench": "archive-http",
            "files": count,
            "size_bytes": size,
            "case": name,
            "mb_per_second": round(statistics.median(found)),
            "first_byte_ms": round(statistics.median(firsts[name]), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(ours, found, strict=True)), 2),
        }
        for name, found in rates.items()
    ]


def first_byte_of_many(node: GunicornNode, rounds: int, scratch: Path) -> dict[str, object]:
    """The line of the archive with many entries: the same few records again and again, under many names."""
    ids = node.run([sys.executable, "-c", FILL, "100", "100", "many", str(scratch / "new")]).split()
    chance = random.Random(20151213)
    path = generate(node.port, [chance.choice(ids) for _ in range(MANY)])
    firsts = [fetch(node.port, path)[0] * 1000 for _ in range(rounds)]
    line = {"bench": "archive-http", "files": MANY, "case": "first byte", "aim_ms": 100}
    return line | {"cold_ms": round(firsts[0], 1), "first_byte_ms": round(statistics.median(firsts), 1)}


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fpx", metavar="COMMAND", help="of FPX, installed somewhere; empty for none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        scratch = Path(name)
        scratch.chmod(0o755)
        script = scratch / "served.py"
        script.write_text(SCRIPT)
        settings = {"log_level": "WARNING", "archive_max_items": MANY}
        with GunicornNode(settings, processes=1, threads=8, script=script) as node:
            node.add_account(USER, PASSWORD, "user")
            node.make_directory(scratch)
            command = fpx_command(scratch) if arguments.fpx is None else arguments.fpx
            packer = stack.enter_context(fpx(command, scratch)) if command else None
            for count, size in SETS:
                for line in compare(node, packer, count, size, arguments.rounds, scratch):
                    print(json.dumps(line), flush=True)
            print(json.dumps(first_byte_of_many(node, arguments.rounds, scratch)), flush=True)


if __name__ == "__main__":
    main()
