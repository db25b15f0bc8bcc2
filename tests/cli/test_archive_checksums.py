"""``meteorpi archive crc backfill``."""

from __future__ import annotations

from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_server.archive_api.planning import directory_plan
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archiving import Entry
from meteorpi_server.archiving.checksums import Checksums
from meteorpi_server.archiving.failures import SourceFailedError
from meteorpi_server.settings import Settings
from tests.cli.conftest import Meteorpi

NAME = "3bea29ccabbbf64bdebcc055319c5745"


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage with five files in two directories, and one that nobody can ask for."""
    storage = tmp_path / "storage"
    for name, count in ((NAME, 3), ("f" * 32, 2), ("short", 4)):
        (storage / name / "inner").mkdir(parents=True)
        for number in range(count):
            (storage / name / "inner" / f"{number}.jpg").write_bytes(b"x" * (100 + number))
    monkeypatch.setenv("METEORPI_ARCHIVE_STORAGE_PATH", str(storage))
    return storage


@pytest.mark.contract("archive-3.20/backfill", "archive-3.5/crc")
def test_files_of_the_storage_are_read_until_all_are_known(
    meteorpi: Meteorpi, node: MeteorDatabase, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = meteorpi("archive", "crc", "backfill", "--limit", 2, "--json")
    rest = meteorpi("archive", "crc", "backfill", "--json")
    again = meteorpi("archive", "crc", "backfill", "--json")

    assert first.json == {"read": 2, "bytes": 201, "failed": 0}
    assert rest.json == {"read": 3, "bytes": 303, "failed": 0}
    assert again.json == {"read": 0, "bytes": 0, "failed": 0}
    monkeypatch.setattr("meteorpi_server.archive_api.tree_entries.BUDGET_BYTES", 0)
    service = ArchiveService(node, Settings(archive_storage_path=str(storage)))
    assert directory_plan(service.planner, NAME).is_resumable


@pytest.mark.contract("archive-3.20/backfill")
def test_file_that_cannot_be_read_is_told_and_the_others_are_read(
    meteorpi: Meteorpi, node: MeteorDatabase, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Checksums.read

    def read(checksums: Checksums, entry: Entry) -> int:
        if entry.reference.endswith("1.jpg"):
            raise SourceFailedError("the disk does not give it")
        return reading(checksums, entry)

    monkeypatch.setattr(Checksums, "read", read)

    done = meteorpi("archive", "crc", "backfill", "--json")

    assert done.code == 1
    assert done.err.count("the disk does not give it") == 2
    assert done.json == {"read": 3, "bytes": 302, "failed": 2}


@pytest.mark.contract("archive-3.20/backfill")
def test_where_no_directories_are_offered_there_is_nothing_to_read(
    meteorpi: Meteorpi, node: MeteorDatabase
) -> None:
    done = meteorpi("archive", "crc", "backfill")

    assert done.code == 2
    assert "archive_storage_path" in done.err
