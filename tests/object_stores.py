"""Fixtures of the whole suite: servers that speak the S3 protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meteorpi_db.testing.object_servers import (
    CephServer,
    MotoServer,
    ObjectServer,
    RcloneServer,
)
from tests.components import started


@pytest.fixture(scope="session")
def ceph_server() -> Iterator[ObjectServer]:
    with ExitStack() as stack:
        yield started(stack, CephServer)


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[ObjectServer]:
    with ExitStack() as stack:
        yield started(stack, RcloneServer)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[ObjectServer]:
    with ExitStack() as stack:
        yield started(stack, MotoServer)


@pytest.fixture(scope="session")
def shared_bucket(ceph_server: ObjectServer) -> str:
    """A bucket of a real service, for all tests that need no more than a prefix of their own."""
    return ceph_server.make_bucket()
