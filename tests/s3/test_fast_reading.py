"""A store that reads with a compiled client: what it asks, and what it does when that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.testing.filestore_samples import CONTENT, LARGE, read, status_of_fork
from meteorpi_db.testing.object_servers import ObjectServer
from meteorpi_model.errors import ConfigurationError, UnavailableError
from tests.s3.faulty_service import Fault, FaultyService

pytestmark = pytest.mark.contract("issue-5/backends")

FOREVER = 10**6


@pytest.fixture
def service(moto_server: ObjectServer) -> Iterator[FaultyService]:
    with FaultyService(moto_server.port) as service:
        yield service


@pytest.fixture
def store(moto_server: ObjectServer, service: FaultyService) -> S3FileStore:
    options = moto_server.options(
        moto_server.make_bucket(), endpoint=service.endpoint, client="obstore", conditional="yes", attempts=1
    )
    return S3FileStore(options)


@pytest.fixture
def refuse_other_client(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it to have the client that is not compiled refuse to read."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("read with the other client")

    return lambda: monkeypatch.setattr(Bucket, "get", refused)


def test_reading_goes_by_the_compiled_client(
    store: S3FileStore, refuse_other_client: Callable[[], None]
) -> None:
    file_id = uuid4()
    store.put(file_id, [LARGE])
    refuse_other_client()

    assert read(store, file_id) == LARGE
    assert b"".join(store.open(file_id, 100, 300_000)) == LARGE[100:300_000]
    assert b"".join(store.open(file_id, len(LARGE) - 5)) == LARGE[-5:]


def test_what_breaks_off_is_read_on(store: S3FileStore, service: FaultyService) -> None:
    file_id = uuid4()
    store.put(file_id, [LARGE])
    service.fail(Fault("GET", file_id.hex, cut_after=100_000))

    assert read(store, file_id) == LARGE


def test_what_fails_is_told_by_the_other_client(store: S3FileStore, service: FaultyService) -> None:
    file_id = uuid4()
    store.put(file_id, [CONTENT])
    service.fail(Fault("GET", file_id.hex, times=FOREVER, status=403, code="AccessDenied"))

    with pytest.raises(UnavailableError, match="does not let this node"):
        read(store, file_id)


def test_a_process_that_was_forked_reads_with_the_other_client(store: S3FileStore) -> None:
    file_id = uuid4()
    store.put(file_id, [CONTENT])
    assert read(store, file_id) == CONTENT

    assert status_of_fork(lambda: read(store, file_id) == CONTENT) == 0
    assert read(store, file_id) == CONTENT


def test_what_is_not_installed_is_named(moto_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "meteorpi_db.filestore.s3.fast_reading", raising=False)

    with pytest.raises(ConfigurationError, match="s3-fast"):
        S3FileStore(moto_server.options("bucket", client="obstore"))
