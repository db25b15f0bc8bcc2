"""A process that downloads; run as ``python -m tests.archive.queue_workers DB_PATH TICKET``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import UUID

from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import QueueRules
from tests.db.workers import REPOSITORY, open_plainly, tell, wait_for_word

LONG_SECONDS = 3600.0
RULES = QueueRules(
    is_queued=True,
    slots=1,
    lease_seconds=LONG_SECONDS,
    waiter_seconds=LONG_SECONDS,
    download_seconds=LONG_SECONDS,
)


def main(db_path: str, ticket: str) -> None:
    """Take the slot, say so, and renew it whenever told to."""
    ticket_id = UUID(hex=ticket)
    with closing(open_plainly(db_path)) as transactions:
        queue = ArchiveQueue(transactions, RULES)
        queue.enter(ticket_id, "worker")
        download = queue.start(ticket_id, "worker")
        assert isinstance(download, UUID)
        tell("started")
        while wait_for_word():
            tell(str(len(queue.renew([download]))))


@contextmanager
def queue_worker(db_path: str, ticket_id: UUID) -> Iterator[subprocess.Popen[str]]:
    """Run it; killed at the end if it has not ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.archive.queue_workers", db_path, ticket_id.hex],
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
