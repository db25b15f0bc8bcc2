"""The contract of file stores on every S3 service at hand."""

from __future__ import annotations

from typing import Any

import pytest

from meteorpi_db.filestore import CHUNK_BYTES, FileStore
from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_db.testing.filestore_contract import FileStoreContract
from meteorpi_db.testing.object_servers import ObjectServer
from tests.s3.conftest import SMALL_PARTS


class S3Contract(FileStoreContract):
    """A store below a prefix."""

    most_bytes = 2 * SMALL_PARTS["part_size"] + 8 * CHUNK_BYTES

    def reopen(self, store: FileStore) -> FileStore:
        assert isinstance(store, S3FileStore)
        return S3FileStore(store.options)


@pytest.mark.contract("S-101", "S-130", "J-02", "J-03")
class TestCeph(S3Contract):
    @pytest.fixture
    def store(self, ceph_server: ObjectServer) -> FileStore:
        return prepared(ceph_server)


@pytest.mark.contract("S-101", "S-130", "S-134", "J-02", "J-03")
class TestRclone(S3Contract):
    @pytest.fixture
    def store(self, rclone_server: ObjectServer) -> FileStore:
        return prepared(rclone_server)


@pytest.mark.contract("S-101", "S-130")
class TestMoto(S3Contract):
    @pytest.fixture
    def store(self, moto_server: ObjectServer) -> FileStore:
        return prepared(moto_server)


@pytest.mark.contract("S-101", "issue-5/backends")
class TestCompiledReader(S3Contract):
    """The same with a compiled client for reading."""

    @pytest.fixture
    def store(self, moto_server: ObjectServer) -> FileStore:
        return prepared(moto_server, client="obstore")


def prepared(server: ObjectServer, **options: Any) -> FileStore:
    chosen = {"prefix": "nodes/first", **SMALL_PARTS, **options}
    store = S3FileStore(server.options(server.make_bucket(), **chosen))
    store.prepare()
    return store
