"""Uploads of several requests: what came stays, one goes on at a time, and the end is that of any upload."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import gathering, reservations, uploads
from meteorpi_db.blocks.changes import Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.gathering import Checksum
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.resuming import Piece, Progress, ResumableUploads
from meteorpi_db.blocks.upload_locks import HeldLock, Patience, UploadLocks
from meteorpi_db.blocks.uploads import Plan, UploadRow
from meteorpi_db.filestore import Digests, FileStore, StoredContent
from meteorpi_db.filestore.local_parts import LocalPartialContent
from meteorpi_db.sweeping import ORPHAN_GRACE
from meteorpi_model import now, utc_datetime_to_milliseconds
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
        self.sign_seconds = 1.0
        self.meanwhile: Callable[[], object] = lambda: None

    def pause(self, seconds: float) -> None:
        self.time += seconds
        self.meanwhile()

    def patience(self) -> Patience:
        return Patience(pause=self.pause, monotonic=lambda: self.time, sign_seconds=self.sign_seconds)


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
        time = utc_datetime_to_milliseconds(self.clock())
        with self.db.transactions.reading() as connection:
            return reservations.reserved_of(connection, ACCOUNT, time)

    def held(self, upload_id: str) -> AbstractContextManager[tuple[UploadRow, HeldLock | None]]:
        """Be at work on an upload, as another process, and give no sign of life."""
        patience = self.waiting.patience()
        return UploadLocks(self.db.transactions, self.clock, 3600_000, patience).held(upload_id)

    def parts_of(self, upload_id: str) -> int:
        """Bytes that the store has of an upload."""
        with self.db.transactions.reading() as connection:
            row = uploads.find(connection, upload_id)
        assert row is not None
        return self.store.parts(row.content_id).offset


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

    assert world.send(upload_id, 0).offset == 0
    with pytest.raises(IncompleteBodyError):
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


@pytest.mark.contract("K-302", "K-213", "K-307")
def test_room_is_kept_for_all_of_it_from_the_beginning(world: World) -> None:
    upload_id = world.begin(600_000)

    assert (world.reserved(), world.blocks.counted()) == (600_000, (0, 0))
    with pytest.raises(QuotaReachedError):
        world.begin(600_000, "b")
    world.uploads().discard(upload_id, TERMS)
    assert world.reserved() == 0
    world.begin(600_000, "b")


@pytest.mark.contract("K-302")
def test_what_can_be_refused_is_refused_at_the_beginning(world: World) -> None:
    world.blocks.store("there", b"old")

    with pytest.raises(PreconditionFailedError):
        world.begin(10, "there", if_none_match="*")
    with pytest.raises(TooLargeError):
        world.begin((2 << 30) + 1)
    with pytest.raises(QuotaReachedError):
        world.begin(1_000_001)
    assert world.reserved() == 0


@pytest.mark.contract("K-302")
def test_an_upload_without_bytes_is_an_object_at_once(world: World) -> None:
    upload_id = world.begin(0)

    assert world.blocks.find("a") == digest(b"")
    assert world.offset(upload_id) == 0


@pytest.mark.contract("K-303", "K-213")
def test_the_length_may_follow_and_room_is_reserved_as_bytes_come(world: World) -> None:
    upload_id = world.begin(None)

    assert world.send(upload_id, 0, CONTENT[:1000]).offset == 1000
    assert world.reserved() == 1000
    with pytest.raises(InvalidDocumentError):
        world.send(upload_id, 1000, length=999)
    assert world.send(upload_id, 1000, length=len(CONTENT)).stored is None
    assert world.reserved() == len(CONTENT)
    with pytest.raises(InvalidDocumentError):
        world.send(upload_id, 1000, length=len(CONTENT) + 1)
    assert world.send(upload_id, 1000, CONTENT[1000:]).stored is not None
    assert world.reserved() == 0


@pytest.mark.contract("K-303", "K-213")
def test_an_upload_of_unknown_length_cannot_exceed_the_quota(world: World) -> None:
    upload_id = world.begin(None)
    world.send(upload_id, 0, bytes(900_000))

    with pytest.raises(QuotaReachedError):
        world.send(upload_id, 900_000, bytes(200_000))

    assert (world.offset(upload_id), world.reserved()) == (900_000, 900_000)


@pytest.mark.contract("K-303")
def test_more_than_was_announced_is_not_taken(world: World) -> None:
    upload_id = world.begin(10)

    with pytest.raises(TooLargeError):
        world.send(upload_id, 0, b"12345678901")
    with pytest.raises(TooLargeError):  # said before it comes
        world.send(upload_id, 0, b"1234567890", size=11)

    assert world.send(upload_id, 0, b"1234567890", size=10).stored is not None


@pytest.mark.contract("K-303")
@pytest.mark.parametrize("algorithm", gathering.ALGORITHMS)
@pytest.mark.parametrize("most", [gathering.GROUP_BYTES, 1000])
def test_bytes_count_once_they_have_their_checksum(
    world: World, algorithm: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering.proved, "__defaults__", (most,))
    upload_id = world.begin()
    pieces = [CONTENT[start : start + 700] for start in range(0, len(CONTENT), 700)]
    right = Checksum(algorithm=algorithm, digest=hashlib.new(algorithm, CONTENT).digest())
    wrong = Checksum(algorithm=algorithm, digest=hashlib.new(algorithm, b"other").digest())

    with pytest.raises(ChecksumMismatchError):
        world.send(upload_id, 0, *pieces, checksum=wrong)
    piece = Piece(offset=0, chunks=cut_off(*pieces[:10]), checksum=right)
    with pytest.raises(IncompleteBodyError):
        world.uploads().receive(upload_id, piece, TERMS)
    assert (world.offset(upload_id), stored_ids(world.db)) == (0, set())
    assert world.send(upload_id, 0, *pieces, checksum=right).stored is not None
    assert len(stored_ids(world.db)) == 1


@pytest.mark.contract("K-306")
@pytest.mark.parametrize("reason", ["condition", "quota", "digest"])
def test_what_cannot_be_the_object_in_the_end_is_discarded(world: World, reason: str) -> None:
    expected: type[Exception] = PreconditionFailedError
    said: dict[str, Any] = {}
    if reason == "condition":
        said["if_none_match"] = "*"
    elif reason == "digest":
        said["sha256"], expected = digest(b"other"), DigestMismatchError
    upload_id = world.begin(**said)
    world.send(upload_id, 0, CONTENT[:-1])
    if reason == "condition":
        world.blocks.store("a", b"somebody was faster")
    terms = TERMS
    if reason == "quota":
        terms, expected = Terms(account_id=ACCOUNT, quota=10), QuotaReachedError
    before = stored_ids(world.db)

    piece = Piece(offset=len(CONTENT) - 1, chunks=[CONTENT[-1:]])
    with pytest.raises(expected):
        world.uploads().receive(upload_id, piece, terms)

    with pytest.raises(NotFoundError):
        world.offset(upload_id)
    assert (stored_ids(world.db), world.reserved()) == (before, 0)
    assert recount(world.db.transactions) == []


@pytest.mark.contract("K-306", "K-127")
def test_the_same_bytes_again_leave_no_content(world: World) -> None:
    world.blocks.store("a", CONTENT)
    before = stored_ids(world.db)

    done = world.send(world.begin(), 0, CONTENT)

    assert done.stored is not None
    assert not done.stored.is_content_used
    assert (stored_ids(world.db), world.blocks.counted()) == (before, (len(CONTENT), 1))


@pytest.mark.contract("K-305/after-kill", "K-306", "J-04/killed")
@pytest.mark.parametrize("is_complete_in_store", [False, True])
def test_an_upload_that_was_complete_when_its_process_died_is_finished_by_asking(
    world: World, is_complete_in_store: bool
) -> None:
    """Else a client that asks how far it came would take it for done."""
    upload_id = world.begin()
    with world.held(upload_id):  # the lock of the dead is left behind
        row = UploadLocks(world.db.transactions, world.clock, 0, Patience(silent_seconds=0)).find(upload_id)
        parts = world.store.parts(row.content_id)
        parts.append(0, [CONTENT])
        if is_complete_in_store:
            parts.finish(len(CONTENT))

        assert world.offset(upload_id) == len(CONTENT)

    assert world.blocks.find("a") == digest(CONTENT)
    assert world.blocks.counted() == (len(CONTENT), 1)


@pytest.mark.contract("K-305")
@EVERY_ENGINE
def test_who_is_silent_loses_the_lock_within_five_seconds(world: World) -> None:
    upload_id = world.begin()
    with world.held(upload_id):
        assert world.send(upload_id, 0, CONTENT[:10]).offset == 10
        assert 0 < world.waiting.time <= 5
        world.waiting.time = 0
        assert world.send(upload_id, 10, CONTENT[10:]).stored is not None
        assert world.waiting.time == 0  # nobody has it any more


@pytest.mark.contract("K-305")
def test_who_is_alive_keeps_the_lock(world: World) -> None:
    upload_id = world.begin()
    refused: list[object] = []

    def another() -> None:
        with pytest.raises(LockedError) as error:
            world.send(upload_id, 0, b"another")
        refused.append(error.value.context["retry_after_seconds"])

    def chunks(lock: HeldLock) -> Iterator[bytes]:
        yield CONTENT[:10]
        world.waiting.meanwhile = lock.keep  # bytes come while the other one waits
        another()

    with world.held(upload_id) as (_, lock):
        assert lock is not None
        assert list(lock.kept(chunks(lock))) == [CONTENT[:10]]

    assert refused == [5]
    assert world.offset(upload_id) == 0


@pytest.mark.contract("K-305")
def test_who_waits_for_the_store_is_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes the store to finish a large content."""
    upload_id = world.begin()
    world.waiting.sign_seconds = 0.01
    signs = threading.Event()
    finish, keep_lock = LocalPartialContent.finish, uploads.keep_lock

    def slow(part: LocalPartialContent, size: int, digests: Digests | None = None) -> StoredContent:
        world.waiting.time += 100
        assert signs.wait(60)
        return finish(part, size, digests)

    def noted(*arguments: Any) -> bool:
        signs.set()
        return keep_lock(*arguments)

    monkeypatch.setattr(LocalPartialContent, "finish", slow)
    monkeypatch.setattr(uploads, "keep_lock", noted)

    assert world.send(upload_id, 0, CONTENT).stored is not None


