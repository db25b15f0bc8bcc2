"""What a node holds of blocks."""

from __future__ import annotations

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_db.blocks.totals import BlockTotals
from tests.blocks.making import Blocks


@pytest.mark.contract("K-171")
def test_what_is_held_is_counted(db: MeteorDatabase, blocks: Blocks) -> None:
    register = BlockRegister(db.transactions, db.clock)
    blocks.store("a", b"123")
    blocks.store("b", b"12345")
    blocks.remove("a")

    assert register.totals() == BlockTotals(
        accounts=1,
        prefixes=1,
        objects=1,
        used_bytes=5,
        held_bytes=8,
        released=1,
        damaged=0,
        unverified=2,
        verified_at=None,
        open_uploads=0,
    )


def test_nothing_is_counted_as_nothing(db: MeteorDatabase) -> None:
    found = BlockRegister(db.transactions, db.clock).totals()

    assert (found.objects, found.used_bytes, found.held_bytes, found.verified_at) == (0, 0, 0, None)


def test_connections_in_use_are_counted(db: MeteorDatabase) -> None:
    before = db.transactions.waited_seconds

    with db.transactions.reading():
        assert db.transactions.in_use == 1

    assert db.transactions.in_use == 0
    assert db.transactions.waited_seconds > before
