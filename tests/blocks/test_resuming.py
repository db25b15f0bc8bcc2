"""Uploads of several requests: what has come stays, one goes on at a time, and the end is that of any upload."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import gathering, uploads
from meteorpi_db.blocks.changes import Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.gathering import Checksum
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.resuming import Piece, Progress, ResumableUploads
from meteorpi_db.blocks.upload_locks import Patience
from meteorpi_db.blocks.uploads import Plan
from meteorpi_db.filestore import FileStore
from meteorpi_db.sweeping import ORPHAN_GRACE
from meteorpi_model import now
from meteorpi_model.errors import (
    ChecksumMismatchError,
    ConflictError,
    DigestMismatchError,
    GoneError,
    IncompleteBodyError,
    InvalidDocumentError,
    LockedError,
    NotFoundError,
    PreconditionFailedError,
    QuotaReachedError,
    TooLargeError,
    UnavailableError,
)
from tests.blocks.making import ACCOUNT, OTHER, PREFIX, StoredBlocks, digest
from tests.conftest import ENGINE_NAMES, OpenDatabase
from tests.db.making import StandingClock, stored_ids

pytestmark = pytest.mark.engines("sqlite")
EVERY_ENGINE = pytest.mark.engines(*ENGINE_NAMES)
CONTENT = random.Random(7).randbytes(100_000)
TERMS = Terms(account_id=ACCOUNT, quota=1_000_000)


class Waiting:
    """A clock for those who wait: time passes while they do, and something may happen meanwhile."""

    def __init__(self) -> None:
        self.time = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    def pause(self, seconds: float) -> None:
        self.time += seconds
        self.meanwhile()

    def patience(self) -> Patience:
        return Patience(pause=self.pause, monotonic=lambda: self.time)


class World:
    """A node, its resumable uploads, and what becomes of them."""

    def __init__(self, db: MeteorDatabase, clock: StandingClock, store: FileStore | None = None) -> None:
        self.db = db
        self.clock = clock
        self.waiting = Waiting()
        self.store = store or db.store
        self.blocks = StoredBlocks(db)
        self.blocks.make()
        self._number = 0

    def uploads(self, **options: Any) -> ResumableUploads:
        """As another process has them."""
        patience = self.waiting.patience()
        return ResumableUploads(self.db.transactions, self.store, self.clock, patience=patience, **options)

    def begin(
        self, length: int | None = len(CONTENT), path: str = "a", *, terms: Terms = TERMS, **said: Any
    ) -> str:
        """A new upload; gives its id."""
        self._number += 1
        demands = Demands(if_match=said.pop("if_match", None), if_none_match=said.pop("if_none_match", None))
        upload = Upload(prefix=PREFIX, path=path, demands=demands, upload_id=f"upload-{self._number}")
        self.uploads().begin(Plan(upload=upload, length=length, **said), terms)
        return upload.upload_id

    def send(self, upload_id: str, offset: int, *chunks: bytes, **said: Any) -> Progress:
        return self.uploads().receive(upload_id, Piece(offset=offset, chunks=chunks, **said), TERMS)

    def offset(self, upload_id: str) -> int:
        return self.uploads().look(upload_id, TERMS).offset

    def reserved(self) -> int:
        with self.db.transactions.reading() as connection:
            return uploads.reservations.reserved_of(connection, ACCOUNT, self.blocks.now)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(now())


@pytest.fixture
def world(open_database: OpenDatabase, clock: StandingClock) -> World:
    return World(open_database(clock=clock), clock)


def cut_off(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise IncompleteBodyError("the upload was cut off")


@pytest.mark.contract("K-303", "K-305", "K-306", "K-309")
@EVERY_ENGINE
def test_an_upload_goes_on_after_a_break_and_ends_as_an_object(world: World) -> None:
    upload_id = world.begin(sha256=digest(CONTENT))

    with pytest.raises(IncompleteBodyError):
        world.send(upload_id, 0)  # nothing came
        world.uploads().receive(upload_id, Piece(offset=0, chunks=cut_off(CONTENT[:700])), TERMS)
    assert (world.offset(upload_id), world.blocks.find("a")) == (700, None)
    with pytest.raises(ConflictError):
        world.send(upload_id, 0, CONTENT)
    done = world.send(upload_id, 700, CONTENT[700:5000], CONTENT[5000:])

    assert done.stored is not None
    assert (done.offset, done.stored.is_created) == (len(CONTENT), True)
    assert world.blocks.find("a") == digest(CONTENT)
    assert world.blocks.counted() == (len(CONTENT), 1)
    assert world.offset(upload_id) == len(CONTENT)
    assert world.send(upload_id, len(CONTENT)).stored is None
    assert recount(world.db.transactions) == []
