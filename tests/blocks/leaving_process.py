"""A process that removes a prefix, one object after the other, and says which: for tests that kill it.

Run as ``python -m tests.blocks.leaving_process DB_PATH``.
"""

from __future__ import annotations

import sys
from contextlib import closing

from meteorpi_db.blocks import leaving
from tests.blocks.making import NOW, PREFIX
from tests.db.workers import open_plainly, tell


def main(db_path: str) -> None:
    """Go on until nothing is left."""
    with closing(open_plainly(db_path)) as transactions:
        is_over = False
        while not is_over:
            removed = transactions.write(lambda c: leaving.remove_some(c, PREFIX, NOW, limit=1))
            is_over = removed.is_over
            for event in removed.events:
                tell(event.path)


if __name__ == "__main__":
    main(*sys.argv[1:])