@pytest.mark.contract("K-305")
def test_who_lost_the_lock_adds_nothing(world: World) -> None:
    upload_id = world.begin()

    def chunks() -> Iterator[bytes]:
        yield CONTENT[:10]
        world.waiting.time += 2  # no byte comes, and another request takes over
        assert world.send(upload_id, 0, CONTENT[:500]).offset == 500
        yield CONTENT[10:20]

    with pytest.raises(LockedError):
        world.uploads().receive(upload_id, Piece(offset=0, chunks=chunks()), TERMS)
    assert world.offset(upload_id) == 500


@pytest.mark.contract("K-305")
def test_who_lost_the_lock_removes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = world.begin(sha256=digest(CONTENT))
    world.send(upload_id, 0, CONTENT[:-1])
    finish = LocalPartialContent.finish

    def fall_asleep(parts: LocalPartialContent, size: int, digests: Digests | None = None) -> StoredContent:
        """The bytes prove wrong; until that is acted on another process begins anew, and ends."""
        monkeypatch.setattr(LocalPartialContent, "finish", finish)
        with pytest.raises(DigestMismatchError):
            finish(parts, size, digests)
        world.send(upload_id, 0, CONTENT)
        raise DigestMismatchError("the bytes are wrong")

    monkeypatch.setattr(LocalPartialContent, "finish", fall_asleep)
    with pytest.raises(LockedError):
        world.send(upload_id, len(CONTENT) - 1, b"?")

    assert world.blocks.find("a") == digest(CONTENT)
    assert len(stored_ids(world.db)) == 1
    assert world.offset(upload_id) == len(CONTENT)


