"""Block routes while the disk, the service or the clock below them fails."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.filestore import Disk, hashing, verified
from meteorpi_db.filestore.s3 import bucket
from meteorpi_db.testing.object_servers import ObjectServer
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model import now
from tests.blocks.hammering import OWNER, application
from tests.blocks.making import PREFIX, StoredBlocks
from tests.blocks.signed_in import add_users
from tests.blocks.test_many_processes import check_tidiness
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock
from tests.s3.faulty_service import Fault, FaultyService

pytestmark = pytest.mark.engines("sqlite")

OLD, NEW = b"what was there before" * 500, b"what comes instead" * 700
FOREVER = 10**6


class Keeper:
    """The owner of a prefix, at a node with one object."""

    def __init__(self, db: MeteorDatabase, clock: StandingClock) -> None:
        add_users(db, "anna")
        StoredBlocks(db).make()
        self.db, self.clock = db, clock
        self._client: FlaskClient = application(db).app.test_client()
        assert self.put(OLD).status_code == 204

    def ask(self, method: str, content: bytes = b"", **options: Any) -> TestResponse:
        url = f"/api/v0/files/{PREFIX}/index"
        return self._client.open(url, method=method, data=content, headers=OWNER, **options)

    def put(self, content: bytes = NEW) -> TestResponse:
        return self.ask("PUT", content)

    def content(self) -> bytes:
        return bytes(self.ask("GET", buffered=True).data)

    def upkeep(self) -> None:
        """What a node does from time to time, a little later."""
        check_tidiness(self.db, self.clock)


@pytest.fixture
def open_keeper(
    open_database: OpenDatabase, new_database: Callable[[], str], file_store_path: str
) -> Callable[..., Keeper]:
    """Call it, if need be with the location of a store."""

    def open_(location: str | None = None) -> Keeper:
        clock = StandingClock(now())
        options: dict[str, Any] = {"file_store_path": location or file_store_path, "clock": clock}
        return Keeper(open_database(new_database(), db_user=USER, db_password=PASSWORD, **options), clock)

    return open_


@pytest.fixture
def keeper(open_keeper: Callable[..., Keeper]) -> Keeper:
    return open_keeper()


@pytest.mark.contract("J-04/full", "K-110", "K-126")
@pytest.mark.parametrize("step", ["create", "write", "flush", "link", "flush_directory"])
def test_a_full_disk_is_told_and_changes_nothing(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(Disk, step, fail)
        refused = keeper.put()

    assert (refused.status_code, refused.json["code"]) == (507, "store-full")  # type: ignore[index]
    assert keeper.content() == OLD
    assert keeper.put().status_code == 204
    assert keeper.content() == NEW
    keeper.upkeep()


@pytest.fixture
def service(moto_server: ObjectServer) -> Iterator[FaultyService]:
    with FaultyService(moto_server.port) as service:
        yield service


@pytest.fixture
def far_keeper(
    moto_server: ObjectServer, service: FaultyService, open_keeper: Callable[..., Keeper]
) -> Keeper:
    """Keeps contents behind the faulty service."""
    options = moto_server.options(moto_server.make_bucket())
    place = f"s3://{options.access_key}:{options.secret_key}@{options.bucket}/node"
    query = f"endpoint={service.endpoint}&region=us-east-1&conditional=yes&attempts=1&read_timeout=1"
    return open_keeper(f"{place}?{query}")


@pytest.mark.contract("J-04/store", "KD-12", "K-110")
@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied")]
)
def test_a_service_that_fails_is_unavailable_and_nothing_is_missing(
    far_keeper: Keeper, service: FaultyService, status: int, code: str
) -> None:
    for method in ("GET", "PUT"):
        service.fail(Fault(method, times=1, status=status, code=code))
        reply = far_keeper.ask(method, NEW if method == "PUT" else b"")

        assert (reply.status_code, reply.json["code"]) == (503, "unavailable")  # type: ignore[index]
        assert "Retry-After" in reply.headers
    assert far_keeper.content() == OLD
    assert far_keeper.put().status_code == 204
    assert far_keeper.content() == NEW
    far_keeper.upkeep()


@pytest.mark.contract("J-04/store")
def test_a_service_whose_answer_is_lost_has_kept_the_content(
    far_keeper: Keeper, service: FaultyService
) -> None:
    service.fail(Fault("PUT", times=1, is_lost=True))

    assert far_keeper.put().status_code in (204, 503)

    assert far_keeper.content() in (OLD, NEW)
    assert far_keeper.put().status_code == 204
    assert far_keeper.content() == NEW
    far_keeper.upkeep()


@pytest.mark.contract("J-04/store")
def test_a_removal_needs_no_service(far_keeper: Keeper, service: FaultyService) -> None:
    """The bytes go when it is there again (K-141)."""
    service.fail(Fault("DELETE", times=FOREVER, status=500, code="InternalError"))

    assert far_keeper.ask("DELETE").status_code == 204
    assert far_keeper.ask("GET").status_code == 404


@pytest.mark.contract("J-04/clock", "K-406", "K-151")
def test_a_clock_that_is_put_back_stops_nobody(keeper: Keeper) -> None:
    keeper.clock.time -= timedelta(days=400)

    assert keeper.put().status_code == 204
    assert keeper.content() == NEW
    assert keeper.ask("DELETE").status_code == 204
    assert keeper.put(OLD).status_code == 204
    keeper.clock.time += timedelta(days=400)
    keeper.upkeep()
    assert keeper.content() == OLD


class CountingHashlib:
    """The digests of :mod:`hashlib`, and how many bytes each kind was given."""

    def __init__(self) -> None:
        self.fed = {"md5": 0, "sha256": 0}

    def md5(self, data: bytes = b"", **options: Any) -> CountingDigest:
        return CountingDigest(self.fed, hashlib.md5(**options)).fed_with(data)

    def sha256(self, data: bytes = b"") -> CountingDigest:
        return CountingDigest(self.fed, hashlib.sha256()).fed_with(data)


class CountingDigest:
    """A digest that counts its bytes."""

    def __init__(self, fed: dict[str, int], digest: Any) -> None:
        self._fed, self._digest = fed, digest
        self.digest, self.hexdigest = digest.digest, digest.hexdigest

    def update(self, data: bytes) -> None:
        self._fed[self._digest.name] += len(data)
        self._digest.update(data)

    def fed_with(self, data: bytes) -> CountingDigest:
        self.update(data)
        return self


@pytest.mark.contract("I-02")
@pytest.mark.parametrize("place", ["local", "memory", "s3"])
def test_an_upload_is_hashed_once(
    place: str,
    open_keeper: Callable[..., Keeper],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the library that speaks to S3 does on its own is not counted."""
    keeper = open_keeper("memory:") if place == "memory" else open_keeper()
    if place == "s3":
        keeper = request.getfixturevalue("far_keeper")
    counting = CountingHashlib()
    for module in (hashing, verified, bucket):
        monkeypatch.setattr(module, "hashlib", counting)
    content = bytes(range(256)) * (3 << 12)

    assert keeper.put(content).status_code == 204

    assert counting.fed == {"md5": len(content), "sha256": len(content)}
    assert keeper.content() == content
