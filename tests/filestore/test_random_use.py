"""Random sequences of everything a store can do, against a dictionary that does the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meteorpi_db.filestore import Disk, FileStore, LocalFileStore, MemoryFileStore
from meteorpi_db.filestore.layout import LayoutName
from meteorpi_db.testing.filestore_samples import CutOffError, cut_off, facts, read
from meteorpi_model.errors import ConflictError, DigestMismatchError, IncompleteBodyError, NotFoundError
from meteorpi_model.values import now

# Few ids and few contents, so that they meet often.
IDS = st.sampled_from([UUID(int=number << 96 | number) for number in (1, 2, 255, 2**31)])
CONTENTS = st.binary(max_size=12) | st.sampled_from([b"", b"a", b"ab", b"b" * 70_000])


def pieces(content: bytes, at: int) -> Iterator[bytes]:
    """`content` in two pieces."""
    yield content[:at]
    yield content[at:]


class StoreMachine(RuleBasedStateMachine):
    """One store; subclasses say which."""

    layouts: ClassVar[tuple[LayoutName, ...]] = ("flat",)
    has_links: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="meteorpi-test-"))
        self.restarts = 0
        self.contents: dict[UUID, bytes] = {}
        self.parts: dict[UUID, bytes] = {}
        self.store = self.open_store()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def open_store(self) -> FileStore:
        """The store as a process sees it that starts now."""
        layout = self.layouts[self.restarts % len(self.layouts)]
        return LocalFileStore(self.root, layout=layout, disk=Disk(durability="none"))

    @rule(file_id=IDS, content=CONTENTS, at=st.integers(0, 12))
    def put(self, file_id: UUID, content: bytes, at: int) -> None:
        """A complete upload, perhaps of an id that is taken."""
        if self.contents.setdefault(file_id, content) == content:
            stored = self.store.put(file_id, pieces(content, at), size=len(content))
            assert stored.sha256 == facts(content).sha256
        else:
            with pytest.raises(ConflictError):
                self.store.put(file_id, pieces(content, at))

    @rule(file_id=IDS, content=CONTENTS, move=st.booleans(), may_link=st.booleans())
    def put_file(self, file_id: UUID, content: bytes, move: bool, may_link: bool) -> None:
        """A file, moved, linked or copied."""
        path = self.root / "capture"
        path.write_bytes(content)
        if self.contents.setdefault(file_id, content) == content:
            self.store.put_file(file_id, path, move, may_link)
            assert path.exists() is not move
        else:
            with pytest.raises(ConflictError):
                self.store.put_file(file_id, path, move, may_link)
            assert path.read_bytes() == content
        path.unlink(missing_ok=True)

    @rule(file_id=IDS, content=CONTENTS)
    def put_wrong(self, file_id: UUID, content: bytes) -> None:
        """Uploads that must not be stored."""
        wrong = facts(content + b"x")
        with pytest.raises(DigestMismatchError):
            self.store.put(file_id, [content], digests={"md5": wrong.md5})
        with pytest.raises(IncompleteBodyError):
            self.store.put(file_id, [content], size=wrong.size)
        with pytest.raises(CutOffError):
            self.store.put(file_id, cut_off(content))

    @rule(file_id=IDS)
    def delete(self, file_id: UUID) -> None:
        """Of what is there, or not."""
        assert self.store.delete(file_id) is (self.contents.pop(file_id, None) is not None)

    @rule(file_id=IDS, start=st.integers(0, 15), length=st.none() | st.integers(0, 80_000))
    def open_range(self, file_id: UUID, start: int, length: int | None) -> None:
        """Any half open range."""
        stop = None if length is None else start + length
        if file_id in self.contents:
            assert read(self.store, file_id, start, stop) == self.contents[file_id][start:stop]
        else:
            with pytest.raises(NotFoundError):
                self.store.open(file_id, start, stop)

    @rule(file_id=IDS, content=CONTENTS, at=st.integers(0, 12), breaks=st.booleans())
    def append(self, file_id: UUID, content: bytes, at: int, breaks: bool) -> None:
        """More of a resumable write, the connection perhaps breaking after it."""
        held = self.parts.get(file_id, b"")
        self.parts[file_id] = held + content
        if breaks:
            with pytest.raises(CutOffError):
                self.store.parts(file_id).append(len(held), cut_off(content))
        else:
            end = self.store.parts(file_id).append(len(held), pieces(content, at))
            assert end == len(held) + len(content)

    @rule(file_id=IDS, off_by=st.integers(-3, 3).filter(bool))
    def append_elsewhere(self, file_id: UUID, off_by: int) -> None:
        """Never accepted; begins the resumable write all the same."""
        end = len(self.parts.setdefault(file_id, b""))
        with pytest.raises(ConflictError):
            self.store.parts(file_id).append(end + off_by, [b"x"])

    @precondition(lambda self: self.parts)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """The end of a resumable write, which may find the id taken."""
        file_id = data.draw(st.sampled_from(sorted(self.parts)))
        content = self.parts[file_id]
        with pytest.raises(IncompleteBodyError):
            self.store.parts(file_id).finish(len(content) + 1)
        if self.contents.setdefault(file_id, content) == content:
            self.store.parts(file_id).finish(len(content), {"sha256": facts(content).sha256})
            del self.parts[file_id]
        else:
            with pytest.raises(ConflictError):
                self.store.parts(file_id).finish(len(content))

    @precondition(lambda self: self.parts)
    @rule(data=st.data())
    def finish_wrong(self, data: st.DataObject) -> None:
        """Wrong bytes are discarded."""
        file_id = data.draw(st.sampled_from(sorted(self.parts)))
        content = self.parts.pop(file_id)
        with pytest.raises(DigestMismatchError):
            self.store.parts(file_id).finish(len(content), {"md5": facts(content + b"x").md5})

    @rule(file_id=IDS)
    def discard(self, file_id: UUID) -> None:
        """A resumable write given up."""
        self.parts.pop(file_id, None)
        self.store.parts(file_id).discard()

    @rule()
    def sweep(self) -> None:
        """Takes what is a day old and nothing else."""
        report = self.store.sweep(now=now() + timedelta(days=2))
        assert report.removed == len(self.parts)
        assert report.freed_bytes == sum(map(len, self.parts.values()))
        self.parts.clear()

    @rule()
    def restart(self) -> None:
        """Another process goes on."""
        self.restarts += 1
        self.store = self.open_store()

    @invariant()
    def contents_agree(self) -> None:
        """What the store holds is what the dictionary holds."""
        assert list(self.store.ids()) == sorted(self.contents)
        for file_id, content in self.contents.items():
            found = self.store.stat(file_id)
            assert found is not None
            assert found.size == len(content)
            assert read(self.store, file_id) == content

    @invariant()
    def parts_agree(self) -> None:
        """Every resumable write stands where the dictionary says."""
        for file_id, content in self.parts.items():
            assert self.store.parts(file_id).offset == len(content)


class FlatMachine(StoreMachine):
    """A flat local store."""


class BothLayoutsMachine(StoreMachine):
    """A local store whose layout changes with every restart."""

    layouts = ("flat", "tree")


class MemoryMachine(StoreMachine):
    """The memory store: counts its bytes exactly, and a restart would empty it."""

    def open_store(self) -> FileStore:
        return MemoryFileStore(limit_bytes=1 << 30) if self.restarts == 0 else self.store

    @invariant()
    def room_agrees(self) -> None:
        """No byte is counted that is not held, none held that is not counted."""
        held = sum(map(len, [*self.contents.values(), *self.parts.values()]))
        assert self.store.free_bytes() == (1 << 30) - held


def case_of(machine: type[StoreMachine]) -> Any:
    case = machine.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
    return case


TestFlatMachine = case_of(FlatMachine)
TestBothLayoutsMachine = case_of(BothLayoutsMachine)
TestMemoryMachine = case_of(MemoryMachine)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[FileStore], UUID, bytes]:
    """Stores that hold one content of several chunks."""
    content = bytes(range(251)) * 20_000
    stores: list[FileStore] = [LocalFileStore(tmp_path_factory.mktemp("store")), MemoryFileStore()]
    for store in stores:
        store.put(UUID(int=1), [content])
    return stores, UUID(int=1), content


@pytest.mark.contract("B.1/open")
@given(start=st.integers(0, 6_000_000), length=st.none() | st.integers(0, 6_000_000))
def test_every_range_is_the_slice(
    large: tuple[Iterable[FileStore], UUID, bytes], start: int, length: int | None
) -> None:
    stores, file_id, content = large
    stop = None if length is None else start + length

    for store in stores:
        assert read(store, file_id, start, stop) == content[start:stop]
