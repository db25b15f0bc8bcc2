"""What only the local store does: layouts, taking files over, and other processes on the same directory."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import LocalFileStore, layout
from meteorpi_db.filestore.directory import ContentDirectory
from meteorpi_db.filestore.disk import Disk
from meteorpi_db.testing.filestore_samples import CONTENT, LARGE, facts, outcome, read
from meteorpi_model.errors import ConflictError, InvalidDocumentError, MeteorError, UnavailableError
from meteorpi_model.values import now
from tests.filestore.disks import RecordingDisk


@pytest.fixture
def store(tmp_path: Path) -> LocalFileStore:
    store = LocalFileStore(tmp_path / "store")
    store.prepare()
    return store


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "capture"
    path.write_bytes(CONTENT)
    return path


class Process:
    """A forked process that waits for :meth:`go`, does something and gives its outcome."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._start_read, self._start_write = os.pipe()
        self.id = os.fork()
        if self.id == 0:
            status = 2
            try:
                os.read(self._start_read, 1)
                error = outcome(action)
                status = 0 if error is None else 1 if error is ConflictError else 2
            finally:
                os._exit(status)

    def go(self) -> None:
        os.write(self._start_write, b"x")

    def status(self) -> int:
        status = os.waitstatus_to_exitcode(os.waitpid(self.id, 0)[1])
        os.close(self._start_read)
        os.close(self._start_write)
        return status


@pytest.mark.contract("S-104")
@pytest.mark.parametrize("has_links", [True, False])
def test_one_of_two_processes_wins_and_both_are_told(tmp_path: Path, has_links: bool) -> None:
    class LinklessDisk(Disk):
        def link(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, "no links")

    disk = Disk() if has_links else LinklessDisk()
    store = LocalFileStore(tmp_path, disk=disk)
    for _ in range(25):
        file_id = uuid4()
        contents = [b"first" * 9000, b"other" * 9000]
        processes = [Process(partial(store.put, file_id, [content])) for content in contents]

        for process in processes:
            process.go()
        statuses = [process.status() for process in processes]

        assert sorted(statuses) == [0, 1]
        assert read(store, file_id) == contents[statuses.index(0)]
    assert list(store.layout.own_files()) == []


@pytest.mark.contract("S-104")
def test_two_processes_with_the_same_bytes_both_succeed(store: LocalFileStore) -> None:
    for _ in range(10):
        file_id = uuid4()
        processes = [Process(partial(store.put, file_id, [CONTENT])) for _ in range(2)]

        for process in processes:
            process.go()

        assert [process.status() for process in processes] == [0, 0]
        assert read(store, file_id) == CONTENT


@pytest.mark.contract("S-103")
def test_reader_finishes_although_another_process_deletes(store: LocalFileStore) -> None:
    file_id = uuid4()
    store.put(file_id, [LARGE])
    other = Process(lambda: store.delete(file_id))

    with store.open(file_id) as chunks:
        begin = next(chunks)
        other.go()
        assert other.status() == 0
        assert store.stat(file_id) is None
        assert begin + b"".join(chunks) == LARGE


@pytest.mark.contract("S-105")
def test_temporary_file_of_a_living_process_is_kept_until_it_dies(store: LocalFileStore) -> None:
    ready_read, ready_write = os.pipe()

    def stalled() -> Iterator[bytes]:
        yield LARGE
        os.write(ready_write, b"x")
        signal.pause()

    other = Process(lambda: store.put(uuid4(), stalled()))
    other.go()
    os.read(ready_read, 1)
    later = now() + timedelta(days=1)

    alive = store.sweep(now=later)
    os.kill(other.id, signal.SIGKILL)
    assert other.status() == -signal.SIGKILL
    dead = store.sweep(now=later)

    assert (alive.removed, alive.kept) == (0, 1)
    assert (dead.removed, dead.kept) == (1, 0)
    os.close(ready_read)
    os.close(ready_write)


