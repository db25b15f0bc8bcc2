"""An import of an original that dies of SIGKILL after some transactions.

Run as ``python -m tests.original.killed TRANSACTIONS DB_PATH FILE_STORE DIRECTORY``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from meteorpi_db import MeteorDatabase
from meteorpi_db.original import import_original, source


def main(transactions: str, db_path: str, store: str, directory: str) -> None:
    source.PAGE = 3  # type: ignore[misc]
    left = int(transactions)
    with MeteorDatabase(db_path, store) as db:
        write = db.transactions.write

        def counting(operation: Any) -> Any:
            nonlocal left
            result = write(operation)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        db.transactions.write = counting  # type: ignore[method-assign]
        import_original(db, Path(directory, "old.fdb"), Path(directory, "oldfiles"))


if __name__ == "__main__":
    main(*sys.argv[1:])
