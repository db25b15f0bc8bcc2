"""Fixtures of the tests of S3 stores: the three servers, and a bucket of the test's own on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from meteorpi_db.filestore.s3 import S3FileStore, S3Options
from meteorpi_db.testing.object_servers import CephServer, MotoServer, ObjectServer, RcloneServer
from tests.components import started

SMALL_PARTS = {"part_size": 5 << 20, "parallel": 2}
"""So that tests of parts move as little as services allow."""


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


@pytest.fixture(scope="session", params=["ceph", "rclone", "moto"])
def object_server(request: pytest.FixtureRequest) -> ObjectServer:
    """Each of the servers in turn."""
    server = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(server, ObjectServer)
    return server


@pytest.fixture
def new_store(object_server: ObjectServer) -> Callable[..., S3FileStore]:
    """Call it for a store in a bucket of its own; options are those of `S3Options`."""

    def make(**options: object) -> S3FileStore:
        bucket = object_server.make_bucket()
        return S3FileStore(object_server.options(bucket, **SMALL_PARTS | options))

    return make


@pytest.fixture
def options(object_server: ObjectServer) -> S3Options:
    """Of a bucket of the test's own."""
    return object_server.options(object_server.make_bucket(), **SMALL_PARTS)
