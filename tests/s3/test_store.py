"""What an S3 store does beyond the contract of all stores, on every service at hand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests

from meteorpi_db.filestore.s3 import S3FileStore, S3Options, bucket, writing
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.filestore.s3.connecting import connect
from meteorpi_db.testing.filestore_samples import (
    CONTENT,
    LARGE,
    CutOffError,
    facts,
    outcome,
    read,
    status_of_fork,
)
from meteorpi_db.testing.object_servers import ObjectServer
from meteorpi_db.testing.processes import wait_until
from meteorpi_model.errors import ConflictError, InvalidDocumentError, TooLargeError, UnavailableError
from meteorpi_model.values import now
from tests.s3.conftest import SMALL_PARTS

IN_PARTS = LARGE * 4
"""More than two of the small parts."""

TWO_PARTS = IN_PARTS[: (5 << 20) + 1]


@pytest.fixture
def store(options: S3Options) -> S3FileStore:
    return S3FileStore(options)


def keys(store: S3FileStore) -> list[str]:
    """Everything in the bucket of the store, and what is unfinished there."""
    found = Bucket(store.options)
    return [each.key for each in found.listing("")] + [f"upload {each.key}" for each in found.uploads("")]


@pytest.mark.contract("S-132")
@pytest.mark.parametrize("parallel", [1, 2, 5])
@pytest.mark.parametrize("piece", [1 << 16, 7 << 20, len(IN_PARTS)])
def test_large_content_goes_in_parts(options: S3Options, parallel: int, piece: int) -> None:
    store, file_id = S3FileStore(with_changes(options, parallel=parallel)), uuid4()

    stored = store.put(file_id, (IN_PARTS[start : start + piece] for start in range(0, len(IN_PARTS), piece)))

    assert read(store, file_id) == IN_PARTS
    assert read(store, file_id, (5 << 20) - 3, (5 << 20) + 3) == IN_PARTS[(5 << 20) - 3 : (5 << 20) + 3]
    assert stored.sha256 == facts(IN_PARTS).sha256
    assert list(store.ids()) == [file_id]
    assert not [key for key in keys(store) if key.startswith("upload")]


@pytest.mark.contract("S-132")
def test_content_of_one_part_is_one_request(options: S3Options, monkeypatch: pytest.MonkeyPatch) -> None:
    store, uploads = S3FileStore(options), []
    monkeypatch.setattr(Bucket, "begin_upload", lambda *args: uploads.append(args))

    store.put(uuid4(), [bytes(options.part_size)])

    assert not uploads


@pytest.mark.contract("S-132", "KD-23")
def test_parts_grow_with_the_announced_size(options: S3Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be 10,000 of them at most; here two."""
    monkeypatch.setattr(writing, "MOST_PARTS", 2)
    store, file_id = S3FileStore(options), uuid4()

    with pytest.raises(TooLargeError, match="announce the size"):
        store.put(file_id, [IN_PARTS])
    store.put(file_id, [IN_PARTS], size=len(IN_PARTS))

    assert read(store, file_id) == IN_PARTS


@pytest.mark.contract("S-131", "S-133")
@pytest.mark.parametrize("content", [CONTENT, IN_PARTS], ids=["small", "in parts"])
def test_digests_are_kept_with_the_content(
    object_server: ObjectServer, store: S3FileStore, content: bytes
) -> None:
    file_id = uuid4()
    stored = store.put(file_id, [content])

    found = S3FileStore(store.options).stat(file_id)

    assert found is not None
    assert (found.size, found.md5, found.sha256, found.crc32) == tuple(vars(facts(content)).values())
    assert found.stored_at == stored.stored_at


@pytest.mark.contract("S-133")
def test_digests_of_another_state_are_not_believed(store: S3FileStore) -> None:
    """As when two writers of an id that nobody handed out twice were killed in turn."""
    file_id = uuid4()
    store.put(file_id, [IN_PARTS])
    (kept,) = [key for key in keys(store) if ".facts/" in key]
    found = Bucket(store.options)
    with found.get(kept).body as body:  # type: ignore[union-attr]
        old = body.read()
    store.delete(file_id)
    store.put(file_id, [IN_PARTS[::-1]])
    found.put(kept, old, {})

    stat = store.stat(file_id)

    assert stat is not None
    assert stat.sha256 is None
    assert store.find_stored(file_id).sha256 == facts(IN_PARTS[::-1]).sha256  # type: ignore[union-attr]
    with pytest.raises(ConflictError):
        store.put(file_id, [IN_PARTS])


