"""Uploads and removals of objects: what they change, and what they refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection

from meteorpi_db.blocks import changes, contents, events, prefixes, reservations
from meteorpi_db.blocks.changes import Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.names import tag_of
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_model.errors import (
    ConflictError,
    NotAllowedError,
    NotFoundError,
    PreconditionFailedError,
    QuotaReachedError,
)
from meteorpi_model.values import milliseconds_to_utc_datetime
from tests.blocks.making import ACCOUNT, NOW, OTHER, PREFIX, Blocks, digest, facts_of


@pytest.mark.contract(
    "K-210", "K-215", "K-405", "F.1/block_account", "F.1/block_prefix", "F.1/block_object", "A.6/size"
)
def test_objects_come_and_go_and_are_counted(blocks: Blocks) -> None:
    first = blocks.store("a", b"12345")
    second = blocks.store("b/c", b"123")
    replaced = blocks.store("a", b"1")

    assert (first.is_created, second.is_created, replaced.is_created) == (True, True, False)
    assert replaced.row.version == 2
    assert blocks.counted() == blocks.recounted() == (4, 2)
    assert blocks.find("a") == digest(b"1")

    blocks.remove("a")

    assert blocks.find("a") is None
    assert blocks.counted() == blocks.recounted() == (3, 1)
    assert blocks.contents_in_use() == 1


@pytest.mark.contract("K-103", "KD-13")
def test_a_name_may_be_the_beginning_of_another(blocks: Blocks) -> None:
    blocks.store("x", b"1")
    blocks.store("x/y", b"2")

    assert (blocks.find("x"), blocks.find("x/y")) == (digest(b"1"), digest(b"2"))


@pytest.mark.contract("K-127")
def test_the_same_bytes_again_change_nothing_but_are_told(blocks: Blocks) -> None:
    first = blocks.store("a", b"12345")

    again = blocks.store("a", b"12345")

    assert not again.is_content_used
    assert again.row == first.row
    assert blocks.counted() == (5, 1)
    assert (first.event.number, again.event.number) == (1, 2)
    assert blocks.contents_in_use() == 1


@pytest.mark.contract("K-140", "KD-03", "K-214")
def test_removing_what_is_not_there_changes_nothing(blocks: Blocks) -> None:
    for _ in range(3):
        blocks.store("a", b"12345")
        assert blocks.remove("a") is not None
        assert blocks.remove("a") is None

    assert blocks.counted() == (0, 0)
    with blocks.transactions.reading() as connection:
        told = events.events_after(connection, PREFIX, 0, 100)
    assert [event.operation for event in told] == ["POST", "DELETE"] * 3
    assert [event.number for event in told] == [1, 2, 3, 4, 5, 6]


@pytest.mark.contract("K-146", "K-147", "KD-04", "KD-10", "A.11/storage")
def test_conditions_are_decided_on_what_is_there(blocks: Blocks) -> None:
    with pytest.raises(PreconditionFailedError) as missing:
        blocks.store("a", b"1", if_match="*")
    blocks.store("a", b"1", if_none_match="*")
    with pytest.raises(PreconditionFailedError) as there:
        blocks.store("a", b"2", if_none_match="*")
    blocks.store("a", b"2", if_match=tag_of(digest(b"1")))
    with pytest.raises(PreconditionFailedError):
        blocks.remove("a", if_match=tag_of(digest(b"1")))
    blocks.remove("a", if_match=tag_of(digest(b"2")))
    with pytest.raises(PreconditionFailedError):
        blocks.store("a", b"3", if_match=tag_of(digest(b"2")))

    assert missing.value.context == {}
    assert there.value.context == {"tag": tag_of(digest(b"1"))}
    assert blocks.find("a") is None


@pytest.mark.contract("K-149", "K-413", "KD-08")
@pytest.mark.parametrize("demand", ["only create", "the same tag"])
def test_one_of_many_with_the_same_condition_wins(blocks: Blocks, demand: str) -> None:
    writers = 8
    barrier = threading.Barrier(writers, timeout=60)
    for round_number in range(4):
        path = f"p{round_number}"
        demands = {"if_none_match": "*"}
        if demand == "the same tag":
            blocks.store(path, b"begin")
            demands = {"if_match": tag_of(digest(b"begin"))}

        def write(number: int, path: str = path, demands: dict[str, str] = demands) -> bool:
            barrier.wait()
            try:
                blocks.store(path, b"%d" % number, **demands)
            except PreconditionFailedError:
                return False
            return True

        with ThreadPoolExecutor(writers) as pool:
            won = list(pool.map(write, range(writers)))

        assert won.count(True) == 1
        assert blocks.find(path) == digest(b"%d" % won.index(True))
    assert blocks.counted() == blocks.recounted()


@pytest.mark.contract("K-213", "KD-08")
def test_uploads_at_the_same_time_cannot_exceed_the_quota_together(
    open_blocks: Callable[..., Blocks],
) -> None:
    blocks = open_blocks(quota=1000)
    blocks.make()
    blocks.make("second")
    barrier = threading.Barrier(8, timeout=60)

    def write(number: int) -> bool:
        barrier.wait()
        try:
            blocks.store(f"blocks/{number}", bytes(300), prefix=(PREFIX, "second")[number % 2])
        except QuotaReachedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(write, range(8)))

    assert stored.count(True) == 3
    assert blocks.counted() == blocks.recounted() == (900, 3)


@pytest.mark.contract("K-212")
def test_a_prefix_may_have_a_quota_of_its_own(blocks: Blocks) -> None:
    blocks.transactions.write(lambda c: prefixes.change_prefix(c, PREFIX, quota=10))

    blocks.store("a", bytes(10))
    with pytest.raises(QuotaReachedError) as full:
        blocks.store("b", b"1")

    assert full.value.context == {"quota": 10, "size": 10, "requested": 1, "prefix": PREFIX}


@pytest.mark.contract("K-122", "K-213", "F.1/block_upload")
def test_room_is_kept_for_an_upload_until_it_lapses(open_blocks: Callable[..., Blocks]) -> None:
    blocks = open_blocks(quota=1000)
    blocks.make()
    upload = Upload(prefix=PREFIX, path="blocks/1", upload_id="one")
    content_id = uuid4()

    def announce(upload: Upload, size: int, content_id: UUID) -> None:
        blocks.transactions.write(
            lambda c: changes.require_upload(c, upload, size, blocks.terms, blocks.now, content_id)
        )

    announce(upload, 700, content_id)
    with pytest.raises(QuotaReachedError):
        announce(replace(upload, path="blocks/2", upload_id="two"), 400, uuid4())
    with pytest.raises(QuotaReachedError):
        blocks.store("blocks/2", bytes(400))
    blocks.transactions.write(
        lambda c: changes.store(c, upload, content_id, facts_of(bytes(700)), blocks.terms, blocks.now)
    )
    blocks.store("blocks/3", bytes(300))
    blocks.remove("blocks/3")
    announce(replace(upload, path="blocks/4", upload_id="four"), 300, uuid4())
    blocks.now += reservations.LAPSE_MILLISECONDS + 1

    blocks.store("blocks/2", bytes(300))

    assert blocks.counted() == (1000, 2)


@pytest.mark.contract("K-230", "K-500/block_append_only")
@pytest.mark.parametrize("whose", ["server", "prefix"])
def test_append_only_keeps_what_is_there(open_blocks: Callable[..., Blocks], whose: str) -> None:
    blocks = open_blocks()
    blocks.make()
    blocks.store("a", b"1")
    if whose == "server":
        blocks.terms = replace(blocks.terms, is_append_only=True)
    else:
        blocks.transactions.write(lambda c: prefixes.change_prefix(c, PREFIX, is_append_only=True))

    blocks.store("a", b"1")
    blocks.store("b", b"2")
    with pytest.raises(NotAllowedError):
        blocks.store("a", b"3")
    with pytest.raises(NotAllowedError):
        blocks.remove("a")

    assert (blocks.find("a"), blocks.find("b")) == (digest(b"1"), digest(b"2"))


@pytest.mark.contract("K-231", "K-500/block_retain_days")
def test_young_objects_are_kept_where_that_is_demanded(open_blocks: Callable[..., Blocks]) -> None:
    blocks = open_blocks(retain_days=2)
    blocks.make()
    blocks.store("a", b"1")

    for attempt in (lambda: blocks.remove("a"), lambda: blocks.store("a", b"2")):
        with pytest.raises(NotAllowedError):
            attempt()
    blocks.now += 2 * 24 * 3600 * 1000

    assert blocks.remove("a") is not None


@pytest.mark.parametrize("demands", [{}, {"if_none_match": "*"}])
def test_what_belongs_to_another_is_not_changed(blocks: Blocks, demands: dict[str, str]) -> None:
    blocks.make("theirs", OTHER)

    for attempt in (
        lambda: blocks.store("a", b"1", prefix="theirs", **demands),
        lambda: blocks.remove("a", prefix="theirs"),
    ):
        with pytest.raises(NotAllowedError):
            attempt()
    with pytest.raises(NotFoundError):
        blocks.store("a", b"1", prefix="nobodys")


@pytest.mark.contract("A.5/ownerless", "K-215")
def test_what_nobody_owns_is_not_counted(blocks: Blocks) -> None:
    blocks.terms = replace(blocks.terms, account_id=None)
    blocks.transactions.write(lambda c: prefixes.ensure_ownerless(c, "test", NOW))

    blocks.store("a", b"12345", prefix="test")
    blocks.store("a", b"1", prefix="test", if_match="*")

    assert blocks.counted() == (0, 0)
    assert blocks.find("a", "test") == digest(b"1")


def test_a_prefix_goes_when_it_is_empty(blocks: Blocks) -> None:
    blocks.store("a", b"1")
    with pytest.raises(ConflictError):
        blocks.transactions.write(lambda c: prefixes.delete_prefix(c, PREFIX))
    blocks.remove("a")

    blocks.transactions.write(lambda c: prefixes.delete_prefix(c, PREFIX))

    with blocks.transactions.reading() as connection:
        assert prefixes.prefixes_of(connection, ACCOUNT) == []


@pytest.mark.contract("K-141", "K-405")
def test_released_contents_wait_for_their_removal(blocks: Blocks) -> None:
    old = blocks.store("a", b"1").row.content_id
    new = blocks.store("a", b"2").row.content_id

    with blocks.transactions.reading() as connection:
        waiting = contents.released(connection, 10)
        held = contents.held_ids(connection, [old, new, uuid4()])
    blocks.transactions.write(lambda c: contents.forget(c, [old, new]))
    with blocks.transactions.reading() as connection:
        held_later = contents.held_ids(connection, [old, new])

    assert waiting == [old]
    assert held == {old, new}
    assert held_later == {new}


@pytest.mark.contract("K-122")
def test_an_upload_is_refused_before_its_bytes_come(blocks: Blocks) -> None:
    blocks.store("a", b"1")
    nowhere = Upload(prefix="nobodys", path="a")
    there = Upload(prefix=PREFIX, path="a", demands=Demands(if_none_match="*"))

    def announce(upload: Upload) -> None:
        blocks.transactions.write(lambda c: changes.require_upload(c, upload, 5, blocks.terms, NOW, uuid4()))

    with pytest.raises(NotFoundError):
        announce(nowhere)
    with pytest.raises(PreconditionFailedError):
        announce(there)


@pytest.mark.contract("K-405")
def test_who_gives_an_upload_up_waits_for_the_transaction_whose_answer_was_lost(blocks: Blocks) -> None:
    """A database server may still be at it when the connection is gone: the content is needed then."""
    register = BlockRegister(blocks.transactions, lambda: milliseconds_to_utc_datetime(NOW))
    upload, content_id = Upload(prefix=PREFIX, path="a"), uuid4()
    is_stored, is_let_go = threading.Event(), threading.Event()

    def store_slowly(connection: Connection) -> None:
        changes.store(connection, upload, content_id, facts_of(b"12345"), blocks.terms, NOW)
        is_stored.set()
        assert is_let_go.wait(60)

    with ThreadPoolExecutor(2) as pool:
        storing = pool.submit(blocks.transactions.write, store_slowly)
        assert is_stored.wait(60)
        giving_up = pool.submit(register.give_up, upload, content_id)
        wait([giving_up], timeout=0.2)  # an answer that does not wait comes by then
        is_let_go.set()
        storing.result(60)

        assert giving_up.result(60) is True
    assert register.give_up(replace(upload, prefix="nobodys"), uuid4()) is False
