"""Downloads: whole, checked, taken up again, and never in part under the final name."""

from __future__ import annotations

import hashlib
import resource
from datetime import datetime
from pathlib import Path

import pytest

from meteorpi_client import MeteorClient
from meteorpi_model import FileRecord
from meteorpi_model.errors import (
    DigestMismatchError,
    InvalidDocumentError,
    NotFoundError,
    PeerUnavailableError,
    StoreFullError,
)
from tests.client.conftest import file_record, files_answer
from tests.client.tiny_node import TinyNode, answer, cut_after, problem, ranged

CONTENT = bytes(range(256)) * 1024
MD5 = hashlib.md5(CONTENT).hexdigest()
TAG = f'"{MD5}"'


@pytest.fixture
def record(client: MeteorClient, node: TinyNode) -> FileRecord:
    """A record of a file with CONTENT, as a search gives it."""
    sent = file_record(1, datetime(2015, 4, 1), file_size=len(CONTENT), md5=MD5, file_name="a night.bin")
    node.answer_with(answer(files_answer([sent])))
    found = client.search_files()["files"][0]
    node.requests.clear()
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.contract("10/content", "3.4/accessors")
def test_download_gives_the_bytes_and_the_path(node: TinyNode, record: FileRecord, tmp_path: Path) -> None:
    node.answer_with(ranged(CONTENT, ETag=TAG))

    path = record.download_to(str(tmp_path / "got"))

    assert path == tmp_path / "got"
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == {"got"}


