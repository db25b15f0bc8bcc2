"""Fixtures of the tests of S3 stores: each server in turn, and a bucket of the test's own."""

from __future__ import annotations

import pytest

from meteorpi_db.filestore.s3 import S3Options
from meteorpi_db.testing.object_servers import ObjectServer

SMALL_PARTS = {"part_size": 5 << 20, "parallel": 2}
"""So that tests of parts move as little as services allow."""


@pytest.fixture(scope="session", params=["ceph", "rclone", "moto"])
def object_server(request: pytest.FixtureRequest) -> ObjectServer:
    """Each of the servers in turn."""
    server = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(server, ObjectServer)
    return server


@pytest.fixture(scope="session", params=["ceph", "rclone"])
def real_server(request: pytest.FixtureRequest) -> ObjectServer:
    """Those that keep contents as a service does, one with and one without conditional writes."""
    server = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(server, ObjectServer)
    return server


@pytest.fixture
def options(object_server: ObjectServer) -> S3Options:
    """Of a bucket of the test's own."""
    return object_server.options(object_server.make_bucket(), **SMALL_PARTS)
