"""What CRC-32 costs beside MD5 when content is stored, so that archives need not read it again.

Run by hand: ``python benches/bench_archive_crc.py``; one JSON line per case. Content in memory, in blocks as
the store takes them; rounds alternate, and the median of their ratios counts.

Aims (P9 of the archive contract): ``more_percent`` at most 25 with the standard library, 6 with the
accelerator.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
import zlib
from collections.abc import Callable, Sequence
from statistics import median

from meteorpi_db.filestore.crc import find_crc32
from meteorpi_db.filestore.hashing import BLOCK_BYTES

Crc = Callable[[bytes, int], int]

BLOCKS = 64
ROUNDS = 15


def seconds_of(blocks: Sequence[bytes], crc32: Crc | None) -> float:
    """Processor time for the MD5 of `blocks`, and for their CRC-32 where one is given."""
    start = time.process_time()
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    for block in blocks:
        md5.update(block)
        if crc32 is not None:
            crc = crc32(block, crc)
    md5.digest()
    return time.process_time() - start


def main() -> None:
    """Run every case and print what came of it."""
    blocks = [random.Random(number).randbytes(BLOCK_BYTES) for number in range(BLOCKS)]
    cases: dict[str, Crc] = {"zlib": zlib.crc32}
    if find_crc32() is not zlib.crc32:
        cases["isal"] = find_crc32()
    plain: list[float] = []
    more: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        alone = seconds_of(blocks, None)
        plain.append(alone)
        for name, crc32 in cases.items():
            more[name].append(seconds_of(blocks, crc32) / alone - 1)
    for name, ratios in more.items():
        row = {
            "case": "crc32-beside-md5",
            "by": name,
            "mb": round(BLOCKS * BLOCK_BYTES / 1e6),
            "md5_seconds": round(median(plain), 3),
            "more_percent": round(100 * median(ratios), 1),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
