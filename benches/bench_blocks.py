"""Objects in and out of a node over loopback, against compiled servers that keep files.

Run by hand: ``python benches/bench_blocks.py``; one JSON line per case. Objects of 64 KiB and 4 MiB are
written and read by one client and by eight (``wrk``, which costs little), with a node under gunicorn and
under its own server, on SQLite and a local store. Peers: ``rclone serve restic``, which keeps blobs too,
knows neither accounts nor digests and flushes nothing; for reading also nginx with plain files. ``ratio`` is
against the peer of the same run, with ``durability=none`` on our side; ``full``, the default, is shown beside
it. Aim: at least 0.5 at 4 MiB.

After that the processor time of a request (I-04): at most 3 ms for a GET of 64 KiB, 1.5 ms for HEAD and 304.

Server and client share the processors. ``load`` is the load average when a case began.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the servers are those of the tests

from meteorpi_db.testing.object_servers import RcloneServer  # noqa: E402
from meteorpi_db.testing.processes import (  # noqa: E402
    LOOPBACK,
    PrivateServer,
    find_program,
    wait_until,
)
from tests.deployment.deployed import DeployedNode  # noqa: E402
from tests.deployment.servers import GunicornNode, StandaloneNode  # noqa: E402

SIZES = {"64 KiB": 1 << 16, "4 MiB": 4 << 20}
CLIENTS = (1, 8)
WARM_UP = 50
NODES: dict[str, type[DeployedNode]] = {"gunicorn": GunicornNode, "standalone": StandaloneNode}
BLOCK_SCRIPT = REPOSITORY / "tests" / "deployment" / "block_script.py"
PREFIX = "bench"

_OWNER = """
import os
from meteorpi_db.blocks import prefixes, tokens
from meteorpi_server.settings import Settings
with Settings.load(os.environ).open_database() as db:
    db.create_or_update_user("anna", "some password", ["user"])
    def own(connection):
        prefixes.ensure_account(connection, "local:anna", "local", 0)
        prefixes.create_prefix(connection, "local:anna", 0, "bench")
        return tokens.create(connection, "local:anna", "bench", None, 0)
    print(db.transactions.write(own))
"""

# The body is the same each time, which no server here makes use of; every object has a name of its own.
_WRITE = """
local body = string.rep("{salt}", {size} / 16)
local count = 0
request = function()
  count = count + 1
  local path = string.format("{path}", {salt_number} * 10000000 + count)
  return wrk.format("{method}", path, {{["Authorization"] = "{authorization}"}}, body)
end
"""


class Target(NamedTuple):
    """Something that keeps objects.

    Attributes:
        name: as it is printed.
        port: of the loopback interface.
        path: of an object, with the place of its number.
        method: that writes one.
        authorization: header of writes.
        pids: of the processes that serve.
    """

    name: str
    port: int
    path: str
    method: str
    authorization: str
    pids: list[int]


def wrk(target: Target, script: Path, clients: int, seconds: int, path: str = "/") -> float:
    """Answers a second; every one of them must be a good one."""
    command = [str(find_program("wrk", "wrk")), "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout=60s"]
    url = f"http://{LOOPBACK}:{target.port}{path}"
    done = subprocess.run([*command, f"-s{script}", url], check=True, capture_output=True, text=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"{target.name}: requests failed:\n{done.stdout}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None:
        raise SystemExit(f"wrk said something else:\n{done.stdout}")
    return float(found[1])


class Measurement:
    """Writes and reads at one target; every write has other names than those before."""

    def __init__(self, target: Target, directory: Path, seconds: int) -> None:
        self.target = target
        self._script = directory / "script.lua"
        self._seconds = seconds
        self._writes = time.time_ns() // 1_000_000_000 % 1_000_000

    def write_rate(self, size: int, clients: int) -> float:
        """Objects a second."""
        self._writes += 1
        self._script.write_text(
            _WRITE.format(
                salt=f"{self._writes:016d}",
                salt_number=self._writes,
                size=size,
                path=self.target.path,
                method=self.target.method,
                authorization=self.target.authorization,
            )
        )
        return wrk(self.target, self._script, clients, self._seconds)

    def read_rate(self, clients: int) -> float:
        """Objects a second, of the size that was written last."""
        self._script.write_text("")
        # What wrk was sending when its time was over may still be on its way into the store.
        wait_until(self._is_there, 60, f"appearance of {self.last_path}")
        return wrk(self.target, self._script, clients, self._seconds, self.last_path)

    def _is_there(self) -> bool:
        with closing(http.client.HTTPConnection(LOOPBACK, self.target.port, timeout=60)) as connection:
            connection.request("HEAD", self.last_path)
            return connection.getresponse().status == 200

    @property
    def last_path(self) -> str:
        """An object that was written last."""
        # wrk makes a request or two that it never sends.
        return self.target.path % (self._writes * 10_000_000 + 3)


def milliseconds(target: Target, path: str, method: str, headers: dict[str, str], count: int) -> float:
    """Processor time of the server for each of so many requests, one after the other."""
    with closing(http.client.HTTPConnection(LOOPBACK, target.port, timeout=60)) as connection:
        before = 0.0
        for number in range(-WARM_UP, count):
            if not number:
                before = processor_seconds(target.pids)
            connection.request(method, path, headers=headers)
            reply = connection.getresponse()
            reply.read()
            if reply.status not in (200, 304):
                raise SystemExit(f"{target.name}: {method} {path}: {reply.status}")
    return 1000 * (processor_seconds(target.pids) - before) / count


def processor_seconds(pids: list[int]) -> float:
    """What processes have used, in user and kernel mode."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


