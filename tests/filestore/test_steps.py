"""The steps of a local write: their order, their modes, their failures."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db.filestore import Disk, FileStore, LocalFileStore
from meteorpi_db.filestore.disk import Durability
from meteorpi_db.testing.filestore_samples import CONTENT, LARGE, read
from meteorpi_model.errors import (
    ConflictError,
    InvalidDocumentError,
    MeteorError,
    NotFoundError,
    StoreFullError,
    TooLargeError,
    UnavailableError,
)
from tests.filestore.disks import FailingDisk, LinklessRecordingDisk, NoLinksDisk, RecordingDisk

WHOLE_WRITE = ["lock", "set_mode", "create", "write", "flush", "link", "unlink", "flush_directory", "unlink"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    LocalFileStore(tmp_path / "store").prepare()
    return tmp_path / "store"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "capture"
    path.write_bytes(CONTENT)
    return path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


def write_in_parts(store: FileStore, chunks: Iterable[bytes]) -> None:
    parts = store.parts(uuid4())
    parts.finish(parts.append(0, chunks))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.contract("S-120")
def test_data_is_flushed_before_the_name_and_the_directory_after(root: Path) -> None:
    disk = RecordingDisk()

    LocalFileStore(root, disk=disk).put(uuid4(), [CONTENT])

    assert disk.steps == WHOLE_WRITE


@pytest.mark.contract("S-120")
def test_temporary_file_is_in_the_directory_of_the_content(root: Path) -> None:
    store = LocalFileStore(root, layout="tree")
    file_id = UUID("ab12cd34ab12cd34ab12cd34ab12cd34")
    seen: list[str] = []

    def source() -> Iterator[bytes]:
        seen.extend(names(root))
        yield CONTENT

    store.put(file_id, source())

    assert [name.startswith(f"ab/12/.incoming-{file_id.hex}-") for name in seen] == [True]
    assert names(root) == [f"ab/12/{file_id.hex}"]


@pytest.mark.contract("S-120")
def test_created_directories_are_flushed_from_the_top_and_once(root: Path) -> None:
    disk = RecordingDisk()
    store = LocalFileStore(root, layout="tree", disk=disk)

    store.put(UUID("ab12cd34ab12cd34ab12cd34ab12cd34"), [CONTENT])
    first = disk.steps[:]
    store.put(UUID("ab12ffffab12cd34ab12cd34ab12cd34"), [CONTENT])

    assert first == ["make_directory", "flush_directory"] * 2 + WHOLE_WRITE
    assert disk.steps[len(first) :] == WHOLE_WRITE


def test_prepare_flushes_every_directory_it_creates(tmp_path: Path) -> None:
    disk = RecordingDisk()

    LocalFileStore(tmp_path / "a" / "b" / "c", disk=disk).prepare()

    assert disk.steps == ["make_directory", "flush_directory"] * 3


def test_branch_removed_by_somebody_is_made_again(root: Path) -> None:
    store = LocalFileStore(root, layout="tree")
    file_id = UUID("ab12cd34ab12cd34ab12cd34ab12cd34")
    store.put(file_id, [CONTENT])
    store.delete(file_id)
    (root / "ab" / "12").rmdir()

    store.put(file_id, [CONTENT])

    assert read(store, file_id) == CONTENT


@pytest.mark.contract("S-120", "S-126")
def test_without_hard_links_a_rename_under_a_lock_never_replaces_content(root: Path) -> None:
    disk = LinklessRecordingDisk()
    store = LocalFileStore(root, disk=disk)
    file_id = uuid4()

    store.put(file_id, [CONTENT])
    with pytest.raises(ConflictError):
        store.put(file_id, [b"other"])

    assert disk.steps.count("rename") == 1
    assert names(root) == [file_id.hex]
    assert read(store, file_id) == CONTENT


@pytest.mark.contract("S-126")
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EACCES, errno.ENOSYS])
def test_each_way_of_having_no_links_is_understood(root: Path, capture: Path, code: int) -> None:
    store = LocalFileStore(root, disk=NoLinksDisk(code))
    ids = [uuid4(), uuid4()]

    store.put(ids[0], [CONTENT])
    store.put_file(ids[1], capture)

    assert [read(store, file_id) for file_id in ids] == [CONTENT, CONTENT]
    assert not capture.exists()


@pytest.mark.contract("S-121")
@pytest.mark.parametrize(
    ("durability", "flushes"),
    [("full", ["flush", "flush_directory"]), ("data", ["flush"]), ("none", [])],
)
def test_durability_says_what_is_flushed(
    root: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability, flushes: list[str]
) -> None:
    seen: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append("flush_directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "flush")
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    LocalFileStore(root, disk=Disk(durability=durability)).put(uuid4(), [CONTENT])

    assert seen == flushes


@pytest.mark.contract("S-121")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_system_without_flushing_is_reported_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    store = LocalFileStore(root)

    with caplog.at_level(logging.WARNING, logger="meteorpi.db.filestore"):
        for _ in range(3):
            store.put(uuid4(), [CONTENT])

    warnings = sorted(record.getMessage() for record in caplog.records)
    assert len(warnings) == 2
    assert "no flushing of directories" in warnings[0]
    assert "no flushing of files" in warnings[1]


@pytest.mark.contract("S-122")
@pytest.mark.parametrize("step", ["flush", "flush_directory"])
def test_failed_flush_is_a_failed_write_and_not_repeated(root: Path, step: str) -> None:
    store = LocalFileStore(root, disk=FailingDisk(step, errno.EIO))
    file_id = uuid4()

    with pytest.raises(UnavailableError):
        store.put(file_id, [CONTENT])

    # A failed flush of the directory comes after the content got its name: then it is complete.
    assert names(root) == ([] if step == "flush" else [file_id.hex])


@pytest.mark.contract("S-122")
def test_write_repeated_after_a_failed_flush_of_the_directory_flushes_it(root: Path) -> None:
    file_id = uuid4()
    with pytest.raises(UnavailableError):
        LocalFileStore(root, disk=FailingDisk("flush_directory", errno.EIO)).put(file_id, [CONTENT])
    disk = RecordingDisk()

    LocalFileStore(root, disk=disk).put(file_id, [CONTENT])

    assert disk.steps[-3:] == ["flush", "flush_directory", "unlink"]


@pytest.mark.contract("S-106")
@pytest.mark.parametrize("step", ["create", "write", "flush", "link"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, StoreFullError),
        (errno.EDQUOT, StoreFullError),
        (errno.EIO, UnavailableError),
        (errno.EROFS, UnavailableError),
        (errno.ESTALE, UnavailableError),
        (errno.EMFILE, UnavailableError),
        (errno.EFBIG, TooLargeError),
    ],
    ids=lambda value: errno.errorcode.get(value) if isinstance(value, int) else value.__name__,
)
def test_each_error_of_the_disk_has_its_own_class(
    root: Path, capture: Path, step: str, code: int, expected: type[MeteorError]
) -> None:
    is_of_a_copy = step in ("create", "write")
    ways: list[Callable[[FileStore], object]] = [
        lambda store: store.put(uuid4(), [CONTENT]),
        lambda store: store.put_file(uuid4(), capture, move=not is_of_a_copy),
        lambda store: write_in_parts(store, [CONTENT]),
    ]
    for write in ways:
        store = LocalFileStore(root, disk=FailingDisk(step, code))
        with pytest.raises(MeteorError) as caught:
            write(store)

        assert type(caught.value) is expected
        assert isinstance(caught.value.__cause__, OSError)
        assert capture.exists()
        assert list(store.ids()) == []
        assert str(root) not in caught.value.detail


def test_bytes_written_before_the_disk_was_full_are_kept_of_a_resumable_write(root: Path) -> None:
    file_id = uuid4()
    parts = LocalFileStore(root, disk=FailingDisk("write", errno.ENOSPC, after=2)).parts(file_id)

    with pytest.raises(StoreFullError):
        parts.append(0, [CONTENT[:10], CONTENT[10:20], CONTENT[20:30]])

    assert parts.offset == 20


@pytest.mark.contract("S-106")
def test_store_whose_directory_is_gone_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    store = LocalFileStore(tmp_path / "not mounted")
    file_id = uuid4()

    for action in (
        lambda: store.stat(file_id),
        lambda: store.open(file_id),
        lambda: store.delete(file_id),
        lambda: list(store.ids()),
        lambda: store.put(file_id, [CONTENT]),
        lambda: store.parts(file_id).offset,
        lambda: store.parts(file_id).append(0, [CONTENT]),
        store.sweep,
        store.free_bytes,
        store.check,
    ):
        with pytest.raises(UnavailableError):
            action()
    assert not store.root.exists()


@pytest.mark.contract("S-106")
def test_errors_while_looking_are_not_reported_as_missing(root: Path) -> None:
    """A link to itself is found and cannot be read, as with many another broken file system."""
    store = LocalFileStore(root)
    file_id = uuid4()
    (root / file_id.hex).symlink_to(file_id.hex)

    with pytest.raises(UnavailableError):
        store.open(file_id)
    with pytest.raises(UnavailableError):
        store.stat(file_id)


@pytest.mark.contract("S-124")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777], ids=oct)
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, mask: int) -> None:
    capture = tmp_path / "capture"
    capture.write_bytes(CONTENT)
    capture.chmod(0o666)
    store = LocalFileStore(tmp_path / "a" / "store", layout="tree")
    ids = [uuid4() for _ in range(3)]

    with umask(mask):
        store.prepare()
        store.put(ids[0], [CONTENT])
        store.put_file(ids[1], capture)
        store.parts(ids[2]).append(0, [CONTENT])
        store.parts(ids[2]).finish(len(CONTENT))

    paths = [store.layout.path(file_id) for file_id in ids]
    assert [mode(path) for path in paths] == [0o640] * 3
    assert {mode(directory) for path in paths for directory in list(path.parents)[:4]} == {0o750}


@pytest.mark.contract("S-124")
def test_modes_are_configurable(tmp_path: Path) -> None:
    disk = Disk(file_mode=0o600, directory_mode=0o700)
    store = LocalFileStore(tmp_path / "store", disk=disk)
    store.prepare()
    file_id = uuid4()

    store.put(file_id, [CONTENT])

    assert (mode(store.root), mode(store.layout.path(file_id))) == (0o700, 0o600)


@pytest.mark.contract("S-123")
@pytest.mark.parametrize("way", ["announced", "unannounced", "file", "parts"])
def test_space_to_keep_free_is_kept(root: Path, tmp_path: Path, way: str) -> None:
    capture = tmp_path / "capture"
    capture.write_bytes(LARGE)
    # Room for half of the content before it would go below.
    roomy = LocalFileStore(root)
    min_free = roomy.free_bytes() - len(LARGE) // 2
    store = LocalFileStore(root, disk=ShrinkingDisk(min_free_bytes=min_free))
    pulled = []

    def source() -> Iterator[bytes]:
        for start in range(0, len(LARGE), 1 << 20):
            pulled.append(start)
            yield LARGE[start : start + (1 << 20)]

    ways: dict[str, Callable[[], object]] = {
        "announced": lambda: store.put(uuid4(), source(), size=len(LARGE)),
        "unannounced": lambda: store.put(uuid4(), source()),
        "file": lambda: store.put_file(uuid4(), capture, move=False),
        "parts": lambda: write_in_parts(store, source()),
    }

    with pytest.raises(StoreFullError):
        ways[way]()

    assert list(store.ids()) == []
    assert way != "announced" or pulled == []
    assert way != "unannounced" or 0 < len(pulled) < 4


class ShrinkingDisk(Disk):
    """A disk that nobody else writes to: its free space is what was there less what was written."""

    def __init__(self, min_free_bytes: int) -> None:
        super().__init__(min_free_bytes=min_free_bytes)
        self.free = min_free_bytes + len(LARGE) // 2

    def free_bytes(self, place: int | Path) -> int:
        return self.free

    def write(self, descriptor: int, block: bytes) -> None:
        super().write(descriptor, block)
        self.free -= len(block)


@pytest.mark.contract("S-123")
def test_negative_space_to_keep_free_is_refused() -> None:
    with pytest.raises(InvalidDocumentError):
        Disk(min_free_bytes=-1)


def test_temporary_name_that_cannot_be_removed_does_not_hide_the_error(root: Path) -> None:
    class StubbornDisk(FailingDisk):
        def unlink(self, path: Path) -> None:
            raise PermissionError(errno.EPERM, "stubborn")

    store = LocalFileStore(root, disk=StubbornDisk("flush", errno.ENOSPC))

    with pytest.raises(StoreFullError):
        store.put(uuid4(), [CONTENT])

    assert list(store.ids()) == []


@pytest.mark.contract("S-107")
def test_nothing_stays_open_after_any_outcome(root: Path, capture: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    store: FileStore = LocalFileStore(root)
    file_id = uuid4()

    store.put(file_id, [LARGE])
    store.put_file(uuid4(), capture, move=False, may_link=True)
    read(store, file_id, 5, 10)
    with store.open(file_id) as chunks:
        next(chunks)
    with pytest.raises(ConflictError):
        store.put_file(file_id, capture)
    with pytest.raises(NotFoundError):
        store.open(uuid4())
    store.parts(file_id).discard()
    store.sweep()

    assert len(list(Path("/proc/self/fd").iterdir())) == before