@pytest.mark.contract("issue-2.6/downloads")
def test_cut_download_goes_on_where_it_was_cut(
    node: TinyNode, record: FileRecord, tmp_path: Path, pauses: list[float]
) -> None:
    node.answer_with(
        cut_after(CONTENT, 70_000, ETag=TAG), cut_after(CONTENT, 100_000, ETag=TAG), ranged(CONTENT, ETag=TAG)
    )

    record.download_to(tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == CONTENT
    starts = [int(r.headers["Range"].removeprefix("bytes=").rstrip("-")) for r in node.requests[1:]]
    assert 0 < starts[0] <= 70_000 < starts[1] <= 170_000
    assert {r.headers["If-Range"] for r in node.requests[1:]} == {TAG}
    assert len(pauses) == 2


def test_content_that_changed_during_a_cut_is_fetched_from_the_start(
    node: TinyNode, record: FileRecord, tmp_path: Path
) -> None:
    node.answer_with(cut_after(b"x" * len(CONTENT), 70_000, ETag='"old"'), ranged(CONTENT, ETag='"new"'))

    record.download_to(tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == CONTENT


def test_node_that_ignores_ranges_sends_the_whole_again(
    node: TinyNode, record: FileRecord, tmp_path: Path
) -> None:
    whole = ranged(CONTENT)
    node.answer_with(cut_after(CONTENT, 70_000), lambda request: whole(type(request)({})))

    record.download_to(tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == CONTENT


@pytest.mark.contract("B-37", "issue-2.6/downloads")
def test_download_given_up_leaves_no_file_and_the_next_one_goes_on(
    node: TinyNode, record: FileRecord, tmp_path: Path
) -> None:
    node.answer_with(cut_after(CONTENT, 70_000, ETag=TAG), cut_after(CONTENT, 0, ETag=TAG))
    with pytest.raises(PeerUnavailableError):
        record.download_to(tmp_path / "got")
    assert not (tmp_path / "got").exists()
    node.requests.clear()
    node.answer_with(ranged(CONTENT, ETag=TAG))

    record.download_to(tmp_path / "got")

    assert node.requests[0].headers["Range"] != "bytes=0-"
    assert node.requests[0].headers["If-Range"] == TAG
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert names(tmp_path) == {"got"}


@pytest.mark.contract("B-37")
def test_wrong_content_is_refused_and_nothing_is_left(
    node: TinyNode, record: FileRecord, tmp_path: Path
) -> None:
    (tmp_path / "got").write_bytes(b"of before")
    node.answer_with(ranged(b"x" * len(CONTENT)))

    with pytest.raises(DigestMismatchError):
        record.download_to(tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == b"of before"
    assert names(tmp_path) == {"got"}
    assert len(node.requests) == 2


def test_content_damaged_on_the_way_is_fetched_again_once(
    node: TinyNode, record: FileRecord, tmp_path: Path
) -> None:
    node.answer_with(ranged(b"x" * len(CONTENT)), ranged(CONTENT))

    record.download_to(tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == CONTENT


def test_content_with_nothing_missing_but_its_name_is_checked_and_named(
    node: TinyNode, record: FileRecord, tmp_path: Path
) -> None:
    assert record.file_id is not None
    (tmp_path / f".got.{record.file_id.hex}.part").write_bytes(CONTENT)
    node.answer_with(ranged(CONTENT, ETag=TAG))

    record.download_to(tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == CONTENT
    assert len(node.requests) == 1


@pytest.mark.contract("10/content")
def test_empty_file_is_downloaded(client: MeteorClient, node: TinyNode, tmp_path: Path) -> None:
    empty = file_record(2, datetime(2015, 4, 1), md5=hashlib.md5(b"").hexdigest())
    node.answer_with(ranged(b""))

    client.download(empty, tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == b""


@pytest.mark.contract("B-37")
def test_content_that_is_gone_raises_not_found(node: TinyNode, record: FileRecord, tmp_path: Path) -> None:
    node.answer_with(problem(404, "not-found", "no such file"))

    with pytest.raises(NotFoundError, match="no such file"):
        record.download_to(tmp_path / "got")

    assert names(tmp_path) == set()


@pytest.mark.contract("issue-2.6/downloads")
def test_progress_is_told_up_to_the_whole_size(
    client: MeteorClient, node: TinyNode, record: FileRecord, tmp_path: Path
) -> None:
    node.answer_with(cut_after(CONTENT, 70_000, ETag=TAG), ranged(CONTENT, ETag=TAG))
    told: list[tuple[int, int | None]] = []

    client.download(record, tmp_path / "got", progress=lambda here, size: told.append((here, size)))

    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [here for here, _ in told] == sorted(here for here, _ in told)


def test_goal_that_cannot_be_written_is_named(node: TinyNode, record: FileRecord, tmp_path: Path) -> None:
    node.answer_with(ranged(CONTENT))

    with pytest.raises(InvalidDocumentError, match="cannot be written"):
        record.download_to(tmp_path / "no" / "such" / "folder")
    with pytest.raises(InvalidDocumentError, match="directory"):
        record.download_to(tmp_path)


@pytest.mark.contract("faults/full-disk")
def test_disk_that_takes_no_more_is_said_so(node: TinyNode, record: FileRecord, tmp_path: Path) -> None:
    node.answer_with(ranged(CONTENT))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(StoreFullError, match="no room"):
            record.download_to(tmp_path / "got")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not (tmp_path / "got").exists()


@pytest.mark.contract("10/content", "B-37")
def test_url_has_the_name_percent_encoded(client: MeteorClient, node: TinyNode) -> None:
    names = ["a night.bin", "ä/b+c?.txt", "..", None]
    sent = [file_record(n, datetime(2015, 4, 1), file_name=name) for n, name in enumerate(names)]
    node.answer_with(answer(files_answer(sent)))

    urls = [record.get_url() for record in client.search_files()["files"]]

    content = f"{node.base_url}/files/content/"
    assert urls == [
        f"{content}{0:032x}/a%20night.bin",
        f"{content}{1:032x}/%C3%A4%2Fb%2Bc%3F.txt",
        f"{content}{2:032x}",  # as a path segment it would mean the folder above
        f"{content}{3:032x}",
    ]


def test_remote_record_has_no_path(record: FileRecord) -> None:
    assert record.get_path() is None