@contextmanager
def node(kind: str, durability: str) -> Iterator[Target]:
    """A node with an owner of a prefix."""
    with node_of(kind, durability) as (_, target):
        yield target


@contextmanager
def node_of(kind: str, durability: str, location: str | None = None) -> Iterator[tuple[DeployedNode, Target]]:
    """The same with its server, and if need be with a store elsewhere."""
    server = NODES[kind]
    script = None if server is StandaloneNode else BLOCK_SCRIPT
    quotas = {
        "block_quota_default": 1 << 50,
        "block_traffic_default": 1 << 50,
        "block_max_body_bytes": 1 << 40,
    }
    settings = {"routes": ["query", "block"], "log_level": "WARNING", "max_upload_bytes": 1 << 40, **quotas}
    made = server(settings, script=script, threads=8)
    made.settings["file_store"] = location or f"file://{made.data}/files?durability={durability}"
    with made:
        secret = made.run([sys.executable, "-c", _OWNER]).strip()
        path = f"/api/api/v0/files/{PREFIX}/blocks/%d"
        target = Target(f"{kind}, {durability}", made.port, path, "PUT", f"Token {secret}", made.processes())
        yield made, target


class ResticServer(RcloneServer):
    """``rclone serve restic`` on a directory."""

    name = "rclone-restic"

    def command(self) -> list[str]:
        """The program, without accounts."""
        where = str(self.directory / "buckets")
        command = [
            self._rclone,
            "serve",
            "restic",
            "--config",
            os.devnull,
            "--addr",
            f"{LOOPBACK}:{self.port}",
        ]
        return [*command, where]


@contextmanager
def restic() -> Iterator[Target]:
    """The compiled peer."""
    with ResticServer() as server:
        pids = [server.process.pid]
        yield Target("rclone serve restic", server.port, "/data/%064x", "POST", "", pids)


class NginxFiles(PrivateServer):
    """nginx with plain files of the sizes measured, named by them."""

    name: ClassVar[str] = "nginx"
    runs_as_root: ClassVar[bool] = True

    def prepare(self) -> None:
        """Write the files and the configuration."""
        for size in SIZES.values():
            (self.directory / str(size)).write_bytes(os.urandom(size))
        account = "user root;" if os.geteuid() == 0 else ""
        (self.directory / "nginx.conf").write_text(
            f"{account} daemon off; worker_processes 2; pid {self.directory}/pid; events {{}}\n"
            f"http {{ access_log off; sendfile on; keepalive_requests 100000000;\n"
            f"server {{ listen {LOOPBACK}:{self.port}; root {self.directory}; }} }}\n"
        )

    def command(self) -> list[str]:
        """In the foreground."""
        program = str(find_program("nginx", "nginx-light"))
        return [program, "-c", f"{self.directory}/nginx.conf", "-e", f"{self.directory}/error.log"]


def report(**values: object) -> None:
    """One JSON line."""
    shown = {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
    print(json.dumps({"bench": "blocks", **shown}), flush=True)


def measure(target: Target, peer: Target, directory: Path, seconds: int) -> None:
    """Print what a target and the peer do, one just after the other: others may be busy, too."""
    both = [Measurement(each, directory, seconds) for each in (peer, target)]
    for size_name, size in SIZES.items():
        for what in ("write", "read"):
            for clients in CLIENTS:
                load = os.getloadavg()[0]
                theirs, ours = (
                    each.write_rate(size, clients) if what == "write" else each.read_rate(clients)
                    for each in both
                )
                case = {"case": target.name, "what": what, "size": size_name, "clients": clients}
                rates = {"per_second": ours, "mb_per_second": ours * size / 1e6, "peer_per_second": theirs}
                report(**case, **rates, ratio=ours / theirs, load=load)


def measure_nginx(target: Target, directory: Path, seconds: int) -> None:
    """Print what part of the speed of plain files of nginx a target reaches."""
    measurement = Measurement(target, directory, seconds)
    with NginxFiles() as server:
        plain = Target("nginx, plain files", server.port, "", "", "", [])
        for size_name, size in SIZES.items():
            measurement.write_rate(size, 1)
            for clients in CLIENTS:
                ours = measurement.read_rate(clients)
                theirs = wrk(plain, directory / "script.lua", clients, seconds, f"/{size}")
                case = {"case": f"{target.name}, beside {plain.name}", "what": "read", "size": size_name}
                report(**case, clients=clients, per_second=ours, peer_per_second=theirs, ratio=ours / theirs)


def measure_processor(target: Target, directory: Path, count: int) -> dict[str, float]:
    """Milliseconds of the server for a request, by what is asked for."""
    measurement = Measurement(target, directory, 1)
    measurement.write_rate(SIZES["64 KiB"], 1)
    path = measurement.last_path
    return {
        "GET": milliseconds(target, path, "GET", {}, count),
        "HEAD": milliseconds(target, path, "HEAD", {}, count),
        "304": milliseconds(target, path, "GET", {"If-None-Match": "*"}, count),
    }


def main() -> None:
    """Measure the peer, the nodes, nginx, and the processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each case")
    parser.add_argument("--requests", type=int, default=1000, help="whose processor time is measured")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name, restic() as peer:
        directory = Path(name)
        for kind in NODES:
            for durability in ("none", "full"):
                with node(kind, durability) as target:
                    measure(target, peer, directory, arguments.seconds)
        with node("gunicorn", "none") as target:
            measure_nginx(target, directory, arguments.seconds)
        for kind in NODES:
            with node(kind, "none") as target:
                for what, spent in measure_processor(target, directory, arguments.requests).items():
                    report(case=target.name, what=what, size="64 KiB", processor_ms=spent)


if __name__ == "__main__":
    main()
