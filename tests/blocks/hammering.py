"""A process that changes the same few objects as others do; run as ``python -m tests.blocks.hammering ...``.

It says what it won, ``won PATH PARENT CHILD`` with the SHA-256 that was replaced and the new one, ``removed``
or ``lost``, a line for each step.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final
from uuid import uuid4

from meteorpi_db.blocks.changes import Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.names import tag_of
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_db.blocks.sweeping import sweep_released
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore, LocalFileStore
from meteorpi_model import now
from meteorpi_model.errors import NotFoundError, PreconditionFailedError
from tests.blocks.making import ACCOUNT, PREFIX
from tests.db.workers import REPOSITORY, open_plainly, tell, wait_for_word

PATHS: Final = ("index", "blocks/1", "blocks/2")
TERMS: Final = Terms(account_id=ACCOUNT)
NOTHING: Final = "-"


def main(db_path: str, files: str, seed: str, steps: str) -> None:
    """Wait for a word, then do so many steps."""
    with closing(open_plainly(db_path)) as transactions:
        worker = Hammer(transactions, LocalFileStore(Path(files)), Random(int(seed)))
        tell("ready")
        wait_for_word()
        for _ in range(int(steps)):
            tell(worker.step())


class Hammer:
    """One of those who do the same to the same objects."""

    def __init__(self, transactions: Transactions, store: FileStore, chance: Random) -> None:
        self._transactions = transactions
        self._store = store
        self._chance = chance
        self._register = BlockRegister(transactions, now)

    def step(self) -> str:
        """Replace, create or remove an object that is still what was seen."""
        path, seen = self._chance.choice(PATHS), NOTHING
        try:
            seen = self._register.find(PREFIX, path)[1].sha256
        except NotFoundError:
            demands = Demands(if_none_match="*")
        else:
            demands = Demands(if_match=tag_of(seen))
        try:
            if seen != NOTHING and self._chance.random() < 0.3:
                return self._remove(path, demands)
            return self._upload(path, seen, demands)
        except PreconditionFailedError:
            return "lost"

    def _remove(self, path: str, demands: Demands) -> str:
        self._register.remove(PREFIX, path, demands, TERMS)
        sweep_released(self._transactions, self._store, now(), timedelta(0))
        return "removed"

    def _upload(self, path: str, seen: str, demands: Demands) -> str:
        content = secrets.token_bytes(16) * self._chance.randrange(1, 5000)  # never the same twice
        upload = Upload(prefix=PREFIX, path=path, demands=demands, upload_id=secrets.token_hex(32))
        content_id = uuid4()
        self._register.announce(upload, len(content), TERMS, content_id)
        try:
            facts = self._store.put(content_id, [content])
            self._register.store(upload, content_id, facts, TERMS)
        except PreconditionFailedError:
            if not self._register.give_up(upload, content_id):
                self._store.delete(content_id)
            raise
        return f"won {path} {seen} {facts.sha256}"


@contextmanager
def hammer(db_path: str, files: Path, seed: int, steps: int) -> Iterator[subprocess.Popen[str]]:
    """Run it; killed at the end if it has not ended."""
    arguments = [db_path, str(files), str(seed), str(steps)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.blocks.hammering", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
