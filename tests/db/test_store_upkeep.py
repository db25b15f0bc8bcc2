"""Verification that goes round, mending from other stores, and sweeping: of files and of blocks alike."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import contents as block_contents
from meteorpi_db.filestore import ContentReader, LocalFileStore, MemoryFileStore
from meteorpi_db.filestore.pacing import Pace
from meteorpi_db.integrity import ORPHAN_GRACE, VerifyPlan
from meteorpi_db.ledgers import FILES
from meteorpi_db.testing.object_servers import ACCESS_KEY, SECRET_KEY, ObjectServer
from meteorpi_model import now
from meteorpi_model.errors import CorruptContentError, UnavailableError
from meteorpi_model.values import utc_datetime_to_milliseconds
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, add_file, add_status, stored_ids

DEEP = VerifyPlan(deep=True, repair=True)

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(now() + 2 * ORPHAN_GRACE)


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    db = open_database(clock=clock)
    add_status(db)
    return db


def file_of(db: MeteorDatabase, minute: int, content: bytes = b"") -> UUID:
    file_id = add_file(db, minute, content=content or b"content %d" % minute).file_id
    assert file_id is not None
    return file_id


def block_of(db: MeteorDatabase, content: bytes) -> UUID:
    """A content that an object of blocks names."""
    stored = db.store.put(uuid4_of(content), [content])
    time = utc_datetime_to_milliseconds(db.clock())
    db.transactions.write(lambda c: block_contents.add(c, uuid4_of(content), stored, time))
    return uuid4_of(content)


def uuid4_of(content: bytes) -> UUID:
    return UUID(bytes=content.ljust(16, b"_")[:16])


def tear(db: MeteorDatabase, content_id: UUID, content: bytes) -> None:
    path = db.file_path_for_id(content_id)
    path.chmod(0o600)
    path.write_bytes(content)


def read_ids(db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch, plan: VerifyPlan) -> list[UUID]:
    """The contents that are read, in order."""
    opened: list[UUID] = []
    open_ = db.store.open

    def noting(file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        opened.append(file_id)
        return open_(file_id, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(db.store, "open", noting)
        assert db.verify_contents(plan).is_clean
    return opened


@pytest.mark.contract("B.6/verify")
def test_what_was_not_read_for_longest_is_read_first(
    db: MeteorDatabase, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    for minute in range(4):
        ids.append(file_of(db, minute) if minute != 2 else block_of(db, b"a block"))
        clock.move(minutes=1)

    first = read_ids(db, monkeypatch, VerifyPlan(deep=True, repair=True, most=2))
    clock.move(minutes=1)
    second = read_ids(db, monkeypatch, VerifyPlan(deep=True, repair=True, since=clock()))

    assert first == ids[:2]
    assert second == [*ids[2:], *ids[:2]]
    assert read_ids(db, monkeypatch, VerifyPlan(deep=True, since=clock())) == []


def test_run_without_repair_notes_nothing(db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [file_of(db, minute) for minute in range(2)]
    tear(db, ids[1], b"another 1")

    assert db.verify_contents(VerifyPlan(deep=True)).torn == [ids[1]]

    assert db.content_facts(ids[1]).size == 9
    assert db.get_content_figures()["files"].never_verified == 2


@pytest.mark.contract("B.6/verify")
def test_interrupted_run_is_continued_by_the_next(
    db: MeteorDatabase, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [file_of(db, minute) for minute in range(5)]
    clock.move(minutes=1)
    stop = threading.Event()

    report = db.verify_contents(
        DEEP, pace=Pace(None, stop), progress=lambda done, _: stop.set() if done == 3 else None
    )

    assert (report.records, report.is_interrupted) == (3, True)
    rest = VerifyPlan(deep=True, repair=True, since=clock())
    assert read_ids(db, monkeypatch, rest) == ids[3:]


@pytest.mark.contract("B.6/stat")
def test_figures_tell_how_much_was_verified_and_when(db: MeteorDatabase, clock: StandingClock) -> None:
    kept, lost = file_of(db, 1, b"12345"), file_of(db, 2, b"678")
    block_of(db, b"block")
    db.store.delete(lost)
    assert db.get_content_figures()["files"].oldest_verification is None

    report = db.verify_contents(DEEP)

    figures = db.get_content_figures()
    assert (report.missing, report.read_bytes, report.records) == ([lost], 10, 3)
    assert (figures["files"].contents, figures["files"].size_bytes, figures["files"].corrupt) == (2, 8, 1)
    assert figures["files"].oldest_verification == utc_datetime_to_milliseconds(clock())
    assert (figures["blocks"].contents, figures["blocks"].never_verified) == (1, 0)
    assert b"".join(db.open_content(kept)) == b"12345"


@pytest.mark.contract("S-140", "B.6/verify")
@pytest.mark.parametrize("is_missing", [False, True])
def test_content_is_mended_from_another_store(db: MeteorDatabase, tmp_path: Path, is_missing: bool) -> None:
    file_id, other = file_of(db, 1, b"content"), LocalFileStore(tmp_path / "other")
    other.prepare()
    other.put(file_id, [b"content"])
    tear(db, file_id, b"CONTENT")
    if is_missing:
        db.store.delete(file_id)

    report = db.verify_contents(DEEP, others=[MemoryFileStore(), other])

    assert (report.mended, report.is_clean) == ([file_id], True)
    assert b"".join(db.open_content(file_id)) == b"content"


@pytest.mark.contract("S-140", "S-111")
@pytest.mark.parametrize("new", ["local", "moto"])
def test_content_is_mended_from_the_fallback_which_keeps_its_own(
    open_database: OpenDatabase, tmp_path: Path, request: pytest.FixtureRequest, new: str
) -> None:
    old = LocalFileStore(tmp_path / "old")
    place = f"file://{tmp_path}/new?"
    if new == "moto":
        server: ObjectServer = request.getfixturevalue("moto_server")
        place = (
            f"s3://{ACCESS_KEY}:{SECRET_KEY}@{server.make_bucket()}?endpoint={server.endpoint}"
            "&region=us-east-1&"
        )
    options = {"secret_key_file": tmp_path / "key"}
    before = open_database(file_store_path=str(tmp_path / "old"), **options)
    add_status(before)
    file_id, wrong = file_of(before, 1, b"content"), file_of(before, 2, b"not any more")
    tear(before, wrong, b"NOT ANY MORE")
    both = open_database(file_store_path=f"{place}fallback={quote(f'file://{tmp_path}/old')}", **options)
    after = open_database(file_store_path=place.rstrip("?&"), **options)
    after.store.put(file_id, [b"damaged"])

    report = both.verify_contents(DEEP)

    assert (report.mended, report.torn, report.is_clean) == ([file_id], [wrong], False)
    assert after.store.read(file_id, 100) == b"content" == old.read(file_id, 100)
    with pytest.raises(CorruptContentError):
        both.open_content(wrong)


def test_blocks_are_verified_marked_and_mended_like_files(db: MeteorDatabase) -> None:
    torn, lost, released = block_of(db, b"torn"), block_of(db, b"same bytes"), block_of(db, b"released")
    twin = file_of(db, 1, b"same bytes")
    tear(db, torn, b"TORN")
    db.store.delete(lost)
    db.transactions.write(lambda c: block_contents.release(c, released, 0))
    db.store.delete(released)

    report = db.verify_contents(DEEP)

    assert (report.torn, report.mended, report.missing) == ([torn], [lost], [])
    assert (report.records, db.get_content_figures()["blocks"].corrupt) == (3, 1)
    assert db.store.read(lost, 100) == db.store.read(twin, 100) == b"same bytes"
    tear(db, torn, b"torn")
    assert db.verify_contents(DEEP).recovered == [torn]


@pytest.mark.contract("B.6/verify")
def test_content_that_cannot_be_read_does_not_end_the_run(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [file_of(db, minute) for minute in range(3)]
    open_ = db.store.open

    def failing(file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        if file_id == ids[1]:
            raise UnavailableError("the file store cannot read content: Input/output error")
        return open_(file_id, start, stop)

    monkeypatch.setattr(db.store, "open", failing)

    report = db.verify_contents(DEEP)

    assert (report.records, report.unreadable, report.is_clean) == (3, [ids[1]], False)
    assert db.get_content_figures()["files"].corrupt == 0


@pytest.mark.contract("B.6/verify")
def test_store_that_is_gone_ends_the_run_and_marks_nothing(db: MeteorDatabase, tmp_path: Path) -> None:
    ids = [file_of(db, minute) for minute in range(3)]
    assert isinstance(db.store, LocalFileStore)
    db.store.root.rename(tmp_path / "not mounted")

    with pytest.raises(UnavailableError):
        db.verify_contents(DEEP)

    (tmp_path / "not mounted").rename(db.store.root)
    assert db.get_content_figures()["files"].corrupt == 0
    assert stored_ids(db) == set(ids)


@pytest.mark.contract("B.6/sweep")
def test_sweep_removes_what_nobody_names_once_it_is_old(db: MeteorDatabase, clock: StandingClock) -> None:
    kept = {file_of(db, 1), block_of(db, b"a block")}
    orphan = uuid4()
    db.store.put(orphan, [b"orphan"])
    unfinished = db.store.parts(uuid4())
    unfinished.append(0, [b"unfinished"])

    clock.time = now() + ORPHAN_GRACE - timedelta(minutes=5)
    assert (db.sweep_contents().orphaned, db.sweep_contents().waiting) == ([], 1)
    clock.move(minutes=10)
    tried = db.sweep_contents(dry_run=True)
    swept = db.sweep_contents()

    assert tried.orphaned == swept.orphaned == [orphan]
    assert (tried.freed_bytes, swept.freed_bytes, swept.temporary) == (0, 16, 1)
    assert stored_ids(db) == kept
    assert db.sweep_contents().orphaned == []


class _Stopping(Pace):
    """Ends the work at the second content."""

    def __init__(self) -> None:
        super().__init__(None, threading.Event())
        self._asked = iter([False, True])

    def take(self, size_bytes: int) -> None:
        if next(self._asked):
            self._stop.set()
        super().take(size_bytes)


@pytest.mark.contract("B.6/sweep")
def test_interrupted_sweep_goes_on_with_the_next(db: MeteorDatabase) -> None:
    orphans = {uuid4() for _ in range(3)}
    for orphan in orphans:
        db.store.put(orphan, [b"orphan"])

    first = db.sweep_contents(pace=_Stopping())
    second = db.sweep_contents()

    assert (first.is_interrupted, len(first.orphaned)) == (True, 1)
    assert {*first.orphaned, *second.orphaned} == orphans


@pytest.mark.contract("B.6/verify")
@pytest.mark.engines("sqlite", "postgresql", "firebird-embedded")
def test_order_of_reading_is_the_same_on_every_engine(db: MeteorDatabase, clock: StandingClock) -> None:
    ids: list[UUID] = []
    for minute in range(3):
        ids.append(file_of(db, minute))
        clock.move(minutes=1)
    db.verify_contents(VerifyPlan(deep=True, repair=True, most=1))
    later = utc_datetime_to_milliseconds(clock())

    with db.transactions.reading() as connection:
        everything = list(FILES.oldest_first(connection, None, None))
        some = list(FILES.oldest_first(connection, later, 1))
        figures = FILES.figures(connection)

    assert [file_id for _, file_id in everything] == [*ids[1:], ids[0]]
    assert some == everything[:1]
    assert (figures.contents, figures.never_verified, figures.oldest_verification) == (3, 2, later)