def test_nothing_is_left_of_a_deleted_content(store: S3FileStore) -> None:
    file_id = uuid4()
    store.put(file_id, [IN_PARTS])

    store.delete(file_id)

    assert keys(store) == []


@contextmanager
def cut_off_at_deletions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Meanwhile whoever removes something comes no further."""
    delete = Bucket.delete

    def cut_off(bucket: Bucket, key: str) -> None:
        delete(bucket, key)
        if ".probe/" not in key:
            raise UnavailableError("the process is gone")

    with monkeypatch.context() as others:
        others.setattr(Bucket, "delete", cut_off)
        yield


def test_deletion_that_is_cut_off_can_be_repeated_and_leaves_nothing(
    options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file_id = S3FileStore(options), uuid4()
    store.put(file_id, [IN_PARTS])

    with cut_off_at_deletions(monkeypatch), pytest.raises(UnavailableError):
        store.delete(file_id)

    assert store.delete(file_id)
    assert keys(store) == []


@pytest.mark.contract("K-304")
def test_what_was_told_of_a_resumable_write_is_not_taken_back_by_its_end(
    options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file_id = S3FileStore(options), uuid4()
    for offset in range(0, 3000, 1000):
        store.parts(file_id).append(offset, [CONTENT[offset : offset + 1000]])

    with cut_off_at_deletions(monkeypatch), pytest.raises(UnavailableError):
        store.parts(file_id).finish(3000)

    assert store.parts(file_id).offset == 0  # so that the content itself is asked how far it has come
    assert store.parts(file_id).finish(3000).sha256 == facts(CONTENT[:3000]).sha256


@pytest.mark.contract("B.1/put")
def test_same_large_content_again_is_no_error_and_another_is_refused(store: S3FileStore) -> None:
    file_id = uuid4()
    first = store.put(file_id, [IN_PARTS])

    assert store.put(file_id, [IN_PARTS]) == first
    with pytest.raises(ConflictError):
        store.put(file_id, [CONTENT])
    with pytest.raises(ConflictError):
        store.put(file_id, [IN_PARTS, b"x"])

    assert read(store, file_id) == IN_PARTS


def test_stores_share_a_bucket_under_prefixes_and_with_others(options: S3Options) -> None:
    first, second = (S3FileStore(with_changes(options, prefix=prefix)) for prefix in ("a", "ab"))
    file_id = uuid4()
    Bucket(options).put("a/readme.txt", b"ours", {})
    Bucket(options).put(f"a/{uuid4().hex}/below", b"ours", {})

    first.put(file_id, [CONTENT])
    second.put(file_id, [b"other"])
    second.parts(file_id).append(0, [CONTENT])
    whole, theirs = S3FileStore(options), (f"ab/{uuid4().hex}", "video.mp4")
    for key in theirs:  # the whole bucket may be a store, too
        Bucket(options).begin_upload(key, {})
    for store in (first, whole):
        store.sweep(now=now() + timedelta(days=9))

    assert list(first.ids()) == list(second.ids()) == [file_id]
    assert (read(first, file_id), read(second, file_id)) == (CONTENT, b"other")
    assert second.parts(file_id).offset == len(CONTENT)
    assert {"a/readme.txt", *(f"upload {key}" for key in theirs)} <= set(keys(first))


@pytest.mark.contract("S-131")
@pytest.mark.parametrize("checksums", ["when_required", "when_supported"])
def test_bytes_go_with_their_md5_and_with_checksums_only_when_asked_for(
    moto_server: ObjectServer, checksums: str
) -> None:
    options = moto_server.options(moto_server.make_bucket(), checksums=checksums, **SMALL_PARTS)
    store, small, large = S3FileStore(options), uuid4(), uuid4()
    seen: list[tuple[str, set[str]]] = []

    def note(request: Any, **_: object) -> None:
        seen.append((request.method, {name.lower() for name in request.headers}))

    store._bucket._connected().meta.events.register("before-send.s3", note)
    store.put(small, [CONTENT])
    store.put(large, [TWO_PARTS])
    assert read(store, small) == CONTENT

    written = [names for method, names in seen if method == "PUT"]
    has_checksums = any(
        name.startswith(("x-amz-checksum", "x-amz-trailer")) for _, its in seen for name in its
    )
    assert all("content-md5" in names for names in written)
    assert has_checksums == (checksums == "when_supported")


@pytest.mark.contract("S-134", "S-104")
def test_writers_of_different_processes_are_kept_apart_by_the_service(
    object_server: ObjectServer, options: S3Options
) -> None:
    """Each of these stores knows nothing of the others, like stores of different processes."""
    if object_server.name == "rclone-s3":
        pytest.skip("rclone ignores If-None-Match: between processes the database hands out every id once")
    writers = 8
    barrier = threading.Barrier(writers)
    contents = [bytes([number]) * 50_000 for number in range(writers)]
    for _ in range(5):
        file_id = uuid4()

        def write(content: bytes, file_id: UUID = file_id) -> type[Exception] | None:
            store = S3FileStore(with_changes(options, conditional="yes"))
            barrier.wait()
            return outcome(lambda: store.put(file_id, [content]))

        with ThreadPoolExecutor(writers) as pool:
            outcomes = list(pool.map(write, contents))

        assert outcomes.count(None) == 1
        assert read(S3FileStore(options), file_id) == contents[outcomes.index(None)]


@pytest.mark.contract("S-134")
def test_what_the_service_honours_is_found_out(object_server: ObjectServer, store: S3FileStore) -> None:
    store.put(uuid4(), [CONTENT])

    assert ("atomic-create" in store.capabilities) == (object_server.name != "rclone-s3")
    assert not [key for key in keys(store) if ".probe" in key]


@pytest.mark.contract("S-132")
def test_a_broken_source_leaves_no_parts(store: S3FileStore) -> None:
    def source() -> Iterator[bytes]:
        yield IN_PARTS
        raise CutOffError

    with pytest.raises(CutOffError):
        store.put(uuid4(), source())

    assert keys(store) == []


@pytest.mark.contract("S-132")
def test_the_sweep_gives_up_old_uploads_in_parts_only(options: S3Options) -> None:
    ours, theirs = S3FileStore(options), Bucket(options)
    key, seen = options.key(uuid4().hex), []
    theirs.put_part(key, theirs.begin_upload(key, {}), 1, bytes(5 << 20))

    def source() -> Iterator[bytes]:
        yield IN_PARTS
        seen.append(ours.sweep(now=now() + timedelta(minutes=50)))
        seen.append(ours.sweep(now=now() + timedelta(minutes=70)))

    ours.put(uuid4(), source())

    assert [(report.removed, report.freed_bytes, report.kept) for report in seen] == [
        (0, 0, 2),
        (1, 5 << 20, 1),
    ]


class Killing:
    """Ends the process with SIGKILL at a request, before or after the service hears of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        self.at, self.when = -1, ""
        self._lock = threading.Lock()
        for name in ("put", "delete", "begin_upload", "put_part", "complete_upload", "head"):
            monkeypatch.setattr(Bucket, name, self._wrapped(getattr(Bucket, name)))

    def _wrapped(self, request: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **options: object) -> object:
            with self._lock:
                number = self.requests
                self.requests += 1
            if (number, self.when) == (self.at, "before"):
                os.kill(os.getpid(), signal.SIGKILL)
            answer = request(*args, **options)
            if (number, self.when) == (self.at, "after"):
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return wrapped

    def kills(self, requests: int, *, is_sequential: bool) -> Iterator[None]:
        """Has the next process killed at each moment of a write that makes so many requests.

        Where each waits for the one before, nothing lies between the end of one and the next.
        """
        moments = [(at, when) for at in range(requests) for when in ("before", "after")]
        for self.at, self.when in moments:
            if self.when == "before" or not is_sequential or self.at == requests - 1:
                self.requests = 0
                yield
        self.at = -1

    def spare(self) -> None:
        """Let this process live: the number of the request is beyond all that are killed."""
        self.requests = 1 << 30


