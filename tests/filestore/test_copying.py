"""Copying between stores: verified, repeatable, and never at the cost of what is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import (
    CHUNK_BYTES,
    ContentReader,
    FallbackFileStore,
    FileStore,
    LocalFileStore,
    MemoryFileStore,
    facts_of,
)
from meteorpi_db.filestore.copying import StoreCopier
from meteorpi_db.filestore.pacing import Pace, StoppedError
from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_model.errors import UnavailableError

CONTENTS = {UUID(int=number): f"content {number}".encode() * number for number in range(12)}
LARGE = uuid4()

MakeStore = Callable[[str], FileStore]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Makes a fresh store of the kind it is called with."""

    def make_store(kind: str) -> FileStore:
        if kind == "memory":
            return MemoryFileStore()
        if kind == "local":
            store: FileStore = LocalFileStore(tmp_path / uuid4().hex)
        else:
            server = request.getfixturevalue(f"{kind}_server")
            store = S3FileStore(server.options(server.make_bucket(), part_size=5 << 20))
        store.prepare()
        return store

    return make_store


def filled(store: FileStore, contents: dict[UUID, bytes] | None = None) -> FileStore:
    for file_id, content in (CONTENTS if contents is None else contents).items():
        store.put(file_id, [content])
    return store


def held(store: FileStore) -> dict[UUID, bytes]:
    return {file_id: store.read(file_id, 1 << 30) for file_id in store.ids()}


@pytest.mark.contract("B.6/copy", "S-111", "S-102")
@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("local", "moto"),
        ("moto", "local"),
        ("local", "rclone"),
        ("rclone", "memory"),
        ("memory", "local"),
        ("local", "local"),
    ],
)
def test_everything_is_copied_between_stores_of_any_kind(make: MakeStore, here: str, there: str) -> None:
    source, target = filled(make(here)), make(there)
    source.put(LARGE, (bytes([number]) * CHUNK_BYTES for number in range(12)))
    everything = held(source)

    report = StoreCopier(source, target).run()

    assert (report.copied, report.held, report.is_clean) == (13, 0, True)
    assert report.copied_bytes == sum(map(len, everything.values()))
    assert held(target) == everything == held(source)
    again = StoreCopier(source, target, deep=True).run()
    assert (again.copied, again.held, again.is_clean) == (0, 13, True)


@pytest.mark.contract("B.6/copy")
def test_what_is_there_is_skipped_and_what_only_the_other_has_stays(make: MakeStore) -> None:
    source, target = filled(make("memory")), make("local")
    own = {UUID(int=100): b"only there", UUID(int=5): CONTENTS[UUID(int=5)], UUID(int=0): b""}
    filled(target, own)

    report = StoreCopier(source, target).run()

    assert (report.copied, report.held) == (10, 2)
    assert held(target) == CONTENTS | own


@pytest.mark.contract("B.6/copy")
def test_copy_that_was_interrupted_goes_on(make: MakeStore) -> None:
    source, target = filled(make("local")), make("local")
    stop = threading.Event()

    first = StoreCopier(source, target, pace=Pace(None, stop), at_once=1).run(lambda *_: stop.set())
    second = StoreCopier(source, target).run()

    assert (first.is_interrupted, first.is_clean) == (True, False)
    assert 1 <= first.copied < 12
    assert (second.copied + second.held, second.is_clean) == (12, True)
    assert second.held >= first.copied
    assert held(target) == CONTENTS


@pytest.mark.contract("B.6/copy")
def test_content_that_is_not_as_recorded_is_listed_and_not_copied(make: MakeStore) -> None:
    source, target = filled(make("memory")), make("memory")
    facts = {file_id: facts_of([content]) for file_id, content in CONTENTS.items()}
    shorter, changed = UUID(int=3), UUID(int=4)
    for file_id, content in ((shorter, b"cut"), (changed, CONTENTS[changed][::-1])):
        source.delete(file_id)
        source.put(file_id, [content])

    copier = StoreCopier(source, target, recorded=lambda ids: {each: facts[each] for each in ids})
    report = copier.run()

    assert (report.damaged, report.copied, report.is_clean) == ([shorter, changed], 10, False)
    assert set(target.ids()) == CONTENTS.keys() - {shorter, changed}


@pytest.mark.contract("B.6/copy")
def test_other_bytes_under_the_same_id_are_found_by_reading_and_left_alone(make: MakeStore) -> None:
    source, target = filled(make("memory")), make("memory")
    filled(target, {UUID(int=7): b"something else"})

    assert StoreCopier(source, target).run().is_clean
    report = StoreCopier(source, target, deep=True).run()

    assert (report.differing, report.is_clean) == ([UUID(int=7)], False)
    assert held(target)[UUID(int=7)] == b"something else"


class _ForgetfulStore(MemoryFileStore):
    """Gives other bytes back than it took."""

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        return super().open(file_id, start + 1, stop)


@pytest.mark.contract("B.6/copy")
def test_what_cannot_be_read_back_is_not_left_there(make: MakeStore) -> None:
    target = _ForgetfulStore()

    report = StoreCopier(filled(make("memory"), {UUID(int=1): b"content"}), target).run()

    assert (report.differing, report.copied) == ([UUID(int=1)], 0)
    assert list(target.ids()) == []


class _LeavingStore(MemoryFileStore):
    """Lists one more content than it has, as if that were deleted in between."""

    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        yield from super().ids(after)
        yield UUID(int=1 << 100)


def test_content_deleted_meanwhile_is_no_finding(make: MakeStore) -> None:
    report = StoreCopier(filled(_LeavingStore()), make("memory")).run()

    assert (report.copied, report.gone, report.is_clean) == (12, 1, True)


class _BrokenStore(MemoryFileStore):
    """Fails for one content."""

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        if file_id == UUID(int=6):
            raise UnavailableError("the disk does not answer")
        return super().open(file_id, start, stop)


@pytest.mark.contract("B.6/copy")
def test_store_that_fails_is_told_and_what_was_copied_stays(make: MakeStore) -> None:
    source, target = filled(_BrokenStore()), make("memory")

    with pytest.raises(UnavailableError):
        StoreCopier(source, target, at_once=1).run()

    assert UUID(int=6) not in set(target.ids())
    assert len(held(target)) >= 6


@pytest.mark.contract("S-111", "B.6/copy")
@pytest.mark.parametrize(("old", "new"), [("local", "moto"), ("moto", "local")])
def test_store_is_used_all_the_time_while_its_contents_move(make: MakeStore, old: str, new: str) -> None:
    before, after = filled(make(old)), make(new)
    node_store = FallbackFileStore(after, before)
    written, deleted = uuid4(), UUID(int=2)

    node_store.put(written, [b"written meanwhile"])
    node_store.delete(deleted)
    everything = held(node_store)
    report = StoreCopier(before, node_store).run()

    assert report.is_clean
    assert held(after) == everything
    assert everything.keys() == CONTENTS.keys() - {deleted} | {written}
    assert StoreCopier(before, after).run().copied == 0


@pytest.mark.contract("B.6/copy")
def test_pace_makes_each_wait_for_the_bytes_before() -> None:
    times = iter([0.0, 0.0, 0.0, 100.0])
    pace = Pace(1000, clock=lambda: next(times))

    waits = [pace._seconds_to_wait(size) for size in (500, 250, 1000)]

    assert waits == [0.5, 0.75, 1.0]


def test_pace_that_is_stopped_ends_a_transfer() -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(StoppedError):
        list(Pace(1, stop).through([b"x" * 100_000]))
