"""``meteorpi store recount``: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.tables import block_account
from tests.blocks.making import ACCOUNT, StoredBlocks
from tests.cli.conftest import Meteorpi


@pytest.fixture
def blocks(node: MeteorDatabase) -> StoredBlocks:
    blocks = StoredBlocks(node)
    blocks.make()
    blocks.store("a", b"12345")
    return blocks


@pytest.mark.contract("B.6/recount")
def test_counters_that_are_right_are_nothing_to_report(meteorpi: Meteorpi, blocks: StoredBlocks) -> None:
    shown, fixed = meteorpi("store", "recount"), meteorpi("store", "recount", "--fix", "--json")

    assert (shown.code, shown.out) == (0, "all counters are right\n")
    assert fixed.json == {"differences": [], "fixed": True, "clean": True}


@pytest.mark.contract("B.6/recount")
def test_differences_are_shown_until_they_are_set_right(
    meteorpi: Meteorpi, node: MeteorDatabase, blocks: StoredBlocks
) -> None:
    node.transactions.write(lambda c: c.execute(update(block_account).values(used=7)))

    shown, found = meteorpi("store", "recount"), meteorpi("store", "recount", "--json")
    fixed, after = meteorpi("store", "recount", "--fix", "--json"), meteorpi("store", "recount", "--json")

    difference = {"kind": "account", "name": ACCOUNT, "used": 7, "right_used": 5}
    assert (shown.code, ACCOUNT in shown.out) == (1, True)
    assert (found.code, found.json["clean"]) == (1, False)
    assert difference.items() <= found.json["differences"][0].items()
    assert (fixed.code, fixed.json["differences"]) == (0, found.json["differences"])
    assert (after.code, after.json["differences"]) == (0, [])


@pytest.mark.contract("B.6/recount")
def test_without_a_database_nothing_can_be_counted(meteorpi: Meteorpi, home: Path) -> None:
    done = meteorpi("store", "recount")

    assert done.code == 2
    assert list(home.iterdir()) == []
