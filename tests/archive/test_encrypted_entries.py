"""Checking and fetching archives under a password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meteorpi_client import MeteorClient, check_archive
from meteorpi_server.archiving import Form, Plan
from meteorpi_server.archiving.sending import send
from tests.archive.conftest import ArchiveNode
from tests.archive.plans import SOURCES, filling, text_entry

pytestmark = pytest.mark.engines("sqlite")

PASSWORD = "Sésame, ouvre-toi!"
SIZES = (0, 1, 70_000, 1_200_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive whose entries are encrypted as they are, in stored blocks, and deflated."""
    entries = []
    for size in SIZES:
        plain = text_entry(f"{size}.bin", filling(size, 3), Form.ENCRYPTED)
        streamed = replace(plain, name=f"s{size}", form=Form.ENCRYPTED_STREAMED, size=None, crc=None)
        entries += [plain, streamed, replace(streamed, name=f"z{size}", details={"deflate": "always"})]
    path = tmp_path / "a.zip"
    path.write_bytes(b"".join(send(Plan(tuple(entries)), SOURCES, password=PASSWORD)))
    return path


@pytest.mark.contract("archive-3.16", "archive-3.20/verify")
def test_archive_is_read_with_its_password_only(path: Path) -> None:
    with_it = check_archive(path, password=PASSWORD)
    without = check_archive(path)
    wrong = check_archive(path, password="another")

    assert (with_it.is_right, with_it.entries, with_it.size_bytes) == (True, 12, 3 * sum(SIZES))
    assert (without.is_right, without.is_intact, without.entries) == (False, True, 0)
    assert {each.reason for each in without.unread} == {"it is under a password"}
    assert {each.reason for each in wrong.unread} == {"it is under another password"}


@pytest.mark.contract("archive-3.16", "archive-3.20/verify")
@pytest.mark.parametrize("position", [30, 60, 60_000, 1_300_000, 2_000_000])
def test_changed_byte_of_an_encrypted_archive_is_found(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)

    report = check_archive(path, password=PASSWORD)

    assert not report.is_right
    assert len(report.damage) + len(report.unread) == 1


@pytest.mark.contract("archive-3.16", "archive-3.20/fetch")
def test_archive_is_fetched_and_compared_with_the_manifest_in_it(
    archive_node: ArchiveNode, serve: Callable[[ArchiveNode], str], tmp_path: Path
) -> None:
    archive_node.add_files()
    made = archive_node.ticket([{"search": {"limit": 0}}], password=PASSWORD)
    address = serve(archive_node)

    with MeteorClient(address) as client:
        known = client.archives.fetch(made["href"], tmp_path / "known.zip", password=PASSWORD).report
        unknown = client.archives.fetch(made["href"], tmp_path / "unknown.zip").report

    assert known is not None
    assert unknown is not None
    assert (known.is_right, known.has_manifest, known.entries) == (True, True, 4)
    assert (unknown.is_right, unknown.is_intact, len(unknown.unread)) == (False, True, 4)