@pytest.mark.contract("K-405")
def test_the_end_of_an_upload_waits_for_its_turn_before_it_holds_anything(world: World) -> None:
    """Whoever removes the prefix holds its account, and wants the row of the upload."""
    upload_id, said = world.begin(), []
    world.send(upload_id, 0, CONTENT[:-1])

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE"):
            said.append((statement.split()[1], "locked_at=" in statement))

    parts_finish = LocalPartialContent.finish
    with pytest.MonkeyPatch.context() as patch:

        def listen(parts: LocalPartialContent, *args: Any) -> StoredContent:
            stored = parts_finish(parts, *args)
            event.listen(world.db.con, "before_cursor_execute", note)
            return stored

        patch.setattr(LocalPartialContent, "finish", listen)
        assert world.send(upload_id, len(CONTENT) - 1, CONTENT[-1:]).stored is not None
    event.remove(world.db.con, "before_cursor_execute", note)

    assert said.index(("block_account", False)) < said.index(("block_upload", True))


@pytest.mark.contract("K-304")
def test_what_came_is_durable_after_some_seconds(world: World) -> None:
    upload_id = world.begin()
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        for start in range(0, 30, 10):
            yield CONTENT[start : start + 10]
            world.waiting.time += gathering.GROUP_SECONDS - 1
            seen.append(world.offset(upload_id))
        raise IncompleteBodyError("the upload was cut off")

    with pytest.raises(IncompleteBodyError):
        world.uploads().receive(upload_id, Piece(offset=0, chunks=chunks()), TERMS)

    assert seen == [0, 20, 20]  # soon at first, later every five seconds
    assert world.offset(upload_id) == 30