@pytest.mark.contract("S-125", "S-111")
def test_both_layouts_are_read_at_the_same_time(tmp_path: Path) -> None:
    flat, tree = LocalFileStore(tmp_path), LocalFileStore(tmp_path, layout="tree")
    ids = sorted(uuid4() for _ in range(20))
    for number, file_id in enumerate(ids):
        (flat if number % 2 else tree).put(file_id, [file_id.bytes])

    for store in (flat, tree):
        assert list(store.ids()) == ids
        assert list(store.ids(after=ids[7])) == ids[8:]
        assert [read(store, file_id) for file_id in ids] == [file_id.bytes for file_id in ids]
        with pytest.raises(ConflictError):
            store.put(ids[0], [b"other"])
        with pytest.raises(ConflictError):
            store.put(ids[1], [b"other"])
    assert tree.delete(ids[1])
    assert flat.delete(ids[0])
    assert list(flat.ids()) == list(tree.ids()) == ids[2:]


@pytest.mark.contract("S-125")
def test_tree_has_two_levels_of_256_directories(tmp_path: Path) -> None:
    store = LocalFileStore(tmp_path, layout="tree")

    assert store.layout.path(UUID("ab12" + "0" * 28)) == tmp_path / "ab" / "12" / ("ab12" + "0" * 28)


@pytest.mark.contract("S-110")
def test_flat_store_keeps_content_under_its_hex_id(store: LocalFileStore) -> None:
    file_id = uuid4()

    store.put(file_id, [CONTENT])

    assert (store.root / file_id.hex).read_bytes() == CONTENT
    with store.local_path(file_id) as path:
        assert path == store.root / file_id.hex


@pytest.mark.contract("B.1/ids")
def test_foreign_names_are_neither_listed_nor_swept(store: LocalFileStore) -> None:
    foreign = ["README", ".hidden", "ab", "A" * 32, "0" * 31, "0" * 33, "g" * 32]
    for name in foreign:
        (store.root / name).touch()
    (store.root / ("1" * 32)).mkdir()
    (store.root / "cd" / "ef").mkdir(parents=True)
    (store.root / "cd" / "ef" / ("0" * 32)).touch()

    store.sweep(0, parts_older_than_seconds=0, now=now() + timedelta(days=1))

    assert list(store.ids()) == []
    assert all((store.root / name).exists() for name in foreign)


