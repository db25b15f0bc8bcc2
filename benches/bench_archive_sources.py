"""Archives of what other servers hold: latency paid once, and bytes over the loopback interface.

Run by hand: ``python benches/bench_archive_sources.py``; one JSON line per case. The source is a process of
its own that answers every request with the same bytes, after `delay` seconds.

Aims (P6 and P7 of the archive contract): ``seconds`` at most 2.5 for 200 sources of 50 ms; for the others
there is none in absolute numbers, ``ms_per_file`` and ``mb_per_second`` are to be held against other packers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from meteorpi_server.archiving import Entry, Form, Plan
from meteorpi_server.archiving.prefetch import Prefetcher, wanted_of
from meteorpi_server.archiving.remote import RemoteSource
from meteorpi_server.archiving.sending import send
from meteorpi_server.outbound import AddressPolicy, AllowedSources, Outbound, PooledTransport

CASES = ((200, 10 << 10, 0.05), (2000, 10 << 10, 0.0), (500, 1 << 20, 0.0))
ROUNDS = 3

SERVER = """
import socketserver, sys, time
size, delay = int(sys.argv[1]), float(sys.argv[2])
answer = b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nETag: "1"\\r\\n\\r\\n' % size + b"x" * size

class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            time.sleep(delay)
            self.request.sendall(answer)

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


@contextmanager
def source(size: int, delay: float) -> Iterator[str]:
    """A server of contents of `size` bytes that thinks for `delay` seconds; its address."""
    command = [sys.executable, "-c", SERVER, str(size), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.kill()


def plan_of(address: str, count: int, size: int) -> Plan:
    """`count` entries of `size` bytes each."""
    return Plan(
        tuple(
            Entry(
                name=str(number),
                kind="url",
                reference=f"{address}{number}",
                size=size,
                crc=None,
                mtime=0,
                form=Form.BLOCKS,
            )
            for number in range(count)
        )
    )


def seconds_of(address: str, plan: Plan) -> float:
    """How long the whole archive takes with connections that are not open yet."""
    policy = AddressPolicy(AllowedSources.parse([address]))
    with closing(Outbound(PooledTransport(), policy)) as outbound:
        begun = time.perf_counter()
        with Prefetcher(RemoteSource(outbound), wanted_of(plan)) as ahead:
            sent = sum(map(len, send(plan, {"url": ahead})))
        taken = time.perf_counter() - begun
    assert sent == plan.total_bytes
    return taken


def main() -> None:
    """Run every case and print what came of it."""
    for count, size, delay in CASES:
        with source(size, delay) as address:
            plan = plan_of(address, count, size)
            best = min(seconds_of(address, plan) for _ in range(ROUNDS))
        row = {
            "case": "remote",
            "count": count,
            "size_bytes": size,
            "delay_seconds": delay,
            "seconds": round(best, 3),
            "ms_per_file": round(best / count * 1000, 3),
            "mb_per_second": round(count * size / best / 1e6, 1),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
