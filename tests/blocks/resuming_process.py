"""A process at work on a resumable upload; run as ``python -m tests.blocks.resuming_process ...``.

It says ``waiting`` where it stands still until it is told to go on, or is killed, and last what became of it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import pytest

from meteorpi_db.blocks import uploads
from meteorpi_db.blocks.changes import Terms
from meteorpi_db.blocks.resuming import Piece, ResumableUploads
from meteorpi_db.filestore import open_file_store
from meteorpi_model import now
from meteorpi_model.errors import MeteorError
from tests.blocks.making import ACCOUNT
from tests.db.workers import REPOSITORY, open_plainly, tell, wait_for_word

CHUNK: Final = bytes(range(256)) * 4096
CHUNKS: Final = 10
SENT: Final = 9
"""Chunks that come before the client is silent: one more than are handed to the store at once."""

TERMS: Final = Terms(account_id=ACCOUNT)


def main(db_path: str, files: str, upload_id: str, where: str) -> None:
    """Send all of the upload, and stand still once: at a ``chunk``, or at the ``finish``."""
    with closing(open_plainly(db_path)) as transactions, pytest.MonkeyPatch.context() as patch:
        if where == "finish":
            patch.setattr(uploads, "finish", stand_still)
        chunks = silent_client() if where == "chunk" else iter([CHUNK] * CHUNKS)
        resumable = ResumableUploads(transactions, open_file_store(files), now)
        try:
            progress = resumable.receive(upload_id, Piece(offset=0, chunks=chunks), TERMS)
        except MeteorError as error:
            tell(type(error).__name__)
        else:
            tell(str(progress.offset))


def silent_client() -> Iterator[bytes]:
    """Sends most, and then nothing for a while."""
    yield from [CHUNK] * SENT
    stand_still()
    yield from [CHUNK] * (CHUNKS - SENT)


def stand_still(*_: Any) -> None:
    """Until the test says something."""
    tell("waiting")
    wait_for_word()


@contextmanager
def resuming(db_path: str, files: str, upload_id: str, where: str) -> Iterator[subprocess.Popen[str]]:
    """Run it; killed at the end if it has not ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.blocks.resuming_process", db_path, files, upload_id, where],
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