@pytest.mark.contract("B.1/ids")
def test_listing_goes_on_beyond_one_window(store: LocalFileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_WINDOW", 7)
    ids = [UUID(int=number) for number in range(30)]
    for file_id in ids:
        (store.root / file_id.hex).touch()

    listed = store.ids()
    first = [next(listed) for _ in range(10)]
    (store.root / ids[25].hex).unlink()

    assert first == ids[:10]
    assert list(listed) == [file_id for file_id in ids[10:] if file_id != ids[25]]


@pytest.mark.contract("B.1/put_file")
@pytest.mark.parametrize("move", [True, False])
def test_file_of_the_same_file_system_is_taken_over_without_copying(
    tmp_path: Path, capture: Path, move: bool
) -> None:
    disk = RecordingDisk()
    store = LocalFileStore(tmp_path, disk=disk)
    file_id, inode, written_at = uuid4(), capture.stat().st_ino, capture.stat().st_mtime_ns

    stored = store.put_file(file_id, capture, move=move, may_link=True)

    taken = (tmp_path / file_id.hex).stat()
    assert (taken.st_ino, taken.st_mtime_ns) == (inode, written_at)
    assert capture.exists() is not move
    assert disk.steps == ["link", "flush", "set_mode", "link", "unlink", "flush_directory", "unlink"]
    assert stored.sha256 == facts(CONTENT).sha256
    assert abs(stored.stored_at - now()) < timedelta(minutes=1)


def test_file_that_is_neither_moved_nor_linked_is_copied(store: LocalFileStore, capture: Path) -> None:
    file_id = uuid4()

    store.put_file(file_id, capture, move=False)
    capture.write_bytes(b"changed later")

    assert read(store, file_id) == CONTENT


def test_file_with_further_names_is_copied(store: LocalFileStore, capture: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    backup.hardlink_to(capture)
    file_id = uuid4()

    store.put_file(file_id, capture)
    backup.write_bytes(b"changed later")

    assert read(store, file_id) == CONTENT


def test_target_of_a_symbolic_link_is_copied_and_only_the_link_removed(
    store: LocalFileStore, capture: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(capture)
    file_id = uuid4()

    store.put_file(file_id, link)
    capture.write_bytes(b"changed later")

    assert read(store, file_id) == CONTENT
    assert not link.is_symlink()
    assert list(store.layout.own_files()) == []


class WritingCamera(Disk):
    """A disk on which, by the time `step` is done, the camera has written more."""

    def __init__(self, step: str, capture: Path) -> None:
        super().__init__()
        self.step = step
        self.capture = capture

    def write_on(self, step: str) -> None:
        if step == self.step:
            self.step = "done"
            with self.capture.open("ab") as stream:
                stream.write(b"more")

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        self.write_on("link")

    def write(self, descriptor: int, block: bytes) -> None:
        super().write(descriptor, block)
        self.write_on("write")

    def flush(self, descriptor: int) -> None:
        super().flush(descriptor)
        self.write_on("flush")


@pytest.mark.contract("B.1/put_file")
@pytest.mark.parametrize(("step", "move"), [("link", True), ("flush", True), ("write", False)])
def test_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, capture: Path, step: str, move: bool
) -> None:
    capture.write_bytes(LARGE)
    store = LocalFileStore(tmp_path, disk=WritingCamera(step, capture))

    with pytest.raises(UnavailableError, match="changed"):
        store.put_file(uuid4(), capture, move=move)

    assert capture.read_bytes() == LARGE + b"more"
    assert list(store.ids()) == []
    assert list(store.layout.own_files()) == []


@pytest.mark.contract("B.1/put_file")
def test_file_that_changed_after_it_was_copied_is_not_removed(tmp_path: Path, capture: Path) -> None:
    (tmp_path / "backup").hardlink_to(capture)
    store = LocalFileStore(tmp_path, disk=WritingCamera("flush", capture))

    with pytest.raises(UnavailableError, match="changed"):
        store.put_file(uuid4(), capture)

    assert capture.read_bytes() == CONTENT + b"more"


@pytest.mark.parametrize("layout_name", ["flat", "tree"])
def test_content_of_the_store_is_not_taken_in_as_a_file(
    tmp_path: Path, layout_name: layout.LayoutName
) -> None:
    store = LocalFileStore(tmp_path, layout=layout_name)
    file_id = uuid4()
    store.put(file_id, [CONTENT])
    path = store.layout.path(file_id)

    for target in (file_id, uuid4()):
        with pytest.raises(InvalidDocumentError):
            store.put_file(target, path.parent / "." / path.name)

    assert list(store.ids()) == [file_id]


def test_captures_may_lie_inside_the_directory_of_the_store(store: LocalFileStore) -> None:
    incoming = store.root / "incoming"
    incoming.mkdir()
    (incoming / ("1" * 32)).write_bytes(CONTENT)
    file_id = uuid4()

    store.put_file(file_id, incoming / ("1" * 32))

    assert read(store, file_id) == CONTENT
    assert list(incoming.iterdir()) == []


@pytest.mark.contract("4/file-store")
def test_place_taken_by_a_file_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="not a directory"):
            LocalFileStore(path).prepare()


@pytest.mark.contract("B.1/check")
def test_check_names_what_is_wrong(store: LocalFileStore) -> None:
    store.root.rmdir()
    with pytest.raises(UnavailableError, match="find its directory"):
        store.check()
    store.root.touch()
    with pytest.raises(UnavailableError):
        store.check(probe=True)


@pytest.mark.contract("S-107")
def test_constructing_touches_nothing(tmp_path: Path) -> None:
    LocalFileStore(tmp_path / "a" / "b")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.contract("S-125")
def test_content_that_moves_to_the_other_layout_while_it_is_looked_for_is_found(tmp_path: Path) -> None:
    class MovingLayout(layout.Layout):
        """Somebody moves the content between the look into the tree and the look beside it."""

        def other_path(self, file_id: UUID) -> Path:
            found = super().other_path(file_id)
            self.path(file_id).parent.mkdir(parents=True)
            found.rename(self.path(file_id))
            return found

    file_id = uuid4()
    LocalFileStore(tmp_path).put(file_id, [CONTENT])

    found = ContentDirectory(MovingLayout(tmp_path, "tree"), Disk()).find(file_id)

    assert found.read_bytes() == CONTENT


def test_errors_have_no_path_of_the_store(store: LocalFileStore) -> None:
    store.root.rmdir()

    with pytest.raises(MeteorError) as caught:
        store.check()

    assert str(store.root) not in caught.value.detail
