"""Where contents come from: only what was planned, and nothing beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from meteorpi_db.filestore import FileStore, LocalFileStore, MemoryFileStore
from meteorpi_model.errors import UnavailableError
from meteorpi_server.archiving import Entry
from meteorpi_server.archiving.failures import Reason, SourceFailedError
from meteorpi_server.archiving.sources import PathSource, RecordSource, Source, TextSource, file_identity
from tests.archive.plans import MTIME, filling, text_entry

FILE_ID = UUID(int=7)
CONTENT = filling(600_000, 3)


def record_entry(size: int = len(CONTENT)) -> Entry:
    return Entry(name="a", kind="record", reference=FILE_ID.hex, size=size, crc=0, mtime=MTIME)


def path_entry(root: Path, reference: str) -> Entry:
    found = (root / reference).stat()
    details = file_identity(found)
    return Entry(
        name="a", kind="path", reference=reference, size=found.st_size, crc=0, mtime=MTIME, details=details
    )


def content(source: Source, entry: Entry, start: int = 0, stop: int | None = None) -> bytes:
    with closing(source.open(entry, start, entry.size if stop is None else stop)) as chunks:
        return b"".join(chunks)


def reason_of(work: Callable[[], object]) -> Reason:
    with pytest.raises(SourceFailedError) as raised:
        work()
    return raised.value.reason


@pytest.fixture(params=[LocalFileStore, MemoryFileStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    made: FileStore = MemoryFileStore() if request.param is MemoryFileStore else LocalFileStore(tmp_path)
    made.prepare()
    made.put(FILE_ID, [CONTENT])
    return made


@pytest.mark.contract("archive-3.5/sources")
@pytest.mark.parametrize(("start", "stop"), [(0, 600_000), (0, 1), (5, 300_001), (599_999, 600_000), (7, 7)])
def test_record_gives_the_bytes_asked_for_from_any_store(store: FileStore, start: int, stop: int) -> None:
    source = RecordSource(store)

    assert content(source, record_entry(), start, stop) == CONTENT[start:stop]
    source.check(record_entry())


@pytest.mark.contract("archive-3.5/sources")
def test_small_record_is_read_at_once(store: FileStore) -> None:
    assert RecordSource(store).read(record_entry()) == CONTENT


@pytest.mark.contract("archive-3.5/missing", "archive-3.12/before")
def test_record_whose_content_is_not_here_is_missing(store: FileStore) -> None:
    source, entry = RecordSource(store), replace(record_entry(), reference=UUID(int=8).hex)

    assert reason_of(lambda: source.check(entry)) is Reason.MISSING
    assert reason_of(lambda: source.open(entry, 0, 1)) is Reason.MISSING
    assert reason_of(lambda: source.read(entry)) is Reason.MISSING


@pytest.mark.contract("archive-3.5/damaged")
def test_record_of_another_size_is_found_out(store: FileStore) -> None:
    source = RecordSource(store)

    assert reason_of(lambda: source.check(record_entry(5))) is Reason.LONG
    assert reason_of(lambda: source.check(record_entry(700_000))) is Reason.SHORT
    assert reason_of(lambda: source.open(record_entry(700_000), 1, 2)) is Reason.SHORT
    assert len(content(source, record_entry(5))) == 6


def test_store_that_cannot_answer_may_be_asked_again() -> None:
    class Unmounted(MemoryFileStore):
        def open(self, *_: object) -> None:  # type: ignore[override]
            raise UnavailableError("the disk is not there")

    with pytest.raises(SourceFailedError) as raised:
        RecordSource(Unmounted()).read(record_entry())

    assert raised.value.retry


@pytest.mark.contract("archive-3.11/tree", "archive-defect-9")
def test_path_gives_the_bytes_asked_for(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.bin").write_bytes(CONTENT)
    source, entry = PathSource(tmp_path), path_entry(tmp_path, "night/a.bin")

    source.check(entry)

    assert content(source, entry) == CONTENT
    assert content(source, entry, 5, 300_001) == CONTENT[5:300_001]
    assert source.read(entry) == CONTENT


@pytest.mark.contract("archive-defect-9", "archive-6.7")
@pytest.mark.parametrize(
    "reference",
    ["", "/etc/passwd", "../outside", "night/../../outside", "night//a", "./a", "night/.", "a\0b", "night/"],
)
def test_paths_that_lead_elsewhere_are_refused(tmp_path: Path, reference: str) -> None:
    root = tmp_path / "storage"
    (root / "night").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"secret")
    entry = Entry(name="a", kind="path", reference=reference, size=6, crc=0, mtime=MTIME)

    assert reason_of(lambda: PathSource(root).open(entry, 0, 6)) is Reason.REFUSED


@pytest.mark.contract("archive-defect-9", "archive-3.11/tree", "archive-6.7")
@pytest.mark.parametrize("reference", ["link", "folder/secret", "folder/inner/secret"])
def test_symbolic_links_are_not_followed(tmp_path: Path, reference: str) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    for path in (outside / "secret", outside / "inner" / "secret"):
        path.write_bytes(b"secret")
    root = tmp_path / "storage"
    root.mkdir()
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    source = PathSource(root)
    entry = Entry(name="a", kind="path", reference=reference, size=6, crc=0, mtime=MTIME)

    for work in (lambda: source.check(entry), lambda: source.open(entry, 0, 6), lambda: source.read(entry)):
        assert reason_of(work) is Reason.UNREADABLE


def test_storage_itself_may_be_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert PathSource(tmp_path / "link").read(path_entry(tmp_path / "link", "a")) == b"a"


@pytest.mark.contract("archive-3.11/tree")
def test_pipe_and_directory_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "folder"):
        entry = Entry(name="a", kind="path", reference=name, size=0, crc=0, mtime=MTIME)
        assert reason_of(lambda entry=entry: PathSource(tmp_path).check(entry)) is Reason.REFUSED  # type: ignore[misc]


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace_by_twin(path: Path) -> None:
    twin = path.with_name("twin")
    twin.write_bytes(path.read_bytes())
    twin.replace(path)


CHANGES: dict[Reason, Callable[[Path], object]] = {
    Reason.LONG: grow,
    Reason.SHORT: lambda path: os.truncate(path, 5),
    Reason.CHANGED: replace_by_twin,
    Reason.MISSING: Path.unlink,
}


@pytest.mark.contract("archive-3.12/after", "archive-4.5", "archive-3.12/before")
@pytest.mark.parametrize("reason", CHANGES)
def test_file_that_changed_since_it_was_planned_is_found_out(tmp_path: Path, reason: Reason) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    source, entry = PathSource(tmp_path), path_entry(tmp_path, "a")
    CHANGES[reason](path)

    works: list[Callable[[], object]] = [
        lambda: source.check(entry),
        lambda: source.open(entry, 5, 6),
        lambda: source.read(entry),
    ]
    assert {reason_of(work) for work in works} == {reason}


@pytest.mark.contract("archive-3.12/after")
def test_file_that_is_written_to_while_it_is_read_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    with closing(PathSource(tmp_path).open(path_entry(tmp_path, "a"), 0, len(CONTENT))) as chunks:
        next(chunks)
        with path.open("r+b") as file:
            file.write(b"other")
        os.utime(path, ns=(1, 1))

        assert reason_of(lambda: list(chunks)) is Reason.CHANGED


def test_given_up_and_finished_readers_leave_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    source, entry = PathSource(tmp_path), path_entry(tmp_path, "a")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of the kernel

    given_up = source.open(entry, 0, len(CONTENT))
    next(given_up)
    given_up.close()
    given_up.close()
    assert content(source, entry) == CONTENT

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - of the kernel


def test_text_is_in_the_plan() -> None:
    source, entry = TextSource(), text_entry("a", b"content")

    source.check(entry)

    assert content(source, entry, 2, 4) == b"nt"
    assert content(source, text_entry("a")) == b""