@pytest.mark.contract("S-105", "J-04/killed")
@pytest.mark.parametrize("content", [CONTENT, TWO_PARTS], ids=["small", "in parts"])
def test_killed_at_any_request_a_write_is_whole_or_nothing_and_can_be_repeated(
    real_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    options = real_server.options(real_server.make_bucket(), **SMALL_PARTS)
    killing = Killing(monkeypatch)
    S3FileStore(options).put(uuid4(), [content])

    for _ in killing.kills(killing.requests, is_sequential=content is CONTENT):
        file_id = uuid4()
        status_of_fork(partial(S3FileStore(options).put, file_id, [content]))
        killing.spare()
        store = S3FileStore(options)
        if store.stat(file_id) is not None:
            assert read(store, file_id) == content
        assert store.put(file_id, [content]).sha256 == facts(content).sha256
        assert read(store, file_id) == content

    S3FileStore(options).sweep(now=now() + timedelta(hours=2))
    assert not [key for key in keys(S3FileStore(options)) if key.startswith("upload") or ".probe" in key]


@pytest.mark.contract("J-04/killed")
def test_killed_at_any_request_a_resumable_write_keeps_what_it_told(
    real_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = real_server.options(real_server.make_bucket(), **SMALL_PARTS)
    killing = Killing(monkeypatch)

    def write(file_id: UUID) -> bool:
        parts = S3FileStore(options).parts(file_id)
        offset = parts.offset
        while offset < len(CONTENT):
            offset = parts.append(offset, [CONTENT[offset : offset + 6000]])
        parts.finish(len(CONTENT), {"sha256": facts(CONTENT).sha256})
        return True

    write(uuid4())
    for _ in killing.kills(killing.requests, is_sequential=True):
        file_id = uuid4()
        status_of_fork(partial(write, file_id))
        killing.spare()

        assert write(file_id)
        assert read(S3FileStore(options), file_id) == CONTENT
        assert S3FileStore(options).parts(file_id).offset == 0


@pytest.mark.contract("S-135", "S-107", "KD-23")
def test_a_forked_process_makes_its_own_client(store: S3FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(options: S3Options) -> object:
        made.append(options)
        return connect(options)

    monkeypatch.setattr(bucket, "connect", counted)
    file_id = uuid4()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.stat(file_id), range(64)))
    store.put(file_id, [CONTENT])

    assert len(made) == 1
    assert status_of_fork(lambda: read(store, file_id) == CONTENT and len(made) == 2) == 0


@pytest.mark.contract("S-137")
def test_a_signed_url_gives_the_content_as_it_says(store: S3FileStore) -> None:
    file_id = uuid4()
    store.put(file_id, [CONTENT])

    url = store.url(file_id, content_type="image/x-meteor", disposition='attachment; filename="a b.fits"')
    answer = requests.get(url, timeout=30)

    assert answer.content == CONTENT
    assert answer.headers["Content-Type"] == "image/x-meteor"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a b.fits"'


@pytest.mark.contract("S-137")
def test_a_signed_url_cannot_be_changed_and_expires(object_server: ObjectServer, store: S3FileStore) -> None:
    if object_server.name == "moto":
        pytest.skip("moto checks neither signature nor expiry")
    file_id = uuid4()
    store.put(file_id, [CONTENT])
    url = store.url(file_id, expires_seconds=1, content_type="text/plain")

    changed = requests.get(url.replace("text%2Fplain", "text%2Fhtml"), timeout=30)

    assert changed.status_code == 403
    if object_server.name == "rclone-s3":
        pytest.skip("rclone checks no expiry")
    wait_until(lambda: requests.get(url, timeout=30).status_code == 403, 30, "expiry of the URL")


@pytest.mark.contract("S-137")
@pytest.mark.parametrize(("method", "seconds"), [("GET", 0), ("GET", 7 * 24 * 3600 + 1), ("POST", 60)])
def test_a_signed_url_is_bounded(store: S3FileStore, method: str, seconds: int) -> None:
    with pytest.raises(InvalidDocumentError):
        store.url(uuid4(), method, seconds)


@pytest.mark.contract("K-310")
def test_a_url_to_write_takes_no_other_size(object_server: ObjectServer, store: S3FileStore) -> None:
    if object_server.name == "moto":
        pytest.skip("moto checks no signature")
    file_id = uuid4()
    url = store.url(file_id, "PUT", size=len(CONTENT))

    assert requests.put(url, CONTENT + b"x", timeout=30).status_code == 403
    assert store.stat(file_id) is None
    assert requests.put(url, CONTENT, timeout=30).status_code == 200


def test_a_url_to_write_takes_a_content(store: S3FileStore) -> None:
    file_id = uuid4()

    answer = requests.put(store.url(file_id, "PUT"), CONTENT, timeout=30)

    assert answer.status_code == 200
    assert read(store, file_id) == CONTENT
    assert store.find_stored(file_id).sha256 == facts(CONTENT).sha256  # type: ignore[union-attr]


def with_changes(options: S3Options, **changes: Any) -> S3Options:
    return replace(options, **changes)
