"""Directories that have been quiet are read before anybody asks for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest

from meteorpi_db.testing.processes import wait_until
from meteorpi_server.archive_api.precomputing import QUIET_SECONDS, read_quiet
from tests.archive.conftest import ArchiveNode
from tests.archive.test_streams import service_of

pytestmark = [pytest.mark.engines("sqlite"), pytest.mark.contract("archive-3.11/crc")]

QUIET, BUSY = "0123456789abcdef0000", "0123456789abcdef0001"
BUDGET = "meteorpi_server.archive_api.tree_entries.BUDGET_BYTES"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A directory that has been quiet, and one to which files are still being added."""
    for name in (QUIET, BUSY):
        (tmp_path / "storage" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "storage" / name / f"{number}.jpg").write_bytes(bytes([number]) * 5000)
    return tmp_path / "storage"


def age(node: ArchiveNode, directory: Path, seconds: float) -> None:
    """Let everything in a directory have been changed so long ago."""
    then = node.clock().replace(tzinfo=UTC).timestamp() - seconds
    for path in (*directory.iterdir(), directory):
        os.utime(path, (then, then))


def test_quiet_directory_is_read_and_its_archive_can_be_fetched_in_parts_at_once(
    make_archive_node: Callable[..., ArchiveNode], storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_archive_node(storage_path=str(storage), dir_precompute=True)
    monkeypatch.setattr(BUDGET, 0)
    age(node, storage / QUIET, QUIET_SECONDS + 1)
    age(node, storage / BUSY, QUIET_SECONDS + 1)
    os.utime(storage / BUSY / "1.jpg")
    before = node.http.head(f"/archive/{QUIET}/")

    def is_read() -> bool:
        return node.http.head(f"/archive/{QUIET}/").headers["Accept-Ranges"] == "bytes"

    with node.meteor_app.upkeep:
        wait_until(is_read, 60, "reading of the quiet directory")

    assert before.headers["Accept-Ranges"] == "none"
    assert node.http.head(f"/archive/{BUSY}/").headers["Accept-Ranges"] == "none"


def test_round_ends_in_time_and_the_next_goes_on(
    make_archive_node: Callable[..., ArchiveNode], storage: Path
) -> None:
    node = make_archive_node(storage_path=str(storage))
    service = service_of(node)
    assert service.planner.checksums is not None
    for name in (QUIET, BUSY):
        age(node, storage / name, QUIET_SECONDS + 1)

    rounds = [
        read_quiet(service.settings, service.planner.checksums, node.clock(), seconds=0) for _ in range(7)
    ]

    assert rounds == [1, 1, 1, 1, 1, 1, 0]
