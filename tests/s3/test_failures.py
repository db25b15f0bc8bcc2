"""What an S3 store does when the service, or the way to it, fails."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_db.testing.filestore_samples import CONTENT, LARGE, facts, read
from meteorpi_db.testing.object_servers import ObjectServer
from meteorpi_model.errors import StoreFullError, TooLargeError, UnavailableError
from tests.s3.conftest import SMALL_PARTS
from tests.s3.faulty_service import Fault, FaultyService

FOREVER = 10**6
IN_PARTS = LARGE * 4


@pytest.fixture
def service(moto_server: ObjectServer) -> Iterator[FaultyService]:
    with FaultyService(moto_server.port) as service:
        yield service


@pytest.fixture
def open_store(moto_server: ObjectServer, service: FaultyService) -> Callable[..., S3FileStore]:
    """Call it for a store behind the faulty service, whose first write asks for nothing else."""

    def open_(**options: object) -> S3FileStore:
        chosen = {"endpoint": service.endpoint, "conditional": "yes", **SMALL_PARTS, **options}
        return S3FileStore(moto_server.options(moto_server.make_bucket(), **chosen))

    return open_


@pytest.fixture
def store(open_store: Callable[..., S3FileStore]) -> S3FileStore:
    return open_store()


USES: dict[str, tuple[str, Callable[[S3FileStore, UUID], object]]] = {
    "stat": ("HEAD", lambda store, file_id: store.stat(file_id)),
    "open": ("GET", lambda store, file_id: store.open(file_id)),
    "empty range": ("HEAD", lambda store, file_id: store.open(file_id, 0, 0)),
    "delete": ("DELETE", lambda store, file_id: store.delete(file_id)),
    "delete of what is looked for": ("HEAD", lambda store, file_id: store.delete(file_id)),
    "put": ("PUT", lambda store, file_id: store.put(uuid4(), [CONTENT])),
    "put in parts": ("POST", lambda store, file_id: store.put(uuid4(), [IN_PARTS])),
    "ids": ("GET", lambda store, file_id: list(store.ids())),
    "parts": ("GET", lambda store, file_id: store.parts(file_id).offset),
    "append": ("PUT", lambda store, file_id: store.parts(file_id).append(0, [CONTENT])),
    "sweep": ("GET", lambda store, file_id: store.sweep()),
    "check": ("HEAD", lambda store, file_id: store.check()),
}


@pytest.mark.contract("S-106", "KD-12")
@pytest.mark.parametrize("status", [500, 503, 403])
@pytest.mark.parametrize("use", USES)
def test_an_error_is_never_taken_for_a_missing_content(
    open_store: Callable[..., S3FileStore], service: FaultyService, use: str, status: int
) -> None:
    store, file_id = open_store(attempts=1), uuid4()
    store.put(file_id, [CONTENT])
    method, action = USES[use]
    service.fail(Fault(method, times=FOREVER, status=status, code="SlowDown" if status == 503 else "Broken"))

    with pytest.raises(UnavailableError):
        action(store, file_id)


@pytest.mark.contract("S-106", "KD-12")
@pytest.mark.parametrize("use", ["stat", "open", "empty range", "delete", "put", "ids", "parts", "check"])
def test_a_missing_bucket_is_not_taken_for_a_missing_content(object_server: ObjectServer, use: str) -> None:
    store = S3FileStore(object_server.options("meteorpi-nowhere"))

    with pytest.raises(UnavailableError):
        USES[use][1](store, uuid4())


def test_refused_keys_are_told(object_server: ObjectServer) -> None:
    if object_server.name == "moto":
        pytest.skip("moto accepts every signature")
    options = object_server.options(object_server.make_bucket(), secret_key="wrong")

    with pytest.raises(UnavailableError, match="does not let this node"):
        S3FileStore(options).put(uuid4(), [CONTENT])
    with pytest.raises(UnavailableError, match="does not let this node"):
        S3FileStore(options).stat(uuid4())


@pytest.mark.contract("S-106")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("QuotaExceeded", StoreFullError),
        ("XMinioStorageFull", StoreFullError),
        ("EntityTooLarge", TooLargeError),
    ],
)
def test_a_full_service_is_a_full_store(
    store: S3FileStore, service: FaultyService, code: str, error: type[Exception]
) -> None:
    service.fail(Fault("PUT", times=FOREVER, status=403, code=code))

    with pytest.raises(error):
        store.put(uuid4(), [CONTENT])


@pytest.mark.contract("S-134")
def test_a_service_that_refuses_conditions_is_used_without(
    open_store: Callable[..., S3FileStore], service: FaultyService
) -> None:
    store, file_id = open_store(conditional="auto"), uuid4()
    service.fail(Fault("PUT", mark=".probe/"))  # the first writes what the second must not replace
    service.fail(Fault("PUT", mark=".probe/", times=FOREVER, status=501, code="NotImplemented"))

    store.put(file_id, [CONTENT])

    assert read(store, file_id) == CONTENT
    assert "atomic-create" not in store.capabilities


@pytest.mark.contract("S-136")
def test_a_throttled_request_is_repeated_a_few_times(store: S3FileStore, service: FaultyService) -> None:
    file_id = uuid4()
    service.fail(Fault("PUT", times=2, status=503, code="SlowDown"))

    store.put(file_id, [CONTENT])

    assert read(store, file_id) == CONTENT
    assert len([line for line in service.seen if line.startswith("PUT")]) == 3


@pytest.mark.contract("S-136")
def test_repetition_is_bounded(open_store: Callable[..., S3FileStore], service: FaultyService) -> None:
    store = open_store(attempts=2)
    service.fail(Fault("PUT", times=FOREVER, status=503, code="SlowDown"))

    with pytest.raises(UnavailableError, match="SlowDown"):
        store.put(uuid4(), [CONTENT])

    assert len([line for line in service.seen if line.startswith("PUT")]) == 2


def test_a_service_that_is_silent_is_given_up(
    open_store: Callable[..., S3FileStore], service: FaultyService
) -> None:
    store, silence = open_store(attempts=1, read_timeout=1), threading.Event()
    service.fail(Fault("HEAD", silence=silence))

    try:
        with pytest.raises(UnavailableError, match="does not answer"):
            store.stat(uuid4())
    finally:
        silence.set()


def test_nobody_listening_is_told(moto_server: ObjectServer) -> None:
    with FaultyService(moto_server.port) as service:
        endpoint = service.endpoint
    store = S3FileStore(moto_server.options("any", endpoint=endpoint, attempts=1))

    with pytest.raises(UnavailableError, match="does not answer"):
        store.check()


@pytest.mark.contract("S-136")
@pytest.mark.parametrize(
    ("content", "method", "mark"),
    [(CONTENT, "PUT", ""), (IN_PARTS, "PUT", "partNumber=1"), (IN_PARTS, "POST", "uploadId=")],
    ids=["small", "part", "completion"],
)
def test_a_lost_answer_to_a_write_is_no_error(
    store: S3FileStore, service: FaultyService, content: bytes, method: str, mark: str
) -> None:
    file_id = uuid4()
    service.fail(Fault(method, mark, is_lost=True))

    stored = store.put(file_id, [content])

    assert stored.sha256 == facts(content).sha256
    assert read(store, file_id) == content
    assert store.find_stored(file_id) == stored


@pytest.mark.contract("S-131", "S-136")
def test_content_that_the_service_cut_short_is_not_kept(store: S3FileStore, service: FaultyService) -> None:
    """It is told to make the content of all parts but the last."""
    file_id = uuid4()
    service.fail(
        Fault("POST", "uploadId=", change=lambda body: re.sub(rb"(.*)<Part>.*</Part>", rb"\1", body))
    )

    with pytest.raises(UnavailableError, match="stored"):
        store.put(file_id, [IN_PARTS])

    assert store.stat(file_id) is None


@pytest.mark.contract("S-136", "S-141")
def test_a_download_goes_on_where_the_connection_broke(store: S3FileStore, service: FaultyService) -> None:
    file_id = uuid4()
    store.put(file_id, [LARGE])
    service.fail(Fault("GET", file_id.hex, cut_after=100_000))
    service.fail(Fault("GET", file_id.hex, cut_after=5))

    assert read(store, file_id) == LARGE
    assert read(store, file_id, 7, 2_000_000) == LARGE[7:2_000_000]


def test_a_download_that_breaks_again_and_again_is_an_error(
    store: S3FileStore, service: FaultyService
) -> None:
    """Never a shorter content."""
    file_id = uuid4()
    store.put(file_id, [LARGE])
    service.fail(Fault("GET", file_id.hex, times=FOREVER, cut_after=0))

    with pytest.raises(UnavailableError), store.open(file_id) as chunks:
        list(chunks)


def test_a_download_does_not_go_on_in_another_content(store: S3FileStore, service: FaultyService) -> None:
    file_id = uuid4()
    store.put(file_id, [LARGE])
    service.fail(Fault("GET", file_id.hex, cut_after=2 << 20))

    with store.open(file_id) as chunks:
        next(chunks)
        store.delete(file_id)
        store.put(file_id, [bytes(len(LARGE))])
        with pytest.raises(UnavailableError):
            list(chunks)


def test_a_download_of_what_was_removed_is_an_error(store: S3FileStore, service: FaultyService) -> None:
    file_id = uuid4()
    store.put(file_id, [LARGE])
    service.fail(Fault("GET", file_id.hex, cut_after=2 << 20))

    with store.open(file_id) as chunks:
        next(chunks)
        store.delete(file_id)
        with pytest.raises(UnavailableError, match="removed"):
            list(chunks)


@pytest.mark.contract("S-132")
def test_an_upload_in_parts_that_fails_is_given_up(store: S3FileStore, service: FaultyService) -> None:
    service.fail(Fault("PUT", "partNumber=2", times=FOREVER, status=500, code="InternalError"))

    with pytest.raises(UnavailableError):
        store.put(uuid4(), [IN_PARTS])

    assert any(line.startswith("DELETE") and "uploadId=" in line for line in service.seen)
    assert store.sweep().kept == 0
