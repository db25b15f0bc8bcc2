"""Fixtures of the tests of blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meteorpi_db import MeteorDatabase
from tests.blocks.making import Blocks


@pytest.fixture
def open_blocks(db: MeteorDatabase) -> Callable[..., Blocks]:
    """Call it for the blocks of the test's own database; options are those of `Terms`."""
    return lambda **terms: Blocks(db.transactions, **terms)


@pytest.fixture
def blocks(open_blocks: Callable[..., Blocks]) -> Blocks:
    """The same, with a prefix of the first account."""
    blocks = open_blocks()
    blocks.make()
    return blocks
