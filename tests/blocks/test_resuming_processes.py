"""Several processes at one upload: what a dead or silent one held is gone on with, and nothing is lost."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from meteorpi_db.blocks.changes import Upload
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.resuming import Piece, ResumableUploads
from meteorpi_db.blocks.upload_locks import Patience
from meteorpi_db.blocks.uploads import Plan
from meteorpi_db.filestore import open_file_store
from meteorpi_db.testing.object_servers import ACCESS_KEY, SECRET_KEY
from meteorpi_model.errors import ConflictError, LockedError, UnavailableError
from tests.blocks.making import PREFIX, StoredBlocks, digest
from tests.blocks.resuming_process import CHUNK, CHUNKS, TERMS, resuming
from tests.conftest import ENGINE_NAMES, OpenDatabase
from tests.db.workers import next_line, say

pytestmark = pytest.mark.engines("sqlite")

IMPATIENT = Patience(silent_seconds=0.3, look_seconds=0.02)
HELD = 8 * len(CHUNK)
"""What the other process handed to the store before its client fell silent."""


class Site:
    """A node that several processes serve."""

    def __init__(self, db_path: str, files: str, open_database: OpenDatabase) -> None:
        self.db_path = db_path
        self.files = files
        self.db = open_database(db_path)
        self.store = open_file_store(files)
        self.blocks = StoredBlocks(self.db)
        self.blocks.make()
        self.uploads = ResumableUploads(self.db.transactions, self.store, self.db.clock, patience=IMPATIENT)
        plan = Plan(upload=Upload(prefix=PREFIX, path="a", upload_id="one"), length=CHUNKS * len(CHUNK))
        self.uploads.begin(plan, TERMS)

    def offset(self) -> int:
        return self.uploads.look("one", TERMS).offset

    def go_on(self, offset: int) -> bool:
        """Send what is missing; whether that made the object."""
        rest = (CHUNK * CHUNKS)[offset:]
        return self.uploads.receive("one", Piece(offset=offset, chunks=[rest]), TERMS).stored is not None

    def is_right(self) -> bool:
        return self.blocks.find("a") == digest(CHUNK * CHUNKS) and recount(self.db.transactions) == []


@pytest.fixture
def files(request: pytest.FixtureRequest, file_store_path: str) -> str:
    if getattr(request, "param", "local") == "local":
        return file_store_path
    server = request.getfixturevalue("moto_server")
    bucket = server.make_bucket()
    return f"s3://{ACCESS_KEY}:{SECRET_KEY}@{bucket}?endpoint={server.endpoint}&region=us-east-1"


@pytest.fixture
def site(db_path: str, files: str, open_database: OpenDatabase) -> Site:
    return Site(db_path, files, open_database)


@pytest.mark.contract("K-304", "K-305/after-kill", "K-309", "J-04/killed")
@pytest.mark.parametrize("files", ["s3"], indirect=True)
def test_what_a_killed_process_told_is_there_and_another_goes_on(site: Site) -> None:
    with resuming(site.db_path, site.files, "one", "chunk") as process:
        assert next_line(process) == "waiting"
        assert site.offset() == HELD
        process.send_signal(signal.SIGKILL)
        process.wait(60)

        assert site.offset() == HELD
        assert site.go_on(HELD)

    assert site.is_right()


@pytest.mark.contract("K-305", "K-309")
def test_a_silent_process_loses_the_upload_and_adds_nothing(site: Site) -> None:
    with resuming(site.db_path, site.files, "one", "chunk") as process:
        assert next_line(process) == "waiting"
        assert site.go_on(HELD)
        say(process)

        # The lock is looked at once a second; the store is the second barrier.
        assert next_line(process) in ("LockedError", "ConflictError")
    assert site.is_right()


@pytest.mark.contract("K-305/after-kill", "K-306", "J-04/killed")
def test_a_process_that_is_killed_before_it_commits_leaves_it_to_who_asks(site: Site) -> None:
    with resuming(site.db_path, site.files, "one", "finish") as process:
        assert next_line(process) == "waiting"
        assert site.blocks.find("a") is None
        process.send_signal(signal.SIGKILL)
        process.wait(60)

        assert site.offset() == CHUNKS * len(CHUNK)
    assert site.is_right()


@pytest.mark.contract("K-305/after-kill", "K-413")
@pytest.mark.engines(*ENGINE_NAMES)
def test_many_at_one_upload_make_one_object(site: Site) -> None:
    """They are so impatient that they take the lock from each other while all are alive."""
    total, piece = CHUNKS * len(CHUNK), 1_500_000
    content = CHUNK * CHUNKS

    def go_on() -> int:
        made = 0
        while (offset := seen_offset()) < total:
            said = Piece(offset=offset, chunks=[content[offset : offset + piece]])
            with suppress(LockedError, ConflictError, UnavailableError):
                made += site.uploads.receive("one", said, TERMS).stored is not None
        return made

    def seen_offset() -> int:
        while True:
            with suppress(LockedError):
                return site.offset()

    with ThreadPoolExecutor(4) as pool:
        made = [future.result(120) for future in [pool.submit(go_on) for _ in range(4)]]

    assert sum(made) <= 1  # or whoever asked how far it had come
    assert site.is_right()
    assert site.blocks.counted() == (total, 1)
