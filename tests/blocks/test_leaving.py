"""A prefix goes with everything below it: unseen at once, removed in steps, counted right after each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from meteorpi_db.blocks import changes, events, leaving, prefixes, rows
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_db.blocks.tables import block_prefix
from meteorpi_model import milliseconds_to_utc_datetime
from meteorpi_model.errors import NotAllowedError, NotFoundError
from tests.blocks.making import ACCOUNT, NOW, OTHER, PREFIX, Blocks
from tests.db.workers import REPOSITORY

PATHS = ("a", "a/b", "blocks/1", "blocks/2", "c")


def begin(blocks: Blocks, prefix: str = PREFIX) -> bool:
    return blocks.transactions.write(lambda c: leaving.begin(c, prefix, blocks.terms, blocks.now))


def step(blocks: Blocks, limit: int = 2) -> leaving.Removed:
    return blocks.transactions.write(lambda c: leaving.remove_some(c, PREFIX, blocks.now, limit))


def is_there(blocks: Blocks) -> bool:
    with blocks.transactions.reading() as connection:
        return rows.find_prefix(connection, PREFIX) is not None


@pytest.mark.contract("C/prefix-removal", "K-214")
def test_a_prefix_goes_in_steps_and_is_counted_right_after_each(blocks: Blocks) -> None:
    for path in PATHS:
        blocks.store(path, path.encode())
    register = BlockRegister(blocks.transactions, lambda: milliseconds_to_utc_datetime(NOW))
    assert begin(blocks)

    counted, told = [], []
    for _ in range(3):  # whoever does a step may be killed after it, and another one goes on
        told += step(blocks).events
        counted.append(blocks.counted())
        assert blocks.counted() == blocks.recounted()

    assert [objects for _, objects in counted] == [3, 1, 0]
    assert [(each.operation, each.path) for each in told] == [("DELETE", path) for path in sorted(PATHS)]
    assert [each.number for each in told] == [6, 7, 8, 9, 10]
    assert blocks.contents_in_use() == 0
    assert step(blocks) == leaving.Removed(events=[], is_over=True)
    assert is_there(blocks), "whoever listens has not heard of it"
    assert not register.prefixes_of(ACCOUNT)
    assert not register.leaving()

    blocks.now += events.KEPT_MILLISECONDS + 1
    later = BlockRegister(blocks.transactions, lambda: milliseconds_to_utc_datetime(blocks.now))
    assert later.leaving() == [PREFIX]
    step(blocks)
    assert not is_there(blocks)
    assert later.leaving() == []


@pytest.mark.contract("C/prefix-removal")
@pytest.mark.engines("sqlite")
def test_nothing_below_a_prefix_that_goes_can_be_seen_or_changed(blocks: Blocks) -> None:
    blocks.store("a", b"1")
    register = BlockRegister(blocks.transactions, lambda: milliseconds_to_utc_datetime(NOW))
    begin(blocks)

    for attempt in (
        lambda: blocks.store("b", b"2"),
        lambda: blocks.remove("a"),
        lambda: register.find(PREFIX, "a"),
        lambda: register.change_prefix(PREFIX, blocks.terms, {"label": "x"}),
        lambda: begin(blocks),
    ):
        with pytest.raises(NotFoundError):
            attempt()
    assert register.leaving() == [PREFIX]


@pytest.mark.contract("C/prefix-removal", "K-230", "K-231")
@pytest.mark.engines("sqlite")
def test_what_has_to_stay_stays(open_blocks: Callable[..., Blocks], blocks: Blocks) -> None:
    blocks.store("a", b"1")
    for terms in ({"is_append_only": True}, {"retain_days": 1}):
        with pytest.raises(NotAllowedError):
            begin(open_blocks(**terms))
    blocks.make("theirs", OTHER)
    with pytest.raises(NotAllowedError):
        begin(blocks, "theirs")
    assert blocks.find("a") is not None


@pytest.mark.engines("sqlite")
def test_two_may_come_to_the_end_of_a_removal_at_once(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(blocks)
    take = prefixes._take_account_turn

    def wait_too_long(connection: Connection, account_id: str) -> None:
        take(connection, account_id)
        connection.execute(block_prefix.delete())  # as the other one has

    monkeypatch.setattr(prefixes, "_take_account_turn", wait_too_long)

    assert step(blocks) == leaving.Removed(events=[], is_over=True)


@pytest.mark.contract("A.5/ownerless")
@pytest.mark.engines("sqlite")
def test_a_name_that_nobody_owns_can_be_used_again(blocks: Blocks) -> None:
    terms = changes.Terms(account_id=None)

    def ensure() -> bool:
        return blocks.transactions.write(lambda c: prefixes.ensure_ownerless(c, "test", NOW)).is_leaving

    ensure()
    blocks.transactions.write(lambda c: leaving.begin(c, "test", terms, NOW))

    assert not ensure()


@pytest.mark.contract("C/prefix-removal", "J-04/store")
@pytest.mark.engines("sqlite", "postgresql")
def test_a_removal_survives_who_does_it(blocks: Blocks, db_path: str) -> None:
    """Whoever is killed in the middle has removed some objects wholly, and the others not at all."""
    paths = [f"blocks/{number:02}" for number in range(40)]
    for path in paths:
        blocks.store(path, path.encode())
    begin(blocks)
    command = [sys.executable, "-m", "tests.blocks.leaving_process", db_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(3)]
        process.kill()
    assert said == paths[:3]
    assert blocks.counted() == blocks.recounted()

    while not step(blocks, 10).is_over:
        assert blocks.counted() == blocks.recounted()

    assert blocks.counted() == (0, 0)
    with blocks.transactions.reading() as connection:
        told = events.events_after(connection, PREFIX, 40, 100)
    assert [(each.number, each.path) for each in told] == list(enumerate(paths, start=41))
