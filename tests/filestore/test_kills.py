"""SIGKILL at every moment of every way to write: complete content or nothing, and never a lost source."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import Disk, LocalFileStore
from meteorpi_db.filestore.layout import LayoutName
from meteorpi_db.testing.filestore_samples import CONTENT, LARGE, facts, read, status_of_fork
from meteorpi_model.errors import ConflictError
from meteorpi_model.values import now
from tests.filestore.disks import KillingDisk, LinklessKillingDisk, LinklessRecordingDisk, RecordingDisk

FILE_ID = UUID("abcdef0123456789abcdef0123456789")


@dataclass(frozen=True)
class Way:
    """A way to write a content; `before` is done by a process that is not killed."""

    write: Callable[[LocalFileStore, Path], object]
    before: Callable[[LocalFileStore], object] = lambda store: None
    content: bytes = CONTENT
    layout: LayoutName = "flat"
    has_links: bool = True


def put(store: LocalFileStore, capture: Path) -> None:
    store.put(FILE_ID, [CONTENT[:300], CONTENT[300:]], size=len(CONTENT))


def put_large(store: LocalFileStore, capture: Path) -> None:
    store.put(FILE_ID, [LARGE])


def move(store: LocalFileStore, capture: Path) -> None:
    store.put_file(FILE_ID, capture)


def take_over(store: LocalFileStore, capture: Path) -> None:
    store.put_file(FILE_ID, capture, move=False, may_link=True)
    capture.unlink()


def resume(store: LocalFileStore, capture: Path) -> None:
    parts = store.parts(FILE_ID)
    offset = parts.offset
    if offset < len(CONTENT):
        parts.append(offset, [CONTENT[offset:]])
    parts.finish(len(CONTENT), {"md5": facts(CONTENT).md5})


def begin(store: LocalFileStore) -> None:
    store.parts(FILE_ID).append(0, [CONTENT[:777]])


def put_before(store: LocalFileStore) -> None:
    store.put(FILE_ID, [CONTENT])


WAYS = {
    "put": Way(put),
    "put large content": Way(put_large, content=LARGE),
    "put into a tree": Way(put, layout="tree"),
    "put without links": Way(put, has_links=False),
    "put the same again": Way(put, put_before),
    "move": Way(move),
    "move large content": Way(move, content=LARGE),
    "move into a tree": Way(move, layout="tree"),
    "move without links": Way(move, has_links=False),
    "take over": Way(take_over),
    "resume": Way(resume),
    "resume what was begun": Way(resume, begin),
    "resume into a tree": Way(resume, layout="tree"),
    "resume without links": Way(resume, has_links=False),
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return tmp_path / "capture"


def opened(root: Path, way: Way, disk: Disk | None = None) -> LocalFileStore:
    return LocalFileStore(root, layout=way.layout, disk=disk)


def prepared(root: Path, way: Way, capture: Path) -> LocalFileStore:
    """A store as it is before the write that is killed."""
    store = opened(root, way)
    store.prepare()
    way.before(store)
    capture.write_bytes(way.content)
    return store


def moments(root: Path, way: Way, capture: Path) -> list[str]:
    """All moments of the write when nobody disturbs it."""
    disk = RecordingDisk() if way.has_links else LinklessRecordingDisk()
    prepared(root, way, capture)
    way.write(opened(root, way, disk), capture)
    return disk.moments


def killed(root: Path, way: Way, capture: Path, at: int) -> LocalFileStore:
    """The store after a process was killed at a moment of the write."""
    store = prepared(root, way, capture)
    disk = KillingDisk(at) if way.has_links else LinklessKillingDisk(at)
    status = status_of_fork(lambda: way.write(opened(root, way, disk), capture))
    assert status == -signal.SIGKILL
    return store


def other_names(root: Path) -> Iterator[str]:
    """Names of files below `root` that are no contents."""
    for _, _, names in os.walk(root):
        yield from (name for name in names if name != FILE_ID.hex)


@pytest.mark.contract("S-105", "S-120", "S-126")
def test_kill_leaves_complete_content_or_nothing_and_the_write_can_be_repeated(
    tmp_path: Path, way: Way, capture: Path
) -> None:
    all_moments = moments(tmp_path / "whole", way, capture)
    assert len(all_moments) > 4

    for at in range(len(all_moments)):
        root = tmp_path / str(at)
        store = killed(root, way, capture, at)

        listed = list(store.ids())
        assert listed in ([], [FILE_ID])
        assert not listed or read(store, FILE_ID) == way.content
        assert capture.exists() or listed, f"lost by a kill {all_moments[at]}"
        assert all(name.startswith((".incoming-", ".parts-", ".lock-")) for name in other_names(root))

        if not capture.exists():
            capture.write_bytes(way.content)
        way.write(store, capture)
        assert read(store, FILE_ID) == way.content

        store.sweep(now=now() + timedelta(days=2))
        assert list(other_names(root)) == []
        assert read(store, FILE_ID) == way.content


@pytest.mark.contract("S-105")
def test_temporary_files_of_killed_writers_are_swept_when_an_hour_old(tmp_path: Path, capture: Path) -> None:
    way = Way(put)
    at = moments(tmp_path / "whole", way, capture).index("before link")
    store = killed(tmp_path / "store", way, capture, at)

    young = store.sweep(now=now() + timedelta(minutes=59))
    old = store.sweep(now=now() + timedelta(minutes=61))

    assert (young.removed, young.kept) == (0, 1)
    assert (old.removed, old.freed_bytes, old.kept) == (1, len(CONTENT), 0)


@pytest.mark.contract("S-104", "S-105")
def test_complete_content_never_grows_by_a_resumable_write_that_was_killed_while_it_finished(
    tmp_path: Path, capture: Path
) -> None:
    """The kill leaves the content under both names: a byte more would change what is complete."""
    way = Way(resume)
    at = moments(tmp_path / "whole", way, capture).index("after link")
    store = killed(tmp_path / "store", way, capture, at)
    parts = store.parts(FILE_ID)

    with pytest.raises(ConflictError):
        parts.append(parts.offset, [b"more"])

    assert read(store, FILE_ID) == CONTENT
    assert parts.finish(len(CONTENT)).sha256 == facts(CONTENT).sha256


@pytest.mark.contract("S-105")
def test_offset_of_a_killed_resumable_write_is_what_can_be_continued(tmp_path: Path, capture: Path) -> None:
    way = Way(resume, begin)
    at = moments(tmp_path / "whole", way, capture).index("within write")
    store = killed(tmp_path / "store", way, capture, at)
    parts = store.parts(FILE_ID)

    offset = parts.offset

    assert 777 <= offset < len(CONTENT)
    parts.append(offset, [CONTENT[offset:]])
    parts.finish(len(CONTENT), {"md5": facts(CONTENT).md5})
    assert read(store, FILE_ID) == CONTENT


@pytest.mark.contract("S-105")
def test_kills_at_any_time_leave_only_complete_contents(tmp_path: Path) -> None:
    store = LocalFileStore(tmp_path / "store", layout="tree")
    store.prepare()
    chance = random.Random(20150612)

    for _ in range(20):
        child = os.fork()
        if child == 0:
            write_for_ever(store)
        held = len(list(store.ids()))
        # Let it get some way: a few contents, then any point of the next ones.
        while len(list(store.ids())) < held + chance.randrange(1, 6):
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    for file_id in store.ids():
        content = read(store, file_id)
        assert content == file_id.bytes * (len(content) // 16)
        assert len(content) == content_length(file_id)
    store.sweep(now=now() + timedelta(days=2))
    assert list(store.layout.own_files()) == []


def content_length(file_id: UUID) -> int:
    return 16 * (1 + file_id.int % 60_000)


def write_for_ever(store: LocalFileStore) -> None:
    try:
        while True:
            file_id = uuid4()
            store.put(file_id, [file_id.bytes * (content_length(file_id) // 16)])
    finally:
        os._exit(1)
