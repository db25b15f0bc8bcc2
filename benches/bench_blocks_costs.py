"""What blocks cost beside time: memory of large objects, flushes, listings, and the way to S3.

Run by hand: ``python benches/bench_blocks_costs.py [directory]``; one JSON line per case.

* ``memory``: MiB that the processes of a node have in use at most while objects of 1 GiB come and go, one and
  eight at a time, and one of 5 GiB, beyond what they had before. Aims (I-01): 64 and 256.
* ``writers``: objects of 64 KiB a second into a local store by one thread and by eight, at each level of
  durability. Aim (I-03): with ``full``, eight write at least 1.5 times as many as one.
* ``listing``: milliseconds for 1000 objects out of a million, on SQLite. Aim (I-05): 50.
* ``s3``: what a store reaches of the same client library used directly, at a Ceph gateway. Aim (I-06): 0.75.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the node is that of the other bench, its server that of the tests

from sqlalchemy import Connection, insert  # noqa: E402

from benches.bench_blocks import NODES, Target, node_of  # noqa: E402
from meteorpi_db import MeteorDatabase  # noqa: E402
from meteorpi_db.blocks import prefixes  # noqa: E402
from meteorpi_db.blocks.listing import list_page  # noqa: E402
from meteorpi_db.blocks.tables import block_content, block_object  # noqa: E402
from meteorpi_db.connections import Transactions  # noqa: E402
from meteorpi_db.filestore import Disk, LocalFileStore  # noqa: E402
from meteorpi_db.filestore.disk import Durability  # noqa: E402
from meteorpi_db.filestore.s3 import S3FileStore  # noqa: E402
from meteorpi_db.testing.object_servers import CephServer, ObjectServer, RcloneServer  # noqa: E402
from meteorpi_db.testing.processes import LOOPBACK  # noqa: E402
from tests.deployment.deployed import DeployedNode  # noqa: E402

MEBIBYTE = 1 << 20
SEED = 20150401
LEVELS: tuple[Durability, ...] = ("none", "data", "full")
_BATCH = 20_000


def memory_growth(server: DeployedNode, target: Target, size: int, clients: int) -> int:
    """Bytes that the processes of a node had in use beyond what they have, while `clients` wrote and read.

    Args:
        size: of each object; a multiple of a MiB.
    """
    server.forget_peaks()
    before = server.memory_bytes()

    def come_and_go(number: int) -> None:
        path = target.path % number
        with closing(http.client.HTTPConnection(LOOPBACK, target.port, timeout=600)) as connection:
            headers = {"Authorization": target.authorization, "Content-Length": str(size)}
            connection.request("PUT", path, _blocks(size), headers)
            _expect(connection, 204, 0)
            connection.request("GET", path)
            _expect(connection, 200, size)
            connection.request("DELETE", path, headers={"Authorization": target.authorization})
            _expect(connection, 204, 0)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(come_and_go, range(clients)))
    return server.peak_memory_bytes() - before


def _blocks(size: int) -> Iterator[bytes]:
    block = os.urandom(MEBIBYTE)
    for _ in range(size // MEBIBYTE):
        yield block


def _expect(connection: http.client.HTTPConnection, status: int, size: int) -> None:
    reply = connection.getresponse()
    received, buffer = 0, bytearray(MEBIBYTE)
    while count := reply.readinto(buffer):
        received += count
    if (reply.status, received) != (status, size):
        raise SystemExit(f"{reply.status} with {received} bytes in place of {status} with {size}")


def writer_rate(parent: Path, durability: Durability, writers: int, count: int) -> float:
    """Objects of 64 KiB a second by several threads at once."""
    data = random.Random(SEED).randbytes(1 << 16)
    with TemporaryDirectory(dir=parent) as place, ThreadPoolExecutor(writers) as pool:
        store = LocalFileStore(Path(place), disk=Disk(durability=durability))
        store.prepare()
        started = time.perf_counter()
        list(pool.map(lambda _: store.put(uuid4(), [data]), range(count)))
        return count / (time.perf_counter() - started)


def fill(transactions: Transactions, objects: int) -> None:
    """One prefix with so many objects, which all are of one content."""
    content_id, content = uuid4(), {"size_bytes": 1, "sha256": "0" * 64}

    def begin(connection: Connection) -> None:
        prefixes.ensure_account(connection, "local:anna", "local", 0)
        prefixes.create_prefix(connection, "local:anna", 0, "bench")
        row = {"content_id": content_id, "md5": "0" * 32, "crc32": 0, "uses": objects, "stored_at": 0}
        connection.execute(insert(block_content).values(**row, **content, is_corrupt=False))

    transactions.write(begin)
    same = {"prefix": "bench", "content_id": content_id, "media_type": "text/plain", **content}
    times = {"version": 1, "created_at": 0, "modified_at": 0}
    for start in range(0, objects, _BATCH):
        numbers = range(start, min(objects, start + _BATCH))
        rows = [{"path": path_of(number), **same, **times} for number in numbers]
        transactions.write(lambda c, rows=rows: c.execute(insert(block_object), rows))  # type: ignore[misc]


def path_of(number: int) -> str:
    """Of an object of :func:`fill`."""
    return f"blocks/{number:08x}"


def listing_milliseconds(place: Path, objects: int) -> float:
    """For a page of 1000 from the middle of so many objects; the median of some."""
    chance, taken = random.Random(SEED), []
    with MeteorDatabase(place / "node.db", place / "files") as db:
        fill(db.transactions, objects)
        for _ in range(30):
            after = path_of(chance.randrange(objects - 1000))
            started = time.perf_counter()
            with db.transactions.reading() as connection:
                page = list_page(connection, "bench", after=after)
            taken.append(1000 * (time.perf_counter() - started))
            if len(page) != 1000:
                raise SystemExit(f"{len(page)} objects in place of 1000")
    return statistics.median(taken)


def s3_ratios(server: ObjectServer, size: int, rounds: int) -> dict[str, float]:
    """Throughput of a store over that of its library used directly, when writing and when reading."""
    options, data = (
        server.options(server.make_bucket(), conditional="yes"),
        random.Random(SEED).randbytes(size),
    )
    store, client, bucket = S3FileStore(options), server.client(), options.bucket
    ids, keys = [uuid4() for _ in range(rounds)], [f"plain-{number}" for number in range(rounds)]

    def write_directly(number: int) -> None:
        client.upload_fileobj(BytesIO(data), bucket, keys[number])

    def read_directly(number: int) -> None:
        for _ in client.get_object(Bucket=bucket, Key=keys[number])["Body"].iter_chunks(MEBIBYTE):
            pass

    def read(number: int) -> None:
        with store.open(ids[number]) as chunks:
            for _ in chunks:
                pass

    with closing(client):
        return {
            "write": _ratio(write_directly, lambda number: store.put(ids[number], [data]), rounds),
            "read": _ratio(read_directly, read, rounds),
        }


def _ratio(directly: Callable[[int], object], ours: Callable[[int], object], rounds: int) -> float:
    taken: dict[str, list[float]] = {"directly": [], "ours": []}
    for number in range(rounds):
        for name, act in (("directly", directly), ("ours", ours)):
            started = time.perf_counter()
            act(number)
            taken[name].append(time.perf_counter() - started)
    return statistics.median(taken["directly"]) / statistics.median(taken["ours"])


def report(**values: object) -> None:
    """One JSON line."""
    shown = {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
    print(json.dumps({"bench": "blocks-costs", **shown, "load": os.getloadavg()[0]}), flush=True)


def location_of(server: ObjectServer) -> str:
    """A store at a service of this machine."""
    options = server.options(server.make_bucket())
    place = f"s3://{options.access_key}:{options.secret_key}@{options.bucket}/node"
    return f"{place}?endpoint={server.endpoint}&region=us-east-1"


def report_memory(store: str, mebibytes: int, location: str | None = None) -> None:
    """Memory of both servers."""
    for kind in NODES:
        with node_of(kind, "none", location) as (server, target):
            memory_growth(server, target, 8 * MEBIBYTE, 8)  # what is loaded once
            for size, clients in ((mebibytes, 1), (mebibytes, 8), (5 * mebibytes, 1)):
                growth = memory_growth(server, target, size * MEBIBYTE, clients) / MEBIBYTE
                case = {"case": "memory", "store": store, "server": kind, "mib": size, "clients": clients}
                report(**case, growth_mib=growth)


def main() -> None:
    """Everything, below the directory given or the current one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path.cwd(), help="on the disk to measure")
    parser.add_argument("--mebibytes", type=int, default=1024, help="of an object for the memory")
    parser.add_argument("--objects", type=int, default=1_000_000, help="for the listing")
    arguments = parser.parse_args()
    report_memory("local", arguments.mebibytes)
    with RcloneServer() as server:
        report_memory("s3", arguments.mebibytes, location_of(server))
    for durability in LEVELS:
        for writers in (1, 8):
            rate = writer_rate(arguments.directory, durability, writers, 1200)
            report(case="writers", durability=durability, writers=writers, per_second=rate)
    with TemporaryDirectory(dir=arguments.directory) as place:
        taken = listing_milliseconds(Path(place), arguments.objects)
        report(case="listing", objects=arguments.objects, milliseconds=taken)
    with CephServer() as gateway:
        for size in (1 << 16, 4 * MEBIBYTE, 64 * MEBIBYTE):
            report(case="s3", size=size, **s3_ratios(gateway, size, 12))


if __name__ == "__main__":
    main()
