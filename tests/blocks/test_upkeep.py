"""The upkeep of a node knows of blocks: verification, the sweep, backups and starting over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select, update

from meteorpi_db import MeteorDatabase
from meteorpi_db.backup import gathering
from meteorpi_db.blocks import holding, reservations
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.sweeping import READERS_GRACE
from meteorpi_db.blocks.tables import block_account, block_content, block_object, block_prefix
from meteorpi_db.sweeping import ORPHAN_GRACE
from meteorpi_db.tables import lease
from meteorpi_model import now, utc_datetime_to_milliseconds
from meteorpi_model.errors import UnavailableError
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.block_api.current import current_service
from meteorpi_server.settings import Settings
from tests.blocks.making import ACCOUNT, PREFIX, StoredBlocks
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, add_file, add_status, stored_ids


@pytest.fixture
def clock() -> StandingClock:
    """Far enough ahead for everything stored now to be old."""
    return StandingClock(now() + 2 * ORPHAN_GRACE)


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    return open_database(clock=clock)


@pytest.fixture
def blocks(db: MeteorDatabase) -> StoredBlocks:
    blocks = StoredBlocks(db)
    blocks.make()
    return blocks


def content_of(blocks: StoredBlocks, path: str) -> UUID:
    """The id under which the bytes of an object are stored."""
    with blocks.transactions.reading() as connection:
        statement = select(block_object.c.content_id).where(block_object.c.path == path)
        found: UUID = connection.execute(statement).scalar_one()
    return found


def is_marked(blocks: StoredBlocks, content_id: UUID) -> bool:
    """Whether reads of a content are refused."""
    with blocks.transactions.reading() as connection:
        statement = select(block_content.c.is_corrupt).where(block_content.c.content_id == content_id)
        return bool(connection.execute(statement).scalar_one())


@pytest.mark.contract("S-153", "B.6/verify", "B.6/sweep")
def test_contents_of_objects_are_nothing_to_sweep(db: MeteorDatabase, blocks: StoredBlocks) -> None:
    blocks.store("a", b"first")
    blocks.store("b", b"second")
    orphan = uuid4()
    db.store.put(orphan, [b"nobody's"])

    report = db.verify(deep=True, repair=True)

    assert (report.records, report.orphaned, report.is_clean) == (2, [orphan], True)
    assert stored_ids(db) == {content_of(blocks, "a"), content_of(blocks, "b")}


@pytest.mark.contract("S-140", "B.6/verify")
@pytest.mark.engines("sqlite", "postgresql")
def test_damaged_contents_of_objects_are_marked_or_mended(db: MeteorDatabase, blocks: StoredBlocks) -> None:
    add_status(db)
    blocks.store("alone", b"nowhere else")
    blocks.store("twice", b"equal")
    add_file(db, content=b"equal")
    alone, twice = content_of(blocks, "alone"), content_of(blocks, "twice")
    for content_id in (alone, twice):
        db.store.delete(content_id)

    found = db.verify(repair=True)

    assert (found.missing, found.mended, found.is_clean) == ([alone], [twice], False)
    assert (is_marked(blocks, alone), is_marked(blocks, twice)) == (True, False)
    db.store.put(alone, [b"nowhere else"])
    assert db.verify(repair=True).recovered == [alone]
    assert not is_marked(blocks, alone)
    assert db.verify(deep=True).is_clean


@pytest.mark.contract("S-150", "K-405", "B.6/sweep")
def test_released_contents_go_once_nobody_can_be_about_to_read_them(
    db: MeteorDatabase, blocks: StoredBlocks, clock: StandingClock
) -> None:
    blocks.store("a", b"first")
    blocks.store("b", b"second")
    first, second = content_of(blocks, "a"), content_of(blocks, "b")
    blocks.store("a", b"third")
    blocks.remove("b")

    young = db.sweep_contents()
    assert (young.released, first in stored_ids(db)) == (0, True)
    clock.time += READERS_GRACE + timedelta(seconds=1)
    swept = db.sweep_contents()

    assert (swept.released, swept.orphaned) == (2, [])
    assert stored_ids(db) == {content_of(blocks, "a")}
    with db.transactions.reading() as connection:
        known = set(connection.execute(select(block_content.c.content_id)).scalars())
    assert not known & {first, second}
    assert db.sweep_contents().released == 0


@pytest.mark.contract("K-138", "K-141")
@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(("offload", "minutes"), [("none", 1.5), ("redirect", 6)])
def test_released_content_stays_as_long_as_the_address_that_was_given(
    db: MeteorDatabase, blocks: StoredBlocks, clock: StandingClock, offload: str, minutes: float
) -> None:
    settings = Settings(
        block_offload=offload, block_accounts="dummy", block_dummy_token="word", block_insecure=True
    )
    meteor_app = MeteorApp(db, settings)
    block_api.add_routes(meteor_app)
    with meteor_app.app.test_request_context("/api/v0/info"):
        service = current_service()
    blocks.store("a", b"first")
    blocks.remove("a")

    clock.time += timedelta(minutes=minutes, seconds=-1)
    service.keep_up()
    assert db.sweep_contents(readers_grace=settings.block_readers_grace).released == 0
    assert len(stored_ids(db)) == 1
    clock.time += timedelta(seconds=2)
    service.keep_up()

    assert stored_ids(db) == set()


@pytest.mark.engines("sqlite")
def test_released_content_that_cannot_be_removed_now_is_removed_later(
    db: MeteorDatabase, blocks: StoredBlocks, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks.store("a", b"first")
    blocks.remove("a")
    clock.time += 2 * READERS_GRACE

    def refuse(file_id: UUID) -> bool:
        raise UnavailableError("the disk is gone")

    with monkeypatch.context() as outage:
        outage.setattr(db.store, "delete", refuse)
        assert db.sweep_contents().released == 0

    assert db.sweep_contents().released == 1
    assert stored_ids(db) == set()


@pytest.mark.contract("S-105", "B.6/sweep", "K-213")
def test_content_of_an_upload_under_way_waits_until_its_time_is_over(
    db: MeteorDatabase, blocks: StoredBlocks, clock: StandingClock
) -> None:
    waiting, ends = uuid4(), utc_datetime_to_milliseconds(clock.time) + 1000
    db.store.put(waiting, [b"complete, and not yet an object"])
    db.transactions.write(
        lambda c: reservations.reserve(c, "upload", waiting, ACCOUNT, PREFIX, "a", 31, ends)
    )

    kept = db.sweep_contents()
    assert (kept.uploads, kept.orphaned, stored_ids(db)) == (0, [], {waiting})
    clock.time += timedelta(seconds=1)
    swept = db.sweep_contents()

    assert (swept.uploads, swept.orphaned, stored_ids(db)) == (1, [waiting], set())


@pytest.mark.contract("K-524")
@pytest.mark.engines("sqlite", "postgresql")
def test_object_that_is_replaced_while_a_backup_is_made_is_in_it(
    db: MeteorDatabase,
    blocks: StoredBlocks,
    clock: StandingClock,
    new_database: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks.store("a", b"as it was")
    gather = gathering.Gatherer.gather

    def replace_first(gatherer: gathering.Gatherer, contents_list: Path) -> gathering.Gathered:
        blocks.store("a", b"as it is")
        clock.time += 2 * READERS_GRACE
        assert db.sweep_contents().released == 0
        return gather(gatherer, contents_list)

    monkeypatch.setattr(gathering.Gatherer, "gather", replace_first)
    report = db.backup_to(tmp_path / "backups")
    assert report.is_complete
    assert db.sweep_contents().released == 1

    restored = MeteorDatabase.restore_from(
        tmp_path / "backups", db_path=new_database(), file_store_path=tmp_path / "restored"
    )
    assert (restored.is_complete, restored.contents) == (True, 1)


@pytest.mark.contract("K-524", "K-214")
def test_objects_whose_content_went_all_the_same_are_left_out_and_not_counted(
    db: MeteorDatabase,
    blocks: StoredBlocks,
    clock: StandingClock,
    new_database: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks.store("stays", b"12345")
    blocks.store("goes", b"123")
    gather = gathering.Gatherer.gather

    def remove_first(gatherer: gathering.Gatherer, contents_list: Path) -> gathering.Gathered:
        blocks.remove("goes")
        clock.time += 2 * READERS_GRACE
        with monkeypatch.context() as lapsed:
            lapsed.setattr(holding, "is_held", lambda *_: False)
            assert db.sweep_contents().released == 1
        return gather(gatherer, contents_list)

    monkeypatch.setattr(gathering.Gatherer, "gather", remove_first)
    report = db.backup_to(tmp_path / "backups")
    assert (report.is_complete, report.dropped) == (True, 1)

    other = new_database()
    assert MeteorDatabase.restore_from(
        tmp_path / "backups", db_path=other, file_store_path=tmp_path / "restored"
    ).is_complete
    with MeteorDatabase(other, tmp_path / "restored") as node:
        again = StoredBlocks(node)
        assert (again.counted(), again.recounted()) == ((5, 1), (5, 1))
        assert recount(node.transactions) == []
        assert again.find("goes") is None


@pytest.mark.engines("sqlite")
def test_hold_of_a_killed_backup_ends_by_itself(
    db: MeteorDatabase, blocks: StoredBlocks, clock: StandingClock
) -> None:
    blocks.store("a", b"first")
    blocks.remove("a")
    killed = holding.held(db.transactions, clock.time)
    killed.__enter__()  # and nobody leaves

    clock.time += timedelta(minutes=50)
    assert db.sweep_contents().released == 0
    clock.time += timedelta(minutes=11)

    assert db.sweep_contents().released == 1

    clock.time += timedelta(days=1)
    with holding.held(db.transactions, clock.time):
        pass
    with db.transactions.reading() as connection:
        assert connection.execute(select(lease.c.name)).all() == []


@pytest.mark.engines("sqlite")
def test_database_that_is_away_for_a_while_ends_no_backup(
    db: MeteorDatabase, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_RENEWED_SECONDS", 0.0)

    def refuse(operation: object) -> None:
        raise UnavailableError("the database does not answer")

    with holding.held(db.transactions, clock.time) as prolong:
        monkeypatch.setattr(db.transactions, "write", refuse)
        prolong()

    with db.transactions.reading() as connection:
        assert holding.is_held(connection, utc_datetime_to_milliseconds(clock.time))


@pytest.mark.contract("B.6/recount", "K-214", "K-503/recount")
def test_counters_that_are_wrong_are_named_and_set_right(db: MeteorDatabase, blocks: StoredBlocks) -> None:
    blocks.store("a", b"12345")
    blocks.make("empty")
    assert recount(db.transactions) == []

    def spoil(connection: Connection) -> None:
        for table in (block_account, block_prefix):
            connection.execute(update(table).values(used=7, objects=3))

    db.transactions.write(spoil)

    found = [(each.kind, each.name, each.right_used, each.right_objects) for each in recount(db.transactions)]
    fixed = recount(db.transactions, fix=True)

    wrong = [("account", ACCOUNT, 5, 1), ("prefix", "empty", 0, 0), ("prefix", PREFIX, 5, 1)]
    assert found == wrong
    assert [(each.used, each.objects) for each in fixed] == [(7, 3)] * 3
    assert recount(db.transactions) == []
    assert blocks.counted() == (5, 1)


@pytest.mark.engines("sqlite")
def test_starting_over_leaves_nothing_of_blocks(db: MeteorDatabase, blocks: StoredBlocks) -> None:
    blocks.store("a", b"first")
    blocks.remove("a")
    blocks.store("b", b"second")

    db.clear_database()

    assert stored_ids(db) == set()
    assert recount(db.transactions) == []
    assert blocks.contents_in_use() == 0
