"""Fixtures of the whole suite: a Redis of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meteorpi_db.testing.redis_server import RedisServer
from tests.components import started


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for the whole run, empty at its start; whoever pauses or stops it makes it answer again."""
    with ExitStack() as stack:
        yield started(stack, RedisServer)
