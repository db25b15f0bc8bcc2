"""How fast a folder is taken in, against the plainest durable write of the same machine.

Run by hand: ``python benches/bench_ingest.py [--directory DIR] [--db-path DB]``; one JSON line per case.
The yardstick writes, flushes and renames files of the same bytes one after the other and does nothing else:
it reads nothing, computes no digest and keeps no record. Rounds of yardstick and ingest alternate, so that
a busy machine slows both alike; every round ingests other bytes into the same growing database.

Aims (``ratio``): at least 0.6 at 3.7 MB, the size of an RMS capture, and 0.3 at 100 KB. The case
``again`` takes the same files in a second time, which must find them all.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from meteorpi_db import MeteorDatabase
from meteorpi_db.ingest import IngestOptions, StatusFacts, ingest
from meteorpi_model import Location

SEED = 20160107
BLOCK = 2880  # bytes; FITS files are made of such
ROUNDS = 7
CASES = ((100_000, 300), (3_700_000, 16))
AIMS = {100_000: 0.3, 3_700_000: 0.6}
OPTIONS = IngestOptions(camera_id="bench", facts=StatusFacts(location=Location(52.2, 0.1)))


def make_source(directory: Path, size: int, count: int, lots: random.Random) -> None:
    """Files as a camera leaves them: FITS captures, so that the damage test has something to do."""
    data_bytes = size // BLOCK * BLOCK - BLOCK
    values = {"SIMPLE": "T", "BITPIX": "8", "NAXIS": "1", "NAXIS1": str(data_bytes)}
    cards = [f"{name:<8}= {value:>20}".ljust(80) for name, value in values.items()]
    header = "".join([*cards, "END"]).ljust(BLOCK)
    start = datetime(2024, 8, 12, 20) + timedelta(seconds=lots.randrange(10**8))
    for number in range(count):
        name = f"{start + timedelta(seconds=number):%Y%m%d_%H%M%S}_000.fits"
        (directory / name).write_bytes(header.encode() + lots.randbytes(data_bytes))


def raw_rate(source: Path, target: Path) -> float:
    """Files per second of writing, flushing and renaming."""
    contents = [path.read_bytes() for path in source.iterdir()]
    begun = time.perf_counter()
    for number, content in enumerate(contents):
        temporary = target / f".{number}"
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target / str(number))
    rate = len(contents) / (time.perf_counter() - begun)
    for path in target.iterdir():
        path.unlink()
    return rate


def ingest_rate(db: MeteorDatabase, source: Path, *, expect_new: bool) -> float:
    """Files per second of an ingest."""
    begun = time.perf_counter()
    report = ingest(db, source, OPTIONS)
    seconds = time.perf_counter() - begun
    count = len(list(source.iterdir()))
    assert (report.files if expect_new else report.files_present) == count, report
    return count / seconds


def run_case(db: MeteorDatabase, directory: Path, size: int, count: int) -> dict[str, object]:
    """Alternate the yardstick and the ingest."""
    lots = random.Random(SEED + size)
    rates: dict[str, list[float]] = {"raw": [], "ingest": [], "again": [], "ratio": []}
    target = directory / "raw"
    target.mkdir(exist_ok=True)
    for _ in range(ROUNDS):
        source = directory / "source"
        source.mkdir()
        make_source(source, size, count, lots)
        os.sync()  # the sources are old files, not writes that compete
        raw = raw_rate(source, target)
        taken = ingest_rate(db, source, expect_new=True)
        rates["raw"].append(raw)
        rates["ingest"].append(taken)
        rates["ratio"].append(taken / raw)
        rates["again"].append(ingest_rate(db, source, expect_new=False))
        shutil.rmtree(source)
    return {
        "case": "ingest",
        "size_bytes": size,
        "files_per_round": count,
        "raw_files_per_second": round(median(rates["raw"]), 1),
        "ingest_files_per_second": round(median(rates["ingest"]), 1),
        "again_files_per_second": round(median(rates["again"]), 1),
        "ratio": round(median(rates["ratio"]), 3),
        "aim": AIMS[size],
    }


def main() -> None:
    """Print one JSON line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--directory", type=Path, help="where to work: the disk to be measured")
    parser.add_argument("--db-path", help="database; default is SQLite on the same disk")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        db_path = arguments.db_path or str(directory / "meteorpi.db")
        with MeteorDatabase(db_path, directory / "files") as db:
            for size, count in CASES:
                print(json.dumps(run_case(db, directory, size, count)), flush=True)


if __name__ == "__main__":
    main()
