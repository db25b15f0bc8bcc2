"""What a hub spends on each file that a station pushes to it: processor time, space, and time on the clock.

Run by hand: ``python benches/bench_hub.py``; one JSON line per case. A station in this process pushes files
of 100 KB over loopback to a hub under gunicorn, on SQLite and on PostgreSQL, with one process and with two.
All of it shares the processors, so ``files_per_second`` is of both ends together; ``hub_ms_per_file`` is
processor time of the hub alone, database server included, and says how many files a second one of its
processors can take. ``ratio`` is files a second against the first case.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the server is that of the tests

from benches.bench_replication import PASSWORD, USER, Tree, fill_station, make_tree  # noqa: E402
from meteorpi_db import MeteorDatabase  # noqa: E402
from meteorpi_db.exporter import MeteorExporter  # noqa: E402
from meteorpi_db.testing.processes import process_tree  # noqa: E402
from meteorpi_db.testing.servers import PASSWORD as DB_PASSWORD  # noqa: E402
from meteorpi_db.testing.servers import USER as DB_USER  # noqa: E402
from meteorpi_db.testing.servers import PostgresServer  # noqa: E402
from tests.deployment.servers import GunicornNode  # noqa: E402

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pids: list[int]) -> float:
    """Processor time that these processes, and those that they waited for, have had (proc(5), ``stat``)."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def database_bytes(node: GunicornNode, server: PostgresServer | None) -> int:
    """Space that the database of the hub takes."""
    if server is None:
        return sum(path.stat().st_size for path in node.data.glob("meteorpi.db*"))
    return sum(path.stat().st_size for path in server.directory.rglob("base/*/*") if path.is_file())


def measure(engine: str, processes: int, files: int, directory: Path) -> dict[str, object]:
    """Push `files` files to a hub of so many processes."""
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer()) if engine == "postgresql" else None
        settings = {"log_level": "WARNING"}
        if server is not None:
            server.create_database("hub")
            settings |= {"db_path": server.url("hub"), "db_user": DB_USER, "db_password": DB_PASSWORD}
        node = stack.enter_context(GunicornNode(settings, processes=processes))
        node.add_account(USER, PASSWORD, "import")
        station = MeteorDatabase(db_path=directory / "station.db", file_store_path=directory / "files")
        stack.callback(station.close)
        paths = make_tree(Tree("small", files, 100_000), directory / "tree")
        fill_station(station, paths, f"{node.url}/import")

        def spent() -> float:
            return processor_seconds(
                node.all_processes() + (list(process_tree(server.process.pid)) if server else [])
            )

        before, space, started = spent(), database_bytes(node, server), time.perf_counter()
        exporter = MeteorExporter(station)
        handled = exporter.run_round()
        seconds, used = time.perf_counter() - started, spent() - before
        exporter.close()
        if handled != files or any(state.pending for state in station.get_export_states()):
            raise SystemExit("not everything arrived")
        return {
            "files_per_second": round(files / seconds, 1),
            "hub_ms_per_file": round(1000 * used / files, 1),
            "database_bytes_per_file": round((database_bytes(node, server) - space) / files),
            "memory_mb": round(node.memory_bytes() / 2**20),
        }


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    arguments = parser.parse_args()
    first: float | None = None
    for engine in ("sqlite", "postgresql"):
        for processes in (1, 2):
            with tempfile.TemporaryDirectory(prefix="bench-") as name:
                found = measure(engine, processes, arguments.files, Path(name))
            rate = float(str(found["files_per_second"]))
            first = first or rate
            line = {"bench": "hub", "engine": engine, "processes": processes, **found}
            print(json.dumps(line | {"ratio": round(rate / first, 2)}), flush=True)


if __name__ == "__main__":
    main()
