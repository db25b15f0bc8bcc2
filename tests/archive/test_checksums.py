"""CRC-32 of files in directories: read once, kept for every process, dropped when wrong."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from benches import bench_archive_crc
from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.checksums import KEPT_MILLISECONDS, FileChecksums
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_server import MeteorApp, archive_api
from meteorpi_server.settings import Settings
from tests.archive.conftest import ArchiveNode, opened
from tests.archive.moving import MovingClock

NAME = "3bea29ccabbbf64bdebcc055319c5745"
PATH = f"/archive/{NAME}/"
BUDGET = "meteorpi_server.archive_api.tree_entries.BUDGET_BYTES"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with one directory of three files."""
    directory = tmp_path / "storage" / NAME
    directory.mkdir(parents=True)
    for number in range(3):
        (directory / f"{number}.jpg").write_bytes(bytes([number]) * 5000)
    return tmp_path / "storage"


@pytest.fixture
def node(make_archive_node: Callable[..., ArchiveNode], storage: Path) -> ArchiveNode:
    return make_archive_node(storage_path=str(storage))


def another_process(node: ArchiveNode, storage: Path) -> ArchiveNode:
    """The same node in a process that has read nothing yet."""
    meteor_app = MeteorApp(db=node.db, settings=Settings())
    archive_api.add_routes(meteor_app, storage_path=str(storage))
    return ArchiveNode(node.db, meteor_app, node.directory, node.clock)


@pytest.mark.contract("archive-P9", "archive-3.5/crc")
@pytest.mark.engines("sqlite")
def test_sum_of_a_record_is_found_when_it_is_stored(
    archive_node: ArchiveNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytes(range(256)) * 5000

    record = archive_node.add_file(content)

    assert record.file_id is not None
    assert archive_node.db.content_facts(record.file_id).crc32 == zlib.crc32(content)
    assert archive_node.ticket([{"record": record.file_id.hex}])["resumable"]
    monkeypatch.setattr(bench_archive_crc, "BLOCKS", 1)
    bench_archive_crc.main()  # what that costs beside the MD5
    assert "more_percent" in capsys.readouterr().out


@pytest.mark.contract("archive-3.5/crc")
@pytest.mark.engines("sqlite")
def test_sum_of_content_that_came_in_blocks_is_that_of_the_whole(db: MeteorDatabase) -> None:
    blocks = [bytes([number]) * 700_000 for number in range(3)]

    parts = db.store.parts(UUID(int=5))
    for block in blocks:
        parts.append(parts.offset, [block])
    stored = parts.finish(2_100_000)

    assert stored.crc32 == zlib.crc32(b"".join(blocks))


@pytest.mark.contract("archive-3.5/crc", "archive-3.11/crc")
def test_sums_are_kept_for_every_process_and_engine(db: MeteorDatabase) -> None:
    clock = MovingClock()
    sums = FileChecksums(db.transactions, clock)
    found = {f"{number:064x}": number * 3_579_139 for number in range(1200)}  # up to 2**32 - 1
    first, *others = found

    sums.keep(found)
    sums.keep({first: 7})
    sums.forget([others[0]])

    again = FileChecksums(db.transactions, clock)
    assert again.known(list(found)) == {key: found[key] for key in others[1:]} | {first: 7}
    assert again.known([]) == again.known(["f" * 64]) == {}


@pytest.mark.contract("archive-3.5/crc")
@pytest.mark.engines("sqlite")
def test_what_was_found_long_ago_is_read_again(db: MeteorDatabase) -> None:
    clock = MovingClock()
    sums = FileChecksums(db.transactions, clock)
    sums.keep({"0" * 64: 1})
    clock.move(KEPT_MILLISECONDS / 1000)

    assert sums.known(["0" * 64]) == {}
    sums.keep({"1" * 64: 2})
    ArchiveRegister(db.transactions, clock).sweep()
    clock.move(-1)
    assert sums.known(["0" * 64, "1" * 64]) == {"1" * 64: 2}


@pytest.mark.contract("archive-3.5/crc", "archive-3.11/crc")
@pytest.mark.engines("sqlite")
def test_file_is_read_once_whatever_process_is_asked(
    node: ArchiveNode, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = node.get(PATH)
    monkeypatch.setattr(BUDGET, 0)  # from here on nothing is read for its checksum

    part = another_process(node, storage).get(PATH, headers={"Range": "bytes=100-199"})

    assert (part.status_code, part.data) == (206, whole.data[100:200])
    assert part.headers["ETag"] == whole.headers["ETag"]


@pytest.mark.contract("archive-3.5/crc")
@pytest.mark.engines("sqlite")
def test_sums_that_a_download_found_are_kept(
    node: ArchiveNode, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BUDGET, 0)

    first = node.get(PATH)
    second = another_process(node, storage).get(PATH)

    assert first.headers["Accept-Ranges"] == "none"
    assert second.headers["Accept-Ranges"] == "bytes"
    assert opened(first) == opened(second)


@pytest.mark.contract("archive-3.11/crc", "archive-3.12/after")
@pytest.mark.engines("sqlite")
def test_sum_that_turns_out_to_be_wrong_is_found_anew(node: ArchiveNode, storage: Path) -> None:
    assert len(opened(node.get(PATH))) == 3
    file = storage / NAME / "1.jpg"
    times = file.stat()
    with file.open("r+b") as stream:  # the same inode, size and time: nothing tells it
        stream.write(b"changed")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(Exception, match="digest"):
        _ = node.get(PATH).data

    assert opened(node.get(PATH))["1.jpg"].startswith(b"changed")
    assert node.clock.ahead == timedelta()