@pytest.mark.contract("K-308")
def test_only_who_began_it_may_touch_an_upload(world: World) -> None:
    upload_id = world.begin()
    stranger = Terms(account_id=OTHER)

    for touch in (
        lambda: world.uploads().look(upload_id, stranger),
        lambda: world.uploads().receive(upload_id, Piece(offset=0, chunks=[b"1"]), stranger),
        lambda: world.uploads().discard(upload_id, stranger),
        lambda: world.uploads().look("other", TERMS),
    ):
        with pytest.raises(NotFoundError):
            touch()
    assert world.offset(upload_id) == 0


@pytest.mark.contract("K-308")
def test_an_upload_can_be_ended_and_its_bytes_go(world: World) -> None:
    begun, finished = world.begin(path="a"), world.begin(path="b")
    world.send(begun, 0, CONTENT[:500])
    world.send(finished, 0, CONTENT)

    world.uploads().discard(begun, TERMS)
    world.uploads().discard(finished, TERMS)

    for upload_id in (begun, finished):
        with pytest.raises(NotFoundError):
            world.offset(upload_id)
    assert (world.blocks.find("a"), world.blocks.find("b")) == (None, digest(CONTENT))
    assert world.db.store.sweep(0, parts_older_than_seconds=0).removed == 0


@pytest.mark.contract("K-307", "B.6/sweep")
@EVERY_ENGINE
def test_what_nobody_went_on_with_lapses_and_its_bytes_are_swept(world: World) -> None:
    upload_id = world.begin(path="a")
    world.clock.move(hours=23)
    world.send(upload_id, 0, CONTENT[:500])  # which prolongs it
    world.clock.move(hours=23)
    assert world.db.sweep_contents().uploads == 0
    assert world.offset(upload_id) == 500

    world.clock.move(hours=2)
    with pytest.raises(GoneError):
        world.send(upload_id, 500, CONTENT[500:])
    assert (world.reserved(), world.parts_of(upload_id)) == (0, 500)
    assert world.db.sweep_contents().uploads == 1

    with pytest.raises(NotFoundError):
        world.offset(upload_id)
    assert world.db.store.sweep(0, parts_older_than_seconds=0).removed == 0
    assert stored_ids(world.db) == set()


@pytest.mark.contract("K-307", "K-500/block_upload_keep_hours")
def test_uploads_that_are_kept_for_longer_keep_their_bytes(world: World) -> None:
    patient = world.uploads(keep_hours=100)
    plan = Plan(upload=Upload(prefix=PREFIX, path="a", upload_id="long"), length=len(CONTENT))
    patient.begin(plan, TERMS)
    patient.receive("long", Piece(offset=0, chunks=[CONTENT[:500]]), TERMS)

    world.clock.move(hours=99)
    report = world.db.sweep_contents()

    assert (report.uploads, report.temporary, world.offset("long")) == (0, 0, 500)


@pytest.mark.contract("K-307")
def test_a_finished_upload_can_be_asked_for_an_hour(world: World) -> None:
    upload_id = world.begin()
    world.send(upload_id, 0, CONTENT)

    world.clock.move(minutes=59)
    assert world.offset(upload_id) == len(CONTENT)
    world.clock.move(minutes=1)
    with pytest.raises(GoneError):
        world.offset(upload_id)
    world.clock.time += ORPHAN_GRACE
    assert world.db.sweep_contents().uploads == 1
    assert world.blocks.find("a") == digest(CONTENT)
    assert len(stored_ids(world.db)) == 1


@pytest.mark.contract("K-306")
def test_what_is_discarded_keeps_no_room_although_its_bytes_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = world.begin(sha256=digest(b"other"))

    def refuse(file_id: UUID) -> bool:
        raise UnavailableError("the disk is gone")

    with monkeypatch.context() as outage:
        outage.setattr(world.db.store, "delete", refuse)
        with pytest.raises(DigestMismatchError):
            world.send(upload_id, 0, CONTENT)

    assert world.reserved() == 0
    with pytest.raises(GoneError):
        world.offset(upload_id)
    assert world.db.sweep_contents().uploads == 1


@pytest.mark.contract("K-307")
def test_bytes_that_cannot_be_removed_now_are_removed_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = world.begin()
    world.send(upload_id, 0, CONTENT[:500])
    world.clock.move(hours=25)

    def refuse(file_id: UUID) -> bool:
        raise UnavailableError("the disk is gone")

    with monkeypatch.context() as outage:
        outage.setattr(world.db.store, "delete", refuse)
        assert world.db.sweep_contents().uploads == 0
    assert world.db.sweep_contents().uploads == 1
